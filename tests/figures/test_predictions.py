"""The sheet of images and its captions."""

import numpy as np
import pytest

from harness.figures import style
from harness.figures.predictions import CAPTIONS, draw_sheet
from harness.figures.view import first_images
from tests.figures import runs
from tests.figures.drawing import colour_of, overlapping, texts, texts_beyond_the_edge


def test_the_first_images_have_their_predictions() -> None:
    evaluated = runs.split(40)
    images = first_images(evaluated, runs.evaluation(evaluated), 25)
    assert len(images) == 25
    assert np.array_equal(images[4].image, evaluated.images[4])
    assert (images[4].true, images[4].predicted, images[4].right, images[4].label) == (1, 2, False, "test image 4")
    assert images[4].confidence == pytest.approx(0.7)
    assert len(first_images(runs.split(7), runs.evaluation(runs.split(7)), 25)) == 7


def test_right_and_wrong_differ_by_mark_colour_and_frame() -> None:
    evaluated = runs.split(10)
    figure = draw_sheet(first_images(evaluated, runs.evaluation(evaluated), 10), runs.CLASSES, title="a run")
    right, wrong = runs.predicted(0, 0), runs.predicted(2, 1)
    two = draw_sheet([right, wrong], runs.CLASSES)
    assert colour_of(two, "✓ top 70%\n(top)") == style.BLUE
    assert colour_of(two, "✗ boot 70%\n(trouser)") == style.VERMILLION
    assert len(figure.axes[0].patches) == 2
    assert any("8 of 10 right" in text for text in texts(figure))


@pytest.mark.parametrize(
    ("captions", "right", "unlabelled"),
    [
        ("percent", "✓ boot 70%\n(boot)", "boot 70%\nshoe.png"),
        ("names", "✓ boot (boot)", "boot\nshoe.png"),
        ("indices", "✓ i=4, pred=2, gt=2", "shoe.png, pred=2"),
    ],
)
def test_captions_are_those_of_the_harness_or_of_the_guides(captions: str, right: str, unlabelled: str) -> None:
    evaluated = runs.split(9)
    [fifth] = first_images(evaluated, runs.evaluation(evaluated), 9)[8:]
    assert (fifth.predicted, fifth.true) == (2, 2)
    figure = draw_sheet([fifth, runs.predicted(2, None, label="shoe.png")], runs.CLASSES, captions)
    assert {right.replace("i=4", "i=8"), unlabelled} <= set(texts(figure))
    assert colour_of(figure, unlabelled) == style.INK


@pytest.mark.parametrize("captions", CAPTIONS)
@pytest.mark.parametrize("size", [1, 3, 27])
def test_captions_are_neither_cut_nor_overlap(size: int, captions: str) -> None:
    evaluated = runs.split(size)
    names = ("Ankle boot, brown", "$x$ Ankle boot", "T-shirt/top, long")
    images = first_images(evaluated, runs.evaluation(evaluated), size)
    figure = draw_sheet(images, names, captions, title="a long name of a run " * 6)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="one image"):
        draw_sheet([], runs.CLASSES)
