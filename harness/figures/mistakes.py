"""The most confident wrong predictions, beside how far confidence can be trusted at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness import metrics
from harness.figures import mosaic, style
from harness.figures.lettering import LINE, letter
from harness.figures.predicted import PredictedImage, predicted_images
from harness.figures.scales import Ticks, dress
from harness.records import Evaluation, FloatArray, IntArray, Split

SHOWN = 12
COLUMNS = 4
SURE = 0.9
"""A prediction with more than this probability is counted as sure."""

_CELL = 37  # pixels that an image and its caption take across
_LINES = 3
_MARGINS = style.Margins(left=style.EDGE, right=0.25, bottom=0.55, top=0.4, between=0.85)
_CHART = 3.6  # inches that the diagram is wide
_PERCENT = Ticks((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ("0%", "20%", "40%", "60%", "80%", "100%"))
_EXPLAINED = (
    "Reliability: the bars are the accuracy of the images of a bin, ● their mean confidence, the line\n"
    "between them the gap; on the dashed line confidence and accuracy are equal."
)


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width from 0 to 1 by confidence: how many images each has (bins,), their mean confidence and their
    accuracy as fractions (NaN in an empty bin). `error` is the expected calibration error, a fraction; `unbiased` is
    `metrics.calibration_error`, NaN for very few images."""

    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    error: float
    unbiased: float


@dataclass(frozen=True)
class Mistakes:
    """The wrong predictions of `total` images: the most confident ones, how many there are, and how many are `SURE`."""

    shown: tuple[PredictedImage, ...]
    wrong: int
    sure: int
    total: int
    reliability: Reliability


def compute(split: Split, evaluation: Evaluation, shown: int = SHOWN, bins: int = 15) -> Mistakes:
    """From all images of the test split; with 15 bins the error is the metric `final/test_ece`."""
    confidence = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(evaluation.predictions != split.labels)
    most_confident = wrong[np.argsort(-confidence[wrong], kind="stable")]
    binned = metrics.calibration(evaluation.probabilities, split.labels, bins)
    counts = np.where(binned.counts > 0, binned.counts, np.nan)
    return Mistakes(
        shown=predicted_images(split, evaluation, map(int, most_confident[:shown])),
        wrong=len(wrong),
        sure=int((confidence[wrong] > SURE).sum()),
        total=len(split),
        reliability=Reliability(
            binned.counts, binned.confidence / counts, binned.right / counts, binned.error, evaluation.calibration_error
        ),
    )


