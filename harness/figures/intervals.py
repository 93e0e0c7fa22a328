"""Intervals as lines with caps, all in three artists; one that leaves the panel ends in an arrow head at its edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform

from harness.figures import style
from harness.figures.groups import Estimate

_CAP = 6.0  # points


def draw_intervals(
    axes: Axes,
    places: Sequence[float],
    estimates: Sequence[Estimate],
    along: str = "y",
    colour: str = style.INK,
    transform: Transform | None = None,
    line: float = 1.3,
    zorder: float = 3.2,
) -> None:
    """The interval of each estimate `along` one axis (x or y), at its place on the other. Set the limits before."""
    found = [
        (place, shown.low, shown.high) for place, shown in zip(places, estimates, strict=True) if shown.bounded
    ]  # fmt: skip
    if not found:
        return
    first, last = axes.get_xlim() if along == "x" else axes.get_ylim()
    data = axes.transData if transform is None else transform
    ends = np.asarray(found, dtype=np.float64)
    clipped = np.clip(ends[:, 1:], min(first, last), max(first, last))

    def points(across: Any, value: Any) -> Any:
        return np.stack([value, across] if along == "x" else [across, value], axis=-1)

    segments = np.stack([points(ends[:, 0], clipped[:, 0]), points(ends[:, 0], clipped[:, 1])], axis=1)
    lines = LineCollection(list(segments), colors=colour, linewidths=line, transform=data, zorder=zorder)
    axes.add_collection(lines, autolim=False)
    beyond = clipped != ends[:, 1:]
    heads = ("<", ">") if along == "x" else ("v", "^")
    for side in (0, 1):
        _mark(axes, points(ends[:, 0], clipped[:, side])[beyond[:, side]], heads[side], 4.5, colour, data, zorder)
    inside = np.concatenate([points(ends[:, 0], clipped[:, side])[~beyond[:, side]] for side in (0, 1)])
    _mark(axes, inside, "|" if along == "x" else "_", _CAP, colour, data, zorder)


def _mark(axes: Axes, points: Any, marker: str, size: float, colour: str, transform: Transform, zorder: float) -> None:
    if len(points):
        marks = Line2D(*points.T, linestyle="none", marker=marker, markersize=size, color=colour, transform=transform)
        marks.set(zorder=zorder, clip_on=False)
        axes.add_artist(marks)
