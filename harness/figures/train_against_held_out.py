"""Training accuracy against held-out accuracy, a point for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.gap_marks import gap_colours
from harness.figures.groups import Group, Measure, count_text, counted, limits
from harness.records import FloatArray

_WIDTH, _PANEL, _LEGEND = 9.6, 5.2, 3.3  # inches
_ROOMY = 7.0  # inches; a figure of this width or more has its legend beside the panel


@dataclass(frozen=True)
class Cloud:
    """The runs of one group: `points` (n, 2) with training and held-out score in percent or nats, and the mean gap."""

    label: str
    points: FloatArray
    gap: float
    count: str


@dataclass(frozen=True)
class Scatter:
    """A cloud for each group with at least one point, in the given order; `left_out` counts the other groups."""

    clouds: tuple[Cloud, ...]
    left_out: int
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure) -> Scatter:
    """A point for each run, with its two scores matched by seed.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("a scatter needs at least one group of runs")
    clouds = []
    for group in groups:
        train, held_out = group.train.by_seed, group.held_out.by_seed
        pairs = [(train[seed], held_out[seed]) for seed in train if seed in held_out]
        points = np.asarray(pairs, dtype=np.float64).reshape(-1, 2) * measure.scale
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            clouds.append(Cloud(group.label, points, measure.estimate(group.gap).mean, count_text(len(points), group)))
    return Scatter(tuple(clouds), len(groups) - len(clouds), measure)


@style.look
def draw(view: Scatter, title: str) -> Figure:
    """Draw a point for each run. Up to twelve groups have a colour and a marker each; more are coloured by mean gap.

    Thin lines join points of equal gap. The diagonal (no gap) is dashed.
    """
    measure, by_group = view.measure, len(view.clouds) <= len(style.SERIES)
    runs = sum(len(cloud.points) for cloud in view.clouds)
    heading = (
        f"{measure.quantity.capitalize()} of training against {measure.split}: a point a run, {counted(runs, 'run')} "
        f"in {counted(len(view.clouds), 'group')}. Lines join runs of equal gap, dashed where there is none."
    )
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a finished run."
    beside = style.page_width(_WIDTH) >= _ROOMY
    names = (
        [style.fitted(f"{cloud.label} ({cloud.count})", "small", _LEGEND) for cloud in view.clouds] if by_group else []
    )
    legend = sum(style.line_height() * (name.count("\n") + 1.3) for name in names) + 0.3
    width = _WIDTH if by_group else _PANEL + 1.8
    figure = style.new_figure(
        width, max(_PANEL, legend) if beside else style.page_width(_PANEL) + legend, title, heading, measure.note
    )
    axes = figure.subplots()
    axes.set_box_aspect(1)
    axes.set_anchor("NW")
    _set_limits(axes, view)
    if by_group:
        handles = [
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
            for cloud, (colour, marker) in zip(view.clouds, style.SERIES, strict=False)
        ]
        if handles:
            style.legend_beside(axes, handles, names, beside, left=1.14)
    else:
        shown = gap_colours(cloud.gap for cloud in view.clouds)
        colours = shown.to_rgba(np.array([cloud.gap for cloud in view.clouds for _ in cloud.points]))
        points = np.concatenate([cloud.points for cloud in view.clouds])
        axes.scatter(points[:, 0], points[:, 1], s=26, color=colours, edgecolor="white", linewidth=0.4, zorder=3)
        title = f"mean gap of the\ngroup ({measure.gap_unit})"
        style.colour_bar(axes, shown, title, shrink=0.8, aspect=25, ticks=style.even_ticks(5))
    _draw_equal_gaps(axes, measure)
    train, held_out = (f"{split} {measure.quantity} ({measure.unit})" for split in ("training", measure.split))
    axes.set(xlabel=train, ylabel=held_out)
    return figure


def _set_limits(axes: Axes, view: Scatter) -> None:
    """Set limits that include all points and a part of the diagonal."""
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
    """Draw lines of equal gap across the panel, each with its gap at its end."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    sign = 1.0 if measure.quantity == "accuracy" else -1.0  # gap = sign * (training - held-out)
    corners = [sign * (x - y) for x in (left, right) for y in (bottom, top)]
    for gap in style.even_ticks(8).tick_values(min(corners), max(corners)):
        gap = round(float(gap), 9) + 0.0
        begin, end = max(left, bottom + sign * gap), min(right, top + sign * gap)
        if end <= begin:
            continue
        look: Any = {"color": style.RULE, "linestyle": "-"} if gap else {"color": style.INK, "linestyle": "--"}
        axes.plot([begin, end], [begin - sign * gap, end - sign * gap], linewidth=1.0, zorder=1, **look)
        above = math.isclose(end - sign * gap, top, abs_tol=1e-9 * (top - bottom))
        how: Any = {"ha": "center", "va": "bottom"} if above else {"ha": "left", "va": "center_baseline"}
        axes.annotate(
            f"{gap:+g}" if gap else "no gap", (end, end - sign * gap), (0, 3) if above else (4, 0),
            textcoords="offset points", color=style.MUTED, size="small", annotation_clip=False, **how,
        )  # fmt: skip
