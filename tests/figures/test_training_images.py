"""Images of a dataset without predictions."""

import numpy as np
import pytest
from matplotlib import colormaps

from harness.figures.image_sheets import draw_image, draw_images
from harness.records import Split
from tests.figures import runs
from tests.figures.drawing import overlapping, pixels, texts, texts_beyond_the_edge

IMAGE = np.full((28, 28), 77, dtype=np.uint8)


def share(figure_pixels: np.ndarray, colour: np.ndarray) -> int:
    return int((np.rint(figure_pixels[..., :3] * 255) == colour[:3]).all(axis=-1).sum())


@pytest.mark.parametrize("cmap", ["viridis", "binary", "gray", "gray_r"])
def test_one_image_has_the_colours_of_the_map_and_a_bar_that_says_which(cmap: str) -> None:
    figure = draw_image(IMAGE, "training image 0: $boot$", "a set", cmap)
    assert share(pixels(figure), np.array(colormaps[cmap](77, bytes=True))) >= 0.9 * (3 * 120) ** 2
    assert {"training image 0: $boot$", "value", "0", "255", "25"} <= set(texts(figure))
    assert texts_beyond_the_edge(figure) == []


def test_without_a_bar_the_figure_is_narrower() -> None:
    alone = draw_image(IMAGE, "an image", "a set", "gray_r", bar=False)
    assert alone.get_figwidth() < draw_image(IMAGE, "an image", "a set").get_figwidth()
    assert "value" not in texts(alone)
    assert texts_beyond_the_edge(alone) == []


@pytest.mark.parametrize(("count", "columns"), [(25, 5), (1, 5), (24, 6), (60, 20)])
def test_each_image_has_the_name_of_its_class_below(count: int, columns: int) -> None:
    held = runs.split(count)
    figure = draw_images(held, ("T-shirt/top, long", "$x$", "Ankle boot"), "a note", "a set", columns)
    assert texts(figure).count("$x$") == int((held.labels == 1).sum())
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_the_sheet_is_dark_on_white() -> None:
    black = Split(np.full((2, 28, 28), 255, dtype=np.uint8), np.zeros(2, dtype=np.uint8))
    assert share(pixels(draw_images(black, ("a",), "", "")), np.zeros(3)) >= 2 * (28 * 5) ** 2
