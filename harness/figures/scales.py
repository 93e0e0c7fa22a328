"""The scale along an axis and the bar of a colour map, drawn with a handful of artists.

Fixed places and labels, chosen beforehand; matplotlib's own ticks look for a place and measure a text each, and take
longer than the rest of a chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.ticker import MaxNLocator

from harness.figures import mosaic, style
from harness.figures.lettering import letter, width
from harness.records import UInt8Array

_TICK = 3.0  # points
_PAD = 3.0  # points from the end of a tick to its label


@dataclass(frozen=True)
class Ticks:
    """Where an axis is marked, in data coordinates, and what stands there, turned by `angle` degrees below an axis."""

    values: tuple[float, ...]
    labels: tuple[str, ...]
    angle: float = 0.0

    @property
    def breadth(self) -> float:
        """Inches that the ticks take beside a vertical axis."""
        return max(width(label, style.SMALL_SIZE) for label in self.labels) + (_TICK + _PAD) / 72

    @property
    def depth(self) -> float:
        """Inches that the ticks take below a horizontal axis."""
        turned = math.radians(self.angle)
        longest = max(width(label, style.SMALL_SIZE) for label in self.labels)
        return longest * math.sin(turned) + style.SMALL_SIZE / 72 + (_TICK + _PAD) / 72


def even_ticks(low: float, high: float, most: int = 7, whole: bool = False) -> Ticks:
    """Marks at round numbers from `low` to `high`, all written with the same number of decimals."""
    locator = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=whole)
    slack = 1e-9 * (high - low)
    values = [float(value) for value in locator.tick_values(low, high) if low - slack <= value <= high + slack]
    return Ticks(tuple(values), _labels(values))


def _labels(values: Sequence[float]) -> tuple[str, ...]:
    step = min(np.diff(values), default=1.0)
    if max(map(abs, values), default=0.0) >= 1e5 or step < 1e-4:
        return tuple(f"{value:.3g}" for value in values)
    decimals = next(digits for digits in range(6) if abs(round(step, digits) - step) < 1e-6 * step)
    return tuple(f"{value:.{decimals}f}" for value in np.asarray(values) + 0.0)


def epoch_ticks(last: int) -> Ticks:
    """Epoch 1 and whole epochs at even steps after it, none beyond the last."""
    epochs = MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True).tick_values(1, last)
    shown = sorted({1} | {int(epoch) for epoch in epochs if 1 <= epoch <= last})
    return Ticks(tuple(map(float, shown)), tuple(map(str, shown)))


def class_ticks(names: Sequence[str], room: float) -> Ticks:
    """A mark for each class; names that do not fit beside each other into `room` inches are turned by 45 degrees."""
    widest = max(width(name, style.SMALL_SIZE) for name in names)
    angle = 0.0 if widest < 0.9 * room / len(names) else 45.0
    return Ticks(tuple(map(float, range(len(names)))), tuple(names), angle)


def dress(axes: Axes, title: str, across: Ticks | None, up: Ticks | None, grid: str = "y") -> None:
    """A chart's title at its left, two spines, its ticks, and a faint grid along `grid` (x, y, xy or nothing).

    The margins around the axes must hold what is written there.
    """
    axes.set(xticks=[], yticks=[])
    above: Any = {"align": "left", "valign": "bottom", "shift": (0.0, 5.0), "transform": axes.transAxes}
    letter(axes, [title], [(0.0, 1.0)], size=style.TEXT_SIZE, **above)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(style.MUTED)
    if across is not None:
        _mark(axes, across, "x", "x" in grid)
    if up is not None:
        _mark(axes, up, "y", "y" in grid)


def _mark(axes: Axes, ticks: Ticks, along: str, grid: bool) -> None:
    beside = axes.get_xaxis_transform() if along == "x" else axes.get_yaxis_transform()

    def points(share: float) -> list[tuple[float, float]]:
        return [(value, share) if along == "x" else (share, value) for value in ticks.values]

    if grid:
        lines = list(zip(points(0.0), points(1.0), strict=True))
        axes.add_collection(
            LineCollection(lines, colors=style.RULE, linewidths=0.7, transform=beside, zorder=0.5), autolim=False
        )
    xs, ys = zip(*points(0.0), strict=True)
    mark: Any = TICKDOWN if along == "x" else TICKLEFT
    marks = Line2D(xs, ys, linestyle="none", marker=mark, markersize=_TICK, color=style.MUTED, transform=beside)
    marks.set_clip_on(False)
    axes.add_artist(marks)
    away = -_TICK - _PAD
    if along == "x" and ticks.angle:
        letter(
            axes, ticks.labels, points(0.0), align="right", shift=(2.0, away), angle=ticks.angle, transform=beside
        )  # fmt: skip
    elif along == "x":
        letter(axes, ticks.labels, points(0.0), valign="top", shift=(0.0, away), transform=beside)
    else:
        letter(axes, ticks.labels, points(0.0), align="right", shift=(away, 0.0), transform=beside)


def colour_bar(axes: Axes, colours: UInt8Array, ticks: Ticks, title: str) -> None:
    """Fill the axes with the colour map `colours` (n, 3) from 0 at the bottom to 1 at the top; `ticks` lie in 0..1."""
    mosaic.show(axes, colours[::-1, None, :])
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    beside = [(1.0, value) for value in ticks.values]
    letter(axes, ticks.labels, beside, align="left", shift=(_PAD, 0.0), transform=axes.transAxes)
    marks = [((0.75, value), (1.0, value)) for value in ticks.values]
    axes.add_collection(LineCollection(marks, colors="white", linewidths=0.8), autolim=False)
    letter(axes, [title], [(0.0, 1.0)], align="left", valign="bottom", shift=(0.0, 7.0), transform=axes.transAxes)
