"""Axes of swept numbers, and the range of what is measured over them."""

import math
from itertools import pairwise

import pytest
from harness.figures.axis import is_log, limits, number_axis, number_text


@pytest.mark.parametrize(
    ("values", "log"),
    [([1, 30], False), ([1, 32], True), ([0, 1000], False), ([-1, 1000], False), ([5], False), ([], False),
     ([0.0001, 0.1, math.nan], True)],
)  # fmt: skip
def test_positive_numbers_over_more_than_a_decade_and_a_half_are_on_a_logarithmic_axis(
    values: list[float], log: bool
) -> None:
    assert is_log(values) is log


def test_swept_numbers_are_marked_themselves_at_equal_steps_where_they_double() -> None:
    axis = number_axis([8, 32, 128, 512, 8], inches=4.0)
    assert axis.ticks.labels == ("8", "32", "128", "512")
    shares = axis.shares(axis.ticks.values)
    assert [after - before for before, after in pairwise(shares)] == pytest.approx([shares[1] - shares[0]] * 3)
    assert all(0 < share < 1 for share in shares)


def test_every_second_mark_is_left_out_where_neighbours_would_touch() -> None:
    values = [2.0**power for power in range(3, 13)]
    assert number_axis(values, inches=3.0).ticks.labels == ("8", "32", "128", "512", "2,048")


def test_many_or_measured_numbers_are_marked_at_round_ones() -> None:
    assert number_axis([0.1 * step for step in range(31)], inches=4.0).ticks.labels[:2] == ("0", "0.5")
    assert number_axis([71.234, 74.9], inches=4.0, swept=False).ticks.labels[0] == "72"


def test_one_number_or_none_makes_an_axis_too() -> None:
    assert number_axis([64.0], inches=4.0).shares([64.0]) == [0.5]
    assert number_axis([0.0], inches=4.0).ticks.labels == ("0",)
    assert number_axis([], inches=4.0).ticks.labels == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [(60000.0, "60,000"), (0.0003, "0.0003"), (0.1 + 0.2, "0.3"), (1.2e6, "1.2e+06"), (1e-5, "1e-05")],
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_limits_hold_every_value_and_ordinary_intervals() -> None:
    low, high = limits([1.0, 3.0, math.nan], ends=[0.5, 3.5])
    assert low < 0.5
    assert high > 3.5


def test_a_huge_interval_does_not_press_the_values_together() -> None:
    low, high = limits([1.0, 3.0], ends=[-100.0, 100.0])
    assert -1.5 < low < 1.0
    assert 3.0 < high < 5.5


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [81.0], [-3.0, -3.0]])
def test_limits_of_little_are_a_range(values: list[float]) -> None:
    low, high = limits(values, least=1.0)
    assert high - low >= 1.0
    assert all(low < value < high for value in values if math.isfinite(value))
