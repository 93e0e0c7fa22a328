"""The confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.view import MOST_CLASSES
from harness.records import Evaluation, FloatArray, IntArray

_CELL = 0.55  # inches, the side of a cell


@dataclass(frozen=True)
class Confusion:
    """`counts[i, j]` images of class i were predicted as class j; `shares` are percentages of row i (0 if empty).

    `class_names` are those of the rows; there are `classes` in all and `images` of all of them.
    """

    counts: IntArray
    shares: FloatArray
    class_names: tuple[str, ...]
    accuracy: float
    classes: int
    images: int


def compute(evaluation: Evaluation) -> Confusion:
    """The confusion matrix, with each row also as percentages of its true class. Of more than `MOST_CLASSES` classes
    those with the most mistakes: their images that were predicted as another class, and others predicted as theirs."""
    counts, names = evaluation.confusion, [score.name for score in evaluation.per_class]
    shares = 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes, images = len(names), int(counts.sum())
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    chosen = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    counts, shares = counts[np.ix_(chosen, chosen)], shares[np.ix_(chosen, chosen)]
    return Confusion(counts, shares, tuple(names[label] for label in chosen), evaluation.accuracy, classes, images)


@style.look
def draw(confusion: Confusion, title: str) -> Figure:
    """Draw the counts in a square. The colour shows the square root of the share, so that few mistakes are visible."""
    classes = len(confusion.class_names)
    names = [style.fitted(name, "small", 2.6, lines=1) for name in confusion.class_names]
    widest = max(map(style.text_width, names))
    side = max(_CELL * classes, 1.5)
    if style.page_width(0.0):
        side = min(side, style.page_width(side) - widest - 1.4)
    turned = 0.71 * widest if widest > 0.9 * side / classes else 0.0
    heading = f"{confusion.images:,} test images, {confusion.accuracy:.1%} on the diagonal (right)"
    if classes < confusion.classes:
        heading += f". The {classes} of {confusion.classes:,} classes with the most mistakes"
    figure = style.new_figure(side + max(widest, 0.5) + 1.4, side + turned + 0.65, title, heading)
    axes = figure.subplots()
    look: Any = {"cmap": "Blues", "norm": PowerNorm(0.5, 0.0, 100.0), "edgecolors": "white", "linewidth": 1.5}
    shown = axes.pcolormesh(np.arange(classes), np.arange(classes), confusion.shares, shading="nearest", **look)
    style.class_ticks(axes, names, side)
    axes.set_yticks(range(classes), names)
    axes.set(xlabel="predicted class", ylabel="true class", aspect="equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    _write_counts(axes, confusion, side / classes)
    ticks = [0, 1, 5, 10, 20, 50, 100] if side > 3 else [0, 10, 100]
    style.colour_bar(axes, shown, "of the\ntrue class", ticks=ticks, format="%d%%", shrink=0.7, aspect=25)
    return figure


def _write_counts(axes: Axes, confusion: Confusion, cell: float) -> None:
    if style.text_width(f"{confusion.counts.max():,}", bold=True) > cell:
        return  # the page is too narrow for counts; the colours remain
    for (row, column), count in np.ndenumerate(confusion.counts):
        colour = "white" if confusion.shares[row, column] > 30 else style.INK if count else style.FAINT
        weight = "bold" if row == column else "normal"
        written = axes.text(column, row, f"{count:,}", size="small", ha="center", va="center_baseline", color=colour)
        written.set(weight=weight, in_layout=False)
