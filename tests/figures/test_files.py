"""Figures as bytes."""

import io

import numpy as np
from PIL import Image

from harness.figures import gap_bars
from harness.figures.files import png_bytes
from harness.figures.groups import Measure
from tests.figures.comparisons import many
from tests.figures.drawing import pixels


def test_a_png_for_a_page_has_twice_the_dpi_few_bytes_and_the_same_colours() -> None:
    figure = gap_bars.draw(gap_bars.compute(many(12), Measure()), "a sweep")
    packed = png_bytes(figure)
    picture = Image.open(io.BytesIO(packed))
    assert picture.size == tuple((2 * figure.get_size_inches() * figure.dpi).astype(int))
    assert len(packed) < 200_000
    sharp = np.asarray(picture.convert("RGB")).astype(int)
    assert sharp[0, 0].tolist() == [255, 255, 255]
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=2 * figure.dpi)
    assert np.abs(sharp - np.asarray(Image.open(whole).convert("RGB"))).max() <= 16


def test_a_figure_keeps_its_own_dpi() -> None:
    figure = gap_bars.draw(gap_bars.compute(many(2), Measure()), "a sweep")
    before = pixels(figure)
    png_bytes(figure)
    assert (pixels(figure) == before).all()
