"""Groups of runs in the units of figures."""

import math

import pytest

from harness.figures.groups import Group, Measure, Scores, count_text, number, ordered, value_text, varied
from tests.figures.comparisons import group


def test_accuracies_are_drawn_in_points_and_losses_in_nats() -> None:
    scores = Scores({"0": 0.01, "1": 0.03}, 0.02, (-0.005, 0.045))
    accuracy = Measure("accuracy").estimate(scores)
    assert (accuracy.mean, accuracy.low, accuracy.high) == pytest.approx((2.0, -0.5, 4.5))
    assert accuracy.values == pytest.approx((1.0, 3.0))
    assert Measure("loss").estimate(scores).mean == pytest.approx(0.02)


def test_a_given_mean_is_not_computed_again() -> None:
    assert Measure("loss").estimate(Scores({"0": 1.0, "1": 3.0}, mean=2.5)).mean == 2.5
    assert Measure("loss").estimate(Scores({"0": 1.0, "1": 3.0})).mean == 2.0
    assert math.isnan(Measure("loss").estimate(Scores({"0": 1.0}, mean=math.nan)).mean)


def test_values_that_are_not_finite_do_not_count_as_runs() -> None:
    estimate = Measure("loss").estimate(Scores({"0": math.nan, "1": math.inf, "2": 1.0}))
    assert (estimate.values, estimate.n, estimate.bounded) == ((1.0,), 1, False)


def test_a_positive_gap_means_overfitting_for_both_quantities() -> None:
    assert Measure("accuracy", "val").gap_name == "gap of accuracy: training - validation"
    assert Measure("loss", "test").gap_name == "gap of loss: test - training"


@pytest.mark.parametrize(
    ("measure", "gap", "text"),
    [(Measure(), 2.04, "+2.0"), (Measure(), -0.04, "+0.0"), (Measure("loss"), -0.1234, "-0.123"),
     (Measure("loss"), 1.5e7, "+1.5e+07")],
)  # fmt: skip
def test_gaps_are_written_with_their_sign(measure: Measure, gap: float, text: str) -> None:
    assert measure.gap_text(gap) == text


def test_groups_with_missing_runs_say_so() -> None:
    assert count_text(5, group("a", (0.1,) * 5, runs=5)) == "n=5"
    assert count_text(3, group("a", (0.1,) * 3, runs=5)) == "n=3 of 5"
    assert count_text(0, group("a", (), runs=5)) == "no finished run"
    assert count_text(0, group("a", (math.nan,), runs=5)) == "no finite value"


@pytest.mark.parametrize(
    ("value", "expected"), [("128", 128.0), ("[128]", 128.0), ("1e-3", 0.001), (0.5, 0.5), ("(7,)", 7.0)]
)
def test_numbers_are_found_in_settings(value: str | float, expected: float) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("value", ["adam", "[300, 100]", "None", "", "inf", None])
def test_text_that_is_not_a_number_is_nan(value: str | None) -> None:
    assert math.isnan(number(value))


def test_values_are_sorted_as_numbers_before_words() -> None:
    assert ordered(["1000", "8", "adam", 64.0, "8", None]) == ["8", "64", "1000", "adam", "-"]
    assert (value_text(0.0003), value_text(2.0), value_text(math.nan)) == ("0.0003", "2", "nan")


def test_settings_with_one_value_are_not_varied() -> None:
    groups = [Group("a", {"x": "1", "y": "2"}), Group("b", {"x": "1", "y": "3"}), Group("c", {"x": "1"})]
    assert varied(groups) == ("y",)
