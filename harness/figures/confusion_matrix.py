"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from harness.figures import style
from harness.records import Evaluation, FloatArray, IntArray


@dataclass(frozen=True)
class Confusion:
    """`counts[i, j]` images of class i taken for class j; `shares` the same as percentages of row i (0 if empty)."""

    counts: IntArray
    shares: FloatArray
    class_names: tuple[str, ...]
    accuracy: float


def compute(evaluation: Evaluation) -> Confusion:
    """The confusion matrix with each row as percentages of its true class."""
    counts = evaluation.confusion
    support = counts.sum(axis=1, keepdims=True)
    shares = 100.0 * counts / np.maximum(support, 1)
    return Confusion(counts, shares, tuple(score.name for score in evaluation.per_class), evaluation.accuracy)


def draw(confusion: Confusion, title: str) -> Figure:
    """A square of counts. The square root of the share sets the colour, so that a few mistakes in 100 can be seen."""
    names = confusion.class_names
    side = 2.6 + 0.55 * len(names)
    figure = style.new_figure(side + 0.6, side, title)
    axes = figure.subplots()
    image = axes.imshow(confusion.shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=100.0))
    for (row, column), count in np.ndenumerate(confusion.counts):
        share = confusion.shares[row, column]
        cell = axes.text(
            column, row, f"{count:,}", ha="center", va="center", size=style.SMALL_SIZE,
            weight="bold" if row == column else "normal",
            color="white" if share > 30 else style.INK if count else style.FAINT,
        )  # fmt: skip
        cell.set_in_layout(False)  # it lies inside the square anyway, and a hundred measurements take long
    ticks = range(len(names))
    total = int(confusion.counts.sum())
    style.picture(axes, f"{total:,} test images, {confusion.accuracy:.1%} on the diagonal (right)")
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    axes.set_xlabel("predicted class", size=style.TEXT_SIZE, color=style.INK)
    axes.set_ylabel("true class", size=style.TEXT_SIZE, color=style.INK)
    between = np.arange(len(names) - 1) + 0.5
    axes.hlines(between, -0.5, len(names) - 0.5, color="white", linewidth=1.5)
    axes.vlines(between, -0.5, len(names) - 0.5, color="white", linewidth=1.5)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 1, 5, 10, 20, 50, 100], format="{x:.0f}%")
    bar.set_label("share of the true class", size=style.TEXT_SIZE, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL_SIZE, labelcolor=style.INK, length=0)
    bar.outline.set_visible(False)
    return figure
