"""A repetition is identical or it is not, and what could explain a difference is said."""

from __future__ import annotations

import math
from dataclasses import replace

from harness.analysis.reproducibility import Repetition, compare_values
from harness.commands.reproduce import report
from tests.analysis.records import run

SERIES = {"fit/loss": {1: 0.5, 2: 0.25}, "final/test_loss": {0: 0.3}, "time/fit_seconds": {0: 1.0}}
TAGS = {"harness.intra_op_threads": "2", "mlflow.source.git.commit": "abc", "harness.git.dirty": "false"}


def held(
    again: dict[str, dict[int, float]],
    tags: dict[str, str] | None = None,
    recorded: dict[str, dict[int, float]] = SERIES,
) -> Repetition:
    original, other = run(), run()
    return compare_values(replace(original, tags=TAGS), replace(other, tags={**TAGS, **(tags or {})}), recorded, again)


def test_the_same_bits_are_identical_whatever_the_time() -> None:
    repetition = held({**SERIES, "time/fit_seconds": {0: 9.0}})
    assert repetition.identical
    assert (repetition.metrics, repetition.epochs) == (2, 2)
    assert "Identical: 2 metrics over 2 epochs" in report(repetition)[0]


def test_one_bit_is_a_difference() -> None:
    repetition = held({**SERIES, "fit/loss": {1: 0.5, 2: math.nextafter(0.25, 1)}})
    [deviation] = repetition.deviations
    assert (deviation.metric, deviation.step, deviation.differing, deviation.of) == ("fit/loss", 2, 1, 2)
    assert deviation.difference > 0
    assert "That is a bug" in " ".join(report(repetition))


def test_what_is_missing_is_the_greatest_difference_and_what_is_new_is_none() -> None:
    again = {"fit/loss": {1: 0.6}, "final/test_loss": {0: 0.9}, "final/test_ece": {0: 0.1}}
    repetition = held(again)
    assert [one.metric for one in repetition.deviations] == ["fit/loss", "final/test_loss"]
    assert repetition.deviations[0].again is None
    assert repetition.added == ("final/test_ece",)
    assert held({**SERIES, "final/test_ece": {0: 0.1}}).identical


def test_not_a_number_is_equal_to_itself_only() -> None:
    recorded = {"last/test_loss": {0: math.nan}}
    assert held({"last/test_loss": {0: math.nan}}, recorded=recorded).identical
    assert not held({"last/test_loss": {0: 0.5}}, recorded=recorded).identical


def test_what_could_explain_a_difference_is_named() -> None:
    other = {"harness.intra_op_threads": "1", "mlflow.source.git.commit": "def", "harness.git.dirty": "true"}
    repetition = held({**SERIES, "final/test_loss": {0: 0.4}}, other)
    assert repetition.reasons == (
        "threads: 2 then, 1 now",
        "commit: abc then, def now",
        "code that was not committed: now",
    )
    assert "- threads: 2 then, 1 now" in report(repetition)
    same = held(SERIES, other)
    assert "Although these were not the same:" in report(same)


def test_a_circumstance_that_was_not_recorded_is_no_reason() -> None:
    assert held(SERIES, {"harness.gpus": "none"}).reasons == ()