def draw(mistakes: Mistakes, class_names: Sequence[str], palette: str = "safe", title: str = "") -> Figure:
    """Left the images with predicted class, probability, (true class) and index; right the reliability diagram over the
    share of images in each bin."""
    below = round((5.0 + _LINES * LINE * style.SMALL_SIZE) / 72 / mosaic.PIXEL) + 1
    grid = mosaic.Grid(SHOWN, COLUMNS, _CELL, mosaic.SIDE + below, (_CELL - mosaic.SIDE) // 2)
    wide, high = (side * mosaic.PIXEL for side in grid.size)
    width = _MARGINS.left + wide + _MARGINS.between + _CHART + _MARGINS.right
    total = _MARGINS.top + high + _MARGINS.bottom
    figure, full = style.titled(width, total, title)
    _draw_images(mosaic.sheet_at(figure, grid, _MARGINS.left, _MARGINS.bottom), mistakes, class_names, palette)
    left, across = (_MARGINS.left + wide + _MARGINS.between) / width, _CHART / width
    upper = figure.add_axes((left, (_MARGINS.bottom + 0.34 * high) / full, across, 0.66 * high / full))
    lower = figure.add_axes((left, _MARGINS.bottom / full, across, 0.22 * high / full))
    _draw_reliability(upper, mistakes.reliability)
    _draw_shares(lower, mistakes.reliability)
    return figure


def _draw_images(sheet: mosaic.Sheet, mistakes: Mistakes, class_names: Sequence[str], palette: str) -> None:
    heading = (
        f"{mistakes.wrong:,} of {mistakes.total:,} test images are wrong ✗, {mistakes.sure:,} of them with more than "
        f"{SURE:.0%} confidence."
    )
    sheet.letter([heading], [(0.0, 0.0)], size=style.TEXT_SIZE, align="left", valign="bottom", shift=(0.0, 7.0))
    bottom = [(0.0, float(sheet.grid.size[1]))]
    unbiased = mistakes.reliability.unbiased
    explained = _EXPLAINED
    if not np.isnan(unbiased):
        explained += f" Without the bias of few\nimages the error is {100 * unbiased:.1f} points (root mean square)."
    sheet.letter([explained], bottom, colours=style.MUTED, align="left", valign="top", shift=(0.0, -4.0))
    images = mistakes.shown
    if not images:
        return
    sheet.paste([image.image for image in images])
    captions = [
        f"✗ {class_names[image.predicted]} {image.confidence:.1%}\n({class_names[image.true or 0]})" for image in images
    ]
    labels = [image.label for image in images]
    below = sheet.grid.places(mosaic.SIDE / 2, mosaic.SIDE)[: len(images)]
    lower = (0.0, -3.0 - 2 * LINE * style.SMALL_SIZE)
    sheet.letter(captions, below, colours=style.PALETTES[palette].wrong, bold=True, valign="top", shift=(0.0, -3.0))
    sheet.letter(labels, below, size=7.0, colours=style.MUTED, valign="top", shift=lower)


def _draw_reliability(axes: Axes, reliability: Reliability) -> None:
    """A bar of accuracy for each bin; a line from it to the mean confidence, which lies on the diagonal."""
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    axes.add_artist(Line2D([0.0, 1.0], [0.0, 1.0], color=style.MUTED, linewidth=1.0, linestyle="--"))
    filled = reliability.counts > 0
    _draw_bars(axes, np.nan_to_num(reliability.accuracy), style.SKY)
    confidence, accuracy = reliability.confidence[filled], reliability.accuracy[filled]
    gaps = np.stack([confidence, accuracy, confidence, confidence], axis=1).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(gaps), colors=style.VERMILLION, linewidths=2.0), autolim=False)
    axes.add_artist(
        Line2D(confidence, confidence, linestyle="none", marker="o", markersize=4.0, color=style.VERMILLION, zorder=4)
    )
    dress(
        axes, f"Reliability. Expected calibration error (ECE) {100 * reliability.error:.1f} points", _PERCENT, _PERCENT
    )


def _draw_shares(axes: Axes, reliability: Reliability) -> None:
    shares = reliability.counts / reliability.counts.sum()
    top = max(0.1, float(np.ceil(shares.max() * 10) / 10))
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, top))
    _draw_bars(axes, shares, style.FAINT)
    half = Ticks((0.0, top / 2, top), tuple(f"{share:.0%}" for share in (0.0, top / 2, top)))
    dress(axes, f"Share of the {int(reliability.counts.sum()):,} images", _PERCENT, half)
    letter(
        axes, ["confidence: probability of the predicted class"], [(0.5, 0.0)], size=style.TEXT_SIZE, valign="top",
        shift=(0.0, -22.0), transform=axes.transAxes,
    )  # fmt: skip


def _draw_bars(axes: Axes, heights: FloatArray, colour: str) -> None:
    edges = np.linspace(0.0, 1.0, len(heights) + 1)
    floor = np.zeros(len(heights))
    corners = np.stack([edges[:-1], floor, edges[:-1], heights, edges[1:], heights, edges[1:], floor], axis=1)
    bars = PolyCollection(list(corners.reshape(-1, 4, 2)), facecolors=colour, edgecolors="white", linewidths=0.8)
    axes.add_collection(bars, autolim=False)
