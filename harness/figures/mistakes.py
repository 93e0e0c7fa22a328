"""The most confident wrong predictions, and a reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness import metrics
from harness.figures import style
from harness.figures.image_sheets import grid_of, paste
from harness.figures.predictions import short_names
from harness.figures.view import PredictedImage, predicted_images
from harness.records import Evaluation, FloatArray, IntArray, Split

SHOWN = 12
COLUMNS = 4
SURE = 0.9
"""A prediction with more than this probability counts as sure."""

_CHART = 4.3  # inches, the width of the diagram with its labels
_EXPLAINED = (
    "Reliability: the bars are the accuracy of the images of a bin, ● their mean confidence, the line "
    "between them the gap; on the dashed line confidence and accuracy are equal."
)


@dataclass(frozen=True)
class Reliability:
    """Images in bins of equal width from 0 to 1 by confidence.

    Each array has the shape (bins,): counts of images, their mean confidence, and their accuracy as a fraction (NaN in
    an empty bin). `error` is the expected calibration error, `unbiased` is `metrics.calibration_error` (NaN for very
    few images).
    """

    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    error: float
    unbiased: float


@dataclass(frozen=True)
class Mistakes:
    """Wrong predictions: the most confident ones in `shown`, and counts: `wrong`, `sure` (see `SURE`) and `total`."""

    shown: tuple[PredictedImage, ...]
    wrong: int
    sure: int
    total: int
    reliability: Reliability


def compute(split: Split, evaluation: Evaluation, shown: int = SHOWN, bins: int = 15) -> Mistakes:
    """The wrong predictions of the test split. With 15 bins, the error is the metric `final/test_ece`."""
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


@style.look
def draw(mistakes: Mistakes, class_names: Sequence[str], palette: str = "safe", title: str = "") -> Figure:
    """Draw the images at the left, and the reliability diagram above the share of images in each bin at the right."""
    names = short_names(class_names, 1.2)
    captions = [
        f"✗ {names[image.predicted]} {image.confidence:.1%}\n({names[image.true or 0]})" for image in mistakes.shown
    ]
    pictures = [image.image for image in mistakes.shown] or [np.zeros((28, 28), dtype=np.uint8)]
    widest = max((style.text_width(text, bold=True) for text in captions), default=0.0) + 0.12
    grid = grid_of(pictures, COLUMNS, widest, 0.0, 3 * style.line_height() + 0.15)
    wide, high = grid.size
    wide = max(wide, 3.0)
    beside = style.page_width(wide + _CHART) >= wide + _CHART
    charts = max(high, 4.0) if beside else 4.0
    heading = (
        f"{mistakes.wrong:,} of {mistakes.total:,} test images are wrong ✗, {mistakes.sure:,} of them with more than "
        f"{SURE:.0%} confidence."
    )
    left, bottom = (wide + 0.25, 0.0) if beside else (0.0, high + 0.1)
    height = charts if beside else bottom + charts
    figure = style.new_figure(wide + 0.25 + _CHART, height, title, heading, _explained(mistakes), left, bottom)
    axes = paste(figure, grid, pictures, style.EDGE, height - high if beside else style.EDGE)
    axes.set_visible(bool(captions))
    for image, text, (x, y) in zip(mistakes.shown, captions, grid.corners, strict=False):
        below: Any = {"size": "small", "ha": "center", "va": "top", "linespacing": 1.15}
        middle, foot = x + grid.image[0] / 2, y + grid.image[1] + 0.04
        axes.text(middle, foot, text, color=style.PALETTES[palette].wrong, weight="bold", **below)
        axes.text(middle, foot + 2 * style.line_height(), image.label, color=style.MUTED, **below)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1))
    _draw_reliability(upper, mistakes.reliability)
    _draw_shares(lower, mistakes.reliability)
    return figure


def _explained(mistakes: Mistakes) -> str:
    unbiased = mistakes.reliability.unbiased
    if np.isnan(unbiased):
        return _EXPLAINED
    return f"{_EXPLAINED} Without the bias of few images the error is {100 * unbiased:.1f} points (root mean square)."


def _draw_reliability(axes: Axes, reliability: Reliability) -> None:
    """Draw a bar of accuracy for each bin, and a line from it to the mean confidence, which is on the diagonal."""
    axes.plot([0.0, 1.0], [0.0, 1.0], "--", color=style.MUTED, linewidth=1.0)
    filled = reliability.counts > 0
    _draw_bars(axes, np.nan_to_num(reliability.accuracy), style.SKY)
    confidence, accuracy = reliability.confidence[filled], reliability.accuracy[filled]
    axes.vlines(confidence, accuracy, confidence, color=style.VERMILLION, linewidth=2.0)
    axes.plot(confidence, confidence, "o", markersize=4.0, color=style.VERMILLION)
    axes.set(title=f"Reliability. Calibration error (ECE) {100 * reliability.error:.1f} points", ylim=(0.0, 1.0))


def _draw_shares(axes: Axes, reliability: Reliability) -> None:
    shares = reliability.counts / reliability.counts.sum()
    top = max(0.1, float(np.ceil(shares.max() * 10) / 10))
    _draw_bars(axes, shares, style.FAINT)
    axes.set(
        title=f"Share of the {int(reliability.counts.sum()):,} images", ylim=(0.0, top), yticks=(0.0, top / 2, top)
    )
    axes.set_xlabel("confidence: probability of the predicted class")


def _draw_bars(axes: Axes, heights: FloatArray, colour: str) -> None:
    edges = np.linspace(0.0, 1.0, len(heights) + 1)
    axes.bar(edges[:-1], heights, 1 / len(heights), align="edge", color=colour, edgecolor="white", linewidth=0.8)
    axes.set(xlim=(0.0, 1.0))
    axes.grid(axis="y")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
