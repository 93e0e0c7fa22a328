"""How well each run does on what it was trained on, against how well on held-out images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.axis import limits
from harness.figures.groups import Group, Measure, count_text
from harness.figures.keys import Entry, draw_key, key_height
from harness.figures.lettering import letter
from harness.figures.panels import counted, heading_height, write_heading, write_labels
from harness.figures.scales import dress, even_ticks
from harness.figures.shades import Shades
from harness.records import FloatArray

_WIDTH, _PANEL, _KEY = 9.6, 4.6, 3.3  # inches


@dataclass(frozen=True)
class Cloud:
    """The runs of one group with both scores, `points` (n, 2): training and held-out, in percent or nats; their gap."""

    label: str
    points: FloatArray
    gap: float
    count: str


@dataclass(frozen=True)
class Scatter:
    """A cloud for each group that has a point, in the order given; `left_out` counts the other groups."""

    clouds: tuple[Cloud, ...]
    left_out: int
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure) -> Scatter:
    """The single runs, their two scores matched by seed.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("a scatter needs one group of runs at least")
    clouds = []
    for group in groups:
        train, held_out = group.train.by_seed, group.held_out.by_seed
        pairs = [(train[seed], held_out[seed]) for seed in train if seed in held_out]
        points = np.asarray(pairs, dtype=np.float64).reshape(-1, 2) * measure.scale
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            clouds.append(Cloud(group.label, points, measure.estimate(group.gap).mean, count_text(len(points), group)))
    return Scatter(tuple(clouds), len(groups) - len(clouds), measure)


def draw(view: Scatter, title: str) -> Figure:
    """A point a run. Up to twelve groups have a colour and a marker each; more are coloured by their mean gap.

    Thin lines join points of equal gap; the diagonal, where there is none, is dashed.
    """
    measure, by_group = view.measure, len(view.clouds) <= len(style.SERIES)
    runs = sum(len(cloud.points) for cloud in view.clouds)
    heading = (
        f"{measure.quantity.capitalize()} of training against {measure.split}: a point a run, {counted(runs, 'run')} "
        f"in {counted(len(view.clouds), 'group')}. Lines join runs of equal gap, dashed where there is none."
    )
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a finished run."
    entries = [
        Entry(f"{cloud.label} ({cloud.count})", *look)
        for cloud, look in zip(view.clouds, style.SERIES, strict=False)
        if by_group
    ]
    top = heading_height(heading, measure.note, _WIDTH)
    margins = style.Margins(0.75, _WIDTH - 0.75 - _PANEL, 0.65, top + 0.25, 0.0)
    high = max(_PANEL + margins.bottom + margins.top, key_height(entries, _KEY) + margins.top + style.EDGE)
    margins = style.Margins(margins.left, margins.right, high - _PANEL - margins.top, margins.top, 0.0)
    figure, (axes,) = style.row_of_panels(_WIDTH, high, title, 1, margins)
    write_heading(figure, heading, measure.note, high)
    beside = margins.left + _PANEL + 0.75
    _set_limits(axes, view)
    if by_group:
        for cloud, (colour, marker) in zip(view.clouds, style.SERIES, strict=False):
            axes.scatter(
                cloud.points[:, 0],
                cloud.points[:, 1],
                s=30,
                color=colour,
                marker=marker,
                alpha=0.8,
                linewidth=0,
                zorder=3,
            )
        draw_key(figure, entries, beside, high - margins.top, _KEY)
    else:
        gaps = [cloud.gap for cloud in view.clouds for _ in cloud.points]
        shades = Shades.over(gaps)
        points = np.concatenate([cloud.points for cloud in view.clouds])
        axes.scatter(
            points[:, 0], points[:, 1], s=26, color=shades.of(gaps), edgecolor="white", linewidth=0.4, zorder=3
        )
        bar_title = f"mean gap of the\ngroup ({measure.gap_unit})"
        shades.bar(figure, beside, margins.bottom + 0.4, _PANEL - 1.0, bar_title)
    _draw_equal_gaps(axes, measure)
    across, up = even_ticks(*axes.get_xlim(), most=6), even_ticks(*axes.get_ylim(), most=6)
    dress(axes, "", across, up, grid="")
    train, held_out = (f"{split} {measure.quantity} ({measure.unit})" for split in ("training", measure.split))
    write_labels(axes, train, across.depth, held_out, up.breadth)
    return figure


def _set_limits(axes: Axes, view: Scatter) -> None:
    """All points, and a piece of the diagonal, though no run may be near it."""
    points = np.concatenate([cloud.points for cloud in view.clouds] or [np.empty((0, 2))])
    if not len(points):
        axes.set(xlim=(0, 100), ylim=(0, 100))
        return
    train, held_out = points[:, 0], points[:, 1]
    reach = train.min() if view.measure.quantity == "accuracy" else train.max()
    least = view.measure.least_range
    axes.set_xlim(*limits(train, least=least))
    axes.set_ylim(*limits([*held_out, reach], least=least))


def _draw_equal_gaps(axes: Axes, measure: Measure) -> None:
    """Lines of equal gap across the panel, each with its gap where it leaves."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    sign = 1.0 if measure.quantity == "accuracy" else -1.0  # gap = sign * (training - held-out)
    corners = [sign * (x - y) for x in (left, right) for y in (bottom, top)]
    gaps = even_ticks(min(corners), max(corners), most=8)
    lines, texts, places = [], [], []
    for gap, text in zip(gaps.values, gaps.labels, strict=True):
        begin, end = max(left, bottom + sign * gap), min(right, top + sign * gap)
        if end <= begin:
            continue
        lines.append([(begin, begin - sign * gap), (end, end - sign * gap)])
        texts.append("no gap" if gap == 0 else f"{gap:+g}" if "e" in text else f"+{text}" if gap > 0 else text)
        places.append(lines[-1][1])
    dashes = ["--" if text == "no gap" else "-" for text in texts]
    colours = [style.INK if text == "no gap" else style.RULE for text in texts]
    axes.add_collection(
        LineCollection(lines, colors=colours, linestyles=dashes, linewidths=1.0, zorder=1), autolim=False
    )
    upper = [math.isclose(y, top, abs_tol=1e-9 * (top - bottom)) for _, y in places]
    for above in (True, False):
        how: Any = {"colours": style.MUTED, "shift": (0.0, 3.0) if above else (4.0, 0.0)}
        chosen = [index for index, is_above in enumerate(upper) if is_above is above]
        letter(axes, [texts[index] for index in chosen], [places[index] for index in chosen],
               align="center" if above else "left", valign="bottom" if above else "center", **how)  # fmt: skip
