"""The sheet of test images and its captions."""

import numpy as np
import pytest

from harness.figures import predictions, style
from tests.figures import runs
from tests.figures.drawing import texts, texts_beyond_the_edge


def test_the_first_25_images_are_shown_with_what_they_are_taken_for() -> None:
    judged = runs.split(40)
    result = predictions.compute(judged, runs.evaluation(judged), runs.CLASSES)
    assert len(result.shown) == 25
    assert result.total == 40
    fifth = result.shown[4]
    assert np.array_equal(fifth.image, judged.images[4])
    assert (fifth.true, fifth.predicted, fifth.right) == ("trouser", "boot", False)
    assert fifth.confidence == pytest.approx(0.7)
    assert sum(shown.right for shown in result.shown) == 20


def test_a_smaller_split_is_shown_whole() -> None:
    judged = runs.split(7)
    assert len(predictions.compute(judged, runs.evaluation(judged), runs.CLASSES).shown) == 7


def test_every_image_stands_whole_on_the_sheet_in_reading_order() -> None:
    images = [np.full((28, 28), grey, dtype=np.uint8) for grey in (10, 20, 30, 40, 50, 60)]
    sheet = predictions.tile(images)
    for image in images:
        assert (sheet == image[0, 0]).sum() == 28 * 28
    rows, columns = np.nonzero(sheet == 20)
    assert rows.max() < np.nonzero(sheet == 60)[0].min()
    assert columns.min() > np.nonzero(sheet == 10)[1].max()


def test_right_and_wrong_differ_by_mark_colour_and_frame() -> None:
    judged = runs.split(10)
    figure = predictions.draw(predictions.compute(judged, runs.evaluation(judged), runs.CLASSES), "a run")
    captions = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert captions["✓ top 70%\n(top)"] == style.BLUE
    assert captions["✗ boot 70%\n(trouser)"] == style.VERMILLION
    assert len(figure.axes[0].patches) == 2
    assert any("first 10 test images, 8 right" in text and "80.0% right" in text for text in texts(figure))


@pytest.mark.parametrize("size", [1, 25])
def test_no_caption_is_cut_by_the_edge(size: int) -> None:
    judged = runs.split(size)
    names = ("Ankle boot, brown", "$x$ Ankle boot", "T-shirt/top, long")
    figure = predictions.draw(predictions.compute(judged, runs.evaluation(judged), names), "a run")
    assert texts_beyond_the_edge(figure) == []
