"""Patterns of sentences, and that each of the report's can be said."""

from __future__ import annotations

from string import Formatter

import pytest

from harness.report.facts import ORIGIN, origin
from harness.report.sentences import SENTENCES, say
from tests.analysis.records import run


def test_a_part_in_brackets_is_said_where_all_that_it_names_is_known() -> None:
    pattern = "{a}[, {b} and {c}][ ({d:g})]."
    assert say(pattern, a=1, b=2, c=None, d=0) == "1 (0)."
    assert say(pattern, a=1, b=2, c=3) == "1, 2 and 3."


def test_a_noun_counts() -> None:
    assert say("{n:run}, {m:test}", n=1, m=1200) == "1 run, 1,200 tests"
    assert say("{n:thread} a run", n="1") == "1 thread a run"


def test_what_is_filled_in_is_no_pattern() -> None:
    assert say("{a}[ {b}]", a="[x {y}]", b="{0.__class__}") == "[x {y}] {0.__class__}"


@pytest.mark.parametrize("name", SENTENCES)
def test_each_sentence_has_brackets_in_pairs_and_a_name_for_each_gap(name: str) -> None:
    pattern = SENTENCES[name]
    assert pattern.count("[") == pattern.count("]")
    assert all(gap != "" for _, gap, _, _ in Formatter().parse(pattern))


def test_tags_of_any_name_and_value_tell_where_runs_come_from() -> None:
    record = run(dataset__name="mnist")
    tags = {"harness.engine": "{engine}", "harness.intra_op_threads": "many", "harness.which": "x", "harness.": "y"}
    known = dict(origin([record.__class__(**{**vars(record), "tags": tags})]))
    assert known["engine"] == "{engine}, many threads a run"
    assert known["data"] == "mnist"
    assert not {"machine", "versions"} & known.keys()
    assert known["code"].startswith("of no commit")
    assert set(ORIGIN) >= known.keys() - {"trained", "reused"}
