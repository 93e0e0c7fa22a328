"""A grid of test images with what the model takes them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.figures import style
from harness.records import Evaluation, Split, UInt8Array

COLUMNS = 5
SHOWN = 25
_MARGIN = 4  # pixels of white to the left and right of an image
_CAPTION = 10  # pixels of white below an image, where the two lines of its caption stand


@dataclass(frozen=True)
class Prediction:
    """One image (height, width) uint8 and its caption: `confidence` is the probability of `predicted`."""

    image: UInt8Array
    predicted: str
    confidence: float
    true: str

    @property
    def right(self) -> bool:
        return self.predicted == self.true


@dataclass(frozen=True)
class Predictions:
    """The images shown, and how the model did on all `total` images of the split (`accuracy`: a fraction)."""

    shown: tuple[Prediction, ...]
    accuracy: float
    total: int


def compute(split: Split, evaluation: Evaluation, class_names: Sequence[str]) -> Predictions:
    """The first 25 images of the split (or all, of a smaller one): not chosen, so they flatter no model."""
    rows = zip(split.images, evaluation.predictions, evaluation.probabilities, split.labels, strict=True)
    shown = tuple(
        Prediction(image, class_names[predicted], float(probabilities[predicted]), class_names[true])
        for (image, predicted, probabilities, true), _ in zip(rows, range(SHOWN), strict=False)
    )
    return Predictions(shown, evaluation.accuracy, len(split))


def tile(images: Sequence[UInt8Array]) -> UInt8Array:
    """Images of one size as one sheet of `COLUMNS` columns on black, with room for a caption below each.

    One sheet on one set of axes draws many times faster than axes for each image.
    """
    height, width = images[0].shape
    rows = -(-len(images) // COLUMNS)
    sheet = np.zeros((rows * (height + _CAPTION), COLUMNS * (width + 2 * _MARGIN)), dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = _corner(index, height, width)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _corner(index: int, height: int, width: int) -> tuple[int, int]:
    row, column = divmod(index, COLUMNS)
    return row * (height + _CAPTION), column * (width + 2 * _MARGIN) + _MARGIN


def draw(predictions: Predictions, title: str) -> Figure:
    """The sheet in dark on white; a caption reads `✓ predicted 98% (true)`, with ✗ and a frame where it is wrong."""
    shown = predictions.shown
    sheet = tile([prediction.image for prediction in shown])
    figure = style.new_figure(9.0, 0.8 + 9.0 * sheet.shape[0] / sheet.shape[1], title)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="binary", vmin=0, vmax=255, interpolation="nearest")
    height, width = shown[0].image.shape
    for index, prediction in enumerate(shown):
        top, left = _corner(index, height, width)
        colour = style.BLUE if prediction.right else style.VERMILLION
        mark = "✓" if prediction.right else "✗"
        caption = axes.text(
            left + width / 2 - 0.5, top + height + 0.6,
            f"{mark} {prediction.predicted} {prediction.confidence:.0%}\n({prediction.true})",
            ha="center", va="top", size=style.SMALL_SIZE, color=colour, weight="normal" if prediction.right else "bold",
        )  # fmt: skip
        style.plain(caption).set_in_layout(False)  # the sheet keeps room for it; measuring each takes long
        if not prediction.right:
            frame = Rectangle((left - 1, top - 0.5), width + 1, height, fill=False, edgecolor=colour, linewidth=2)
            axes.add_patch(frame)
    right = sum(prediction.right for prediction in shown)
    style.picture(
        axes,
        f"The first {len(shown)} test images, {right} right: ✓ or ✗, predicted class, its probability, (true class). "
        f"All {predictions.total:,}: {predictions.accuracy:.1%} right.",
    )
    axes.set(xticks=[], yticks=[])
    return figure
