"""The scale of shades."""

import math

import numpy as np
import pytest

from harness.figures.shades import Shades, colours


def luminance(rgba: np.ndarray) -> np.ndarray:
    return rgba[..., :3].astype(float) @ (0.299, 0.587, 0.114)


def test_the_scale_only_grows_darker_so_that_it_can_be_read_in_grey() -> None:
    grey = luminance(colours())
    assert (np.diff(grey) <= 0).all()
    assert grey[0] - grey[-1] > 120


def test_the_least_is_light_the_greatest_dark_and_nothing_grey() -> None:
    light, dark, none = Shades.over([1.0, 5.0, math.nan]).of([1.0, 5.0, math.nan])
    assert luminance(light) > luminance(dark)
    assert np.ptp(none[:3]) == 0


@pytest.mark.parametrize("values", [[], [2.0], [0.0], [math.nan]])
def test_one_value_or_none_has_a_scale(values: list[float]) -> None:
    shades = Shades.over(values)
    assert shades.low < shades.high
    assert shades.ticks.labels


def test_letters_are_white_upon_dark_shades_only() -> None:
    shades = Shades.over([0.0, 1.0])
    assert shades.ink(0.0) != "white"
    assert shades.ink(1.0) == "white"
