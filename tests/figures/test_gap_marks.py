"""Axes of swept numbers, the limits of axes of scores, and the colours of gaps."""

import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.gap_marks import axis_shares, gap_colours, swept_axis, swept_ticks, text_colour
from harness.figures.groups import is_log, limits, number_text


@pytest.mark.parametrize(
    ("values", "log"),
    [([1, 30], False), ([1, 32], True), ([0, 1000], False), ([-1, 1000], False), ([5], False), ([], False),
     ([0.0001, 0.1, math.nan], True)],
)  # fmt: skip
def test_positive_numbers_over_more_than_one_and_a_half_decades_have_a_logarithmic_axis(
    values: list[float], log: bool
) -> None:
    assert is_log(values) is log


def axis_of(values: list[float], inches: float) -> Axes:
    axes = Figure().subplots()
    swept_axis(axes, values, inches)
    return axes


def marks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_swept_numbers_are_ticks_at_equal_steps_if_they_double() -> None:
    axes = axis_of([8, 32, 128, 512, 8], inches=4.0)
    assert marks(axes) == ["8", "32", "128", "512"]
    shares = axis_shares(axes, [8, 32, 128, 512]).tolist()
    assert [after - before for before, after in pairwise(shares)] == pytest.approx([shares[1] - shares[0]] * 3)
    assert all(0 < share < 1 for share in shares)


def test_every_second_tick_is_left_out_if_labels_would_touch() -> None:
    values = [2.0**power for power in range(3, 13)]
    assert marks(axis_of(values, inches=3.0)) == ["8", "32", "128", "512", "2,048"]


def test_many_or_measured_numbers_have_round_ticks() -> None:
    assert marks(axis_of([0.1 * step for step in range(31)], inches=4.0))[:2] == ["0", "0.5"]
    assert swept_ticks([71.234, 74.9], log=False, swept=False)[0] == 72.0


def test_one_number_makes_an_axis_too() -> None:
    assert axis_shares(axis_of([64.0], inches=4.0), [64.0]).tolist() == [0.5]
    assert marks(axis_of([0.0], inches=4.0)) == ["0"]


def test_colours_go_from_the_least_gap_to_the_greatest_and_grow_darker() -> None:
    shown = gap_colours([3.0, math.nan, -1.0])
    assert shown.get_clim() == (-1.0, 3.0)
    brightness = shown.to_rgba(np.linspace(-1.0, 3.0, 20))[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) < 0).all()
    assert to_hex(shown.to_rgba(np.ma.masked_invalid([math.nan]))[0]).upper() == style.FAINT
    assert gap_colours([5.0]).norm(5.0) == 0.5
    assert (text_colour(shown.to_rgba(3.0)), text_colour(shown.to_rgba(-1.0))) == ("white", style.INK)


@pytest.mark.parametrize(
    ("value", "text"),
    [(60000.0, "60,000"), (0.0003, "0.0003"), (0.1 + 0.2, "0.3"), (1.2e6, "1.2e+06"), (1e-5, "1e-05")],
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_limits_include_every_value_and_ordinary_intervals() -> None:
    low, high = limits([1.0, 3.0, math.nan], ends=[0.5, 3.5])
    assert low < 0.5
    assert high > 3.5


def test_a_huge_interval_does_not_squeeze_the_values() -> None:
    low, high = limits([1.0, 3.0], ends=[-100.0, 100.0])
    assert -1.5 < low < 1.0
    assert 3.0 < high < 5.5


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [81.0], [-3.0, -3.0]])
def test_limits_of_equal_values_are_a_range(values: list[float]) -> None:
    low, high = limits(values, least=1.0)
    assert high - low >= 1.0
    assert all(low < value < high for value in values if math.isfinite(value))
