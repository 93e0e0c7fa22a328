"""Images beside their probabilities."""

import numpy as np
import pytest
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.predictions import bar_colours, draw_prediction, draw_prediction_grid, draw_probability_line
from harness.figures.view import PredictedImage
from tests.figures import runs
from tests.figures.drawing import colour_of, overlapping, pixels, texts, texts_beyond_the_edge
from tests.figures.drawing import shown as shown_texts

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def of_ten(predicted: int, true: int | None, confidence: float, label: str = "test image 12") -> PredictedImage:
    probabilities = np.full(10, (1 - confidence) / 9)
    probabilities[predicted] = confidence
    return PredictedImage(np.zeros((28, 28), dtype=np.uint8), probabilities, true, label)


@pytest.mark.parametrize("palette", style.PALETTES)
def test_the_predicted_bar_is_wrong_unless_it_is_the_true_one(palette: str) -> None:
    right, wrong = style.PALETTES[palette].right, style.PALETTES[palette].wrong
    assert bar_colours(runs.predicted(0, 1), palette) == [wrong, right, style.FAINT]
    assert bar_colours(runs.predicted(0, 0), palette) == [right, style.FAINT, style.FAINT]
    assert bar_colours(runs.predicted(0, None), palette) == [style.INK, style.FAINT, style.FAINT]


def test_the_caption_is_that_of_guide_a_with_a_mark() -> None:
    figure = draw_prediction(of_ten(7, 5, 0.96), FASHION, "blue", "a run")
    assert colour_of(figure, "✗ Sneaker 96% (Sandal)") == "#FF0000"
    assert {"96%", "true\n0%", "test image 12", *FASHION} <= set(texts(figure))
    assert colour_of(draw_prediction(of_ten(7, 7, 0.96), FASHION, "green"), "✓ Sneaker 96% (Sneaker)") == "#008000"


def test_a_picture_without_a_class_has_neither_mark_nor_brackets() -> None:
    shown = texts(draw_prediction(of_ten(7, None, 0.96, "a $hoe$.png"), FASHION))
    assert {"Sneaker 96%", "a $hoe$.png"} <= set(shown)
    assert not any("✓" in text or "✗" in text or "true" in text for text in shown)


def test_long_names_stand_at_45_degrees_and_digits_do_not() -> None:
    slanted = draw_prediction(of_ten(7, 7, 0.9), FASHION)
    level = draw_prediction(of_ten(7, 7, 0.9), tuple(map(str, range(10))))
    assert slanted.get_figheight() > level.get_figheight()
    assert texts_beyond_the_edge(slanted) == texts_beyond_the_edge(level) == []


def test_bars_of_a_grid_are_as_high_as_their_probabilities() -> None:
    figure = draw_prediction_grid([of_ten(7, 5, 0.5), of_ten(1, 1, 1.0)], FASHION)
    heights = [abs(bar.get_height()) for bars in figure.axes[0].containers for bar in bars]
    assert len(heights) == 20
    assert heights[7] / heights[11] == pytest.approx(0.5)
    assert heights[5] / heights[11] == pytest.approx(0.5 / 9)


@pytest.mark.parametrize(("count", "columns", "wide"), [(15, 3, 3), (12, 3, 3), (2, 3, 2), (1, 4, 1), (7, 2, 2)])
def test_a_grid_has_the_requested_columns_and_cuts_nothing(count: int, columns: int, wide: int) -> None:
    images = [of_ten(9, 0, 1.0, f"test image {index}") for index in range(count)]
    figure = draw_prediction_grid(images, FASHION, columns, title="a run")
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []
    shown = texts(figure)
    assert shown.count("✗ Ankle boot 100% (T-shirt/top)") == count
    assert shown.count("▾") == count
    lefts = {round(float(text.get_position()[0]), 3) for text in shown_texts(figure) if text.get_text().startswith("✗")}
    assert len(lefts) == wide


def test_files_without_a_class_make_a_grid_without_marks() -> None:
    figure = draw_prediction_grid([of_ten(9, None, 0.8, "picture.png"), of_ten(1, 1, 0.9)], FASHION)
    assert {"picture.png", "Ankle boot 80%", "✓ Trouser 90% (Trouser)"} <= set(texts(figure))
    assert texts(figure).count("▾") == 1


def test_the_line_passes_through_the_probabilities_and_names_both_classes() -> None:
    image = of_ten(5, 9, 0.64, "test image 8")
    figure = draw_probability_line(image, FASHION, "a run")
    line = next(line for line in figure.findobj(Line2D) if len(line.get_xdata()) == 10 and line.get_marker() == "o")
    assert np.array_equal(line.get_ydata(), image.probabilities)
    assert {"predicted, 64.0%", "true, 4.0%"} <= set(texts(figure))
    assert "predicted and true, 64.0%" in texts(draw_probability_line(of_ten(5, 5, 0.64), FASHION))
    assert texts_beyond_the_edge(figure) == []


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="one image"):
        draw_prediction_grid([], FASHION)


def test_the_image_is_dark_on_white() -> None:
    image = PredictedImage(np.full((28, 28), 255, dtype=np.uint8), np.full(10, 0.1), None, "black.png")
    picture = pixels(draw_prediction(image, FASHION))
    assert (picture[..., 0] == 0).sum() >= (28 * 11) ** 2
