"""The pixel values of an image, before and after preprocessing."""

import numpy as np
import pytest

from harness.figures import image_sheets
from tests.figures.drawing import texts, texts_beyond_the_edge


def image(*values: int) -> np.ndarray:
    """An image with one pixel of each value; all other pixels are 0."""
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels.flat[1 : len(values) + 1] = values
    return pixels


def test_each_value_is_counted_once_and_scaled() -> None:
    values = image_sheets.compute_pixel_values(image(7, 255, 7), (np.arange(256) - 33.0) / 78.0)
    assert values.before.tolist() == [0, 7, 255]
    assert values.counts.tolist() == [781, 2, 1]
    assert values.after.tolist() == pytest.approx([-33 / 78, -26 / 78, 222 / 78])
    assert values.background == (0, pytest.approx(-33 / 78))
    assert values.brightest == (255, pytest.approx(222 / 78))


def test_the_background_is_the_first_pixel_and_not_the_darkest() -> None:
    inverted = 255 - image(7, 255, 7)
    assert image_sheets.compute_pixel_values(inverted, np.arange(256) / 255).background == (255, 1.0)


def test_both_ends_are_written_to_five_digits() -> None:
    values = image_sheets.compute_pixel_values(image(7, 255), (np.arange(256) - 33.318421449829934) / 78.56748998339798)
    figure = image_sheets.draw_pixel_values(values, "First training image ($5$)", "a run")
    shown = set(texts(figure))
    assert {"background 0", "brightest 255", "background -0.42407", "brightest 2.82154"} <= shown
    assert "First training image ($5$): 3 values before" in shown
    assert texts_beyond_the_edge(figure) == []


def test_an_image_of_one_value_is_drawn() -> None:
    values = image_sheets.compute_pixel_values(np.full((28, 28), 9, dtype=np.uint8), np.arange(256) / 255)
    assert texts_beyond_the_edge(image_sheets.draw_pixel_values(values, "an image", "a run")) == []
