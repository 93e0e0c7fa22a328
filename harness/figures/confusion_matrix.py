"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.figures import mosaic, style
from harness.figures.lettering import letter, width
from harness.figures.scales import Ticks, class_ticks, colour_bar, dress
from harness.records import Evaluation, FloatArray, IntArray

_CELL = 0.55  # inches that a cell takes


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
    classes = len(names)
    side = _CELL * classes
    middles = tuple(np.arange(classes) + 0.5)
    across, up = Ticks(middles, names, class_ticks(names, side).angle), Ticks(middles, names)
    total = int(confusion.counts.sum())
    heading = f"{total:,} test images, {confusion.accuracy:.1%} on the diagonal (right)"
    right = max(1.0, width(heading, style.TEXT_SIZE) + style.EDGE - side)
    margins = style.Margins(left=up.breadth + 0.35, right=right, bottom=across.depth + 0.35, top=0.4, between=0.3)
    wide, high = margins.left + side + margins.right, margins.bottom + side + margins.top
    figure, (axes,) = style.row_of_panels(wide, high, title, 1, margins)
    colours = mosaic.colours("Blues")
    mosaic.show(axes, colours[np.rint(255 * _depth(confusion.shares)).astype(int)])
    axes.set(xlim=(0, classes), ylim=(classes, 0))
    dress(axes, heading, across, up, grid="")
    axes.spines[:].set_visible(False)
    between = [((0.0, line), (float(classes), line)) for line in range(1, classes)]
    rules = [*between, *(((y0, x0), (y1, x1)) for (x0, y0), (x1, y1) in between)]
    axes.add_collection(LineCollection(rules, colors="white", linewidths=1.5, zorder=2), autolim=False)
    _draw_counts(axes, confusion)
    outside = axes.transAxes
    letter(axes, ["predicted class"], [(0.5, 0.0)], size=style.TEXT_SIZE, valign="bottom",
           shift=(0.0, 3.0 - 72 * margins.bottom), transform=outside)  # fmt: skip
    letter(axes, ["true class"], [(0.0, 0.5)], size=style.TEXT_SIZE, angle=90.0, valign="top",
           shift=(7.0 - 72 * margins.left, 0.0), transform=outside)  # fmt: skip
    place = axes.get_position()
    beside = figure.add_axes((place.x1 + margins.between / wide, place.y0 + 0.15 * place.height,
                              0.18 / wide, 0.7 * place.height))  # fmt: skip
    shares = np.array([0.0, 1.0, 5.0, 10.0, 20.0, 50.0, 100.0])
    colour_bar(
        beside, colours, Ticks(tuple(_depth(shares)), tuple(f"{share:.0f}%" for share in shares)), "of the\ntrue class"
    )
    return figure


def _depth(shares: FloatArray) -> FloatArray:
    """How deep the colour of a percentage is, 0 to 1."""
    return np.sqrt(shares / 100.0)


def _draw_counts(axes: Axes, confusion: Confusion) -> None:
    cells = list(np.ndenumerate(confusion.counts))
    letter(
        axes,
        [f"{count:,}" for _, count in cells],
        [(column + 0.5, row + 0.5) for (row, column), _ in cells],
        colours=[
            "white" if confusion.shares[cell] > 30 else style.INK if count else style.FAINT for cell, count in cells
        ],
        bold=[row == column for (row, column), _ in cells],
    )
