"""Patterns of sentences, and a check that each sentence of the report can be filled in."""

from __future__ import annotations

from string import Formatter

import pytest

from harness.reports.facts import ORIGIN, origin
from harness.reports.sentences import SENTENCES, say
from tests.analysis.records import run


def test_an_optional_part_is_written_only_if_all_its_values_are_known() -> None:
    pattern = "{a}[, {b} and {c}][ ({d:g})]."
    assert say(pattern, a=1, b=2, c=None, d=0) == "1 (0)."
    assert say(pattern, a=1, b=2, c=3) == "1, 2 and 3."


def test_a_noun_after_a_number_has_the_right_form() -> None:
    assert say("{n:run}, {m:test}", n=1, m=1200) == "1 run, 1,200 tests"
    assert say("{n:thread} a run", n="1") == "1 thread a run"


def test_values_are_not_read_as_patterns() -> None:
    assert say("{a}[ {b}]", a="[x {y}]", b="{0.__class__}") == "[x {y}] {0.__class__}"


@pytest.mark.parametrize("name", SENTENCES)
def test_each_sentence_has_paired_brackets_and_named_fields(name: str) -> None:
    pattern = SENTENCES[name]
    assert pattern.count("[") == pattern.count("]")
    assert all(gap != "" for _, gap, _, _ in Formatter().parse(pattern))


def test_tags_of_any_name_and_value_can_be_in_the_origin() -> None:
    record = run(dataset__name="mnist")
    tags = {"harness.engine": "{engine}", "harness.intra_op_threads": "many", "harness.which": "x", "harness.": "y"}
    known = dict(origin([record.__class__(**{**vars(record), "tags": tags})]))
    assert known["engine"] == "{engine}, many threads a run"
    assert known["data"] == "mnist"
    assert not {"machine", "versions"} & known.keys()
    assert known["code"].startswith("no commit")
    assert set(ORIGIN) >= known.keys() - {"trained", "reused"}
