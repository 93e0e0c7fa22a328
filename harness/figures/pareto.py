"""The Pareto front: groups that no other group beats in both held-out score and gap.

The comparison decides which groups these are (`Group.place`), so that figure and table agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from harness.figures import style
from harness.figures.gap_marks import draw_intervals
from harness.figures.groups import Estimate, Group, Measure, count_text, counted, limits
from harness.records import FloatArray, Place

_WIDTH, _HEIGHT, _LEGEND = 10.0, 4.9, 3.2  # inches
_ROOMY = 7.0  # inches; a figure of this width or more has its legend beside the panel
_FAINTEST = 0.25
_AWAY = 11.0  # points from a point to its number
_TURNS = np.radians([135, 45, 225, 315, 90, 180, 270, 0])


@dataclass(frozen=True)
class ParetoPoint:
    """One group: its gap in points or nats, its held-out score in percent or nats, and its place (front or underfit).

    `share` is the share of resamples in which it is on the front, NaN if not known.
    """

    label: str
    gap: Estimate
    held_out: Estimate
    count: str
    place: Place
    share: float = math.nan

    @property
    def on_front(self) -> bool:
        return self.place is Place.FRONT

    @property
    def strength(self) -> float:
        """The opacity of a point on the front: fainter the fewer resamples put it there."""
        return 1.0 if math.isnan(self.share) else max(_FAINTEST, self.share)


@dataclass(frozen=True)
class Pareto:
    """Groups by increasing gap; `left_out` counts groups without both means."""

    points: tuple[ParetoPoint, ...]
    left_out: int
    measure: Measure

    @property
    def front(self) -> tuple[ParetoPoint, ...]:
        return tuple(point for point in self.points if point.on_front)


def compute(groups: Sequence[Group], measure: Measure) -> Pareto:
    """The groups by increasing gap.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("a Pareto front needs at least one group of runs")
    pairs = [(group, measure.estimate(group.gap), measure.estimate(group.held_out)) for group in groups]
    known = [pair for pair in pairs if math.isfinite(pair[1].mean) and math.isfinite(pair[2].mean)]
    known.sort(key=lambda pair: (pair[1].mean, pair[2].mean))
    points = tuple(
        ParetoPoint(group.label, gap, held_out, count_text(gap.n, group), group.place, group.front_share)
        for group, gap, held_out in known
    )
    return Pareto(points, len(groups) - len(known), measure)


@style.look
def draw(view: Pareto, title: str) -> Figure:
    """Draw the front as steps with numbered points and a legend, other groups in grey, underfit ones hollow."""
    measure, front = view.measure, view.front
    better = "upper" if measure.quantity == "accuracy" else "lower"
    heading = (
        f"{measure.split.capitalize()} {measure.quantity} against the {measure.gap_name}; means of "
        f"{counted(len(view.points), 'group')}. Grey: another group is better in one of them and "
        f"no worse in the other (the {better} left is best). Crosses: 95 % intervals."
    )
    if any(one.place.is_underfit for one in view.points):
        heading += " Hollow: underfit, not accurate enough for the front."
    if any(not math.isnan(one.share) for one in front):
        heading += " The fainter a point of the front, the fewer resamples put it there."
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a finished run."
    beside = style.page_width(_WIDTH) >= _ROOMY
    labels = [_name(number, one, measure) for number, one in enumerate(front, 1)]
    legend = sum(style.line_height() * (label.count("\n") + 1.3) for label in labels) + 0.3
    figure = style.new_figure(
        _WIDTH,
        max(_HEIGHT, legend) if beside else style.page_height(_WIDTH, _HEIGHT) + legend,
        title,
        heading,
        measure.note,
    )
    axes = figure.subplots()
    gaps, scores = [one.gap for one in view.points], [one.held_out for one in view.points]
    for setter, shown, sure in (
        (axes.set_xlim, gaps, [one.gap for one in front]),
        (axes.set_ylim, scores, [one.held_out for one in front]),
    ):
        ends = [end for value in sure for end in (value.low, value.high)]
        setter(*limits([value.mean for value in shown], ends, measure.least_range))
    axes.set_xlabel(f"gap ({measure.gap_unit}; smaller overfits less)")
    axes.set_ylabel(f"{measure.split} {measure.quantity} ({measure.unit})")
    axes.grid()
    for hollow, look in ((False, {"color": style.FAINT}), (True, {"color": style.MUTED, "fillstyle": "none"})):
        off = [one for one in view.points if not one.on_front and one.place.is_underfit is hollow]
        _mark(axes, off, marker="o", markersize=5.0, zorder=2.0, **look)
    if front:
        handles = _draw_front(axes, front)
        style.legend_beside(axes, handles, labels, beside)
        figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
        _number(axes, view)
    return figure


def _mark(axes: Axes, points: Sequence[ParetoPoint], **look: Any) -> Line2D:
    xs, ys = [one.gap.mean for one in points], [one.held_out.mean for one in points]
    [drawn] = axes.plot(xs, ys, linestyle="none", **look)
    return drawn


def _draw_front(axes: Axes, front: Sequence[ParetoPoint]) -> list[Line2D]:
    """Draw the points of the front, their intervals, and the steps that join them. Returns the legend's handles."""
    gaps, scores = [one.gap for one in front], [one.held_out for one in front]
    xs, ys = [gap.mean for gap in gaps], [score.mean for score in scores]
    axes.step([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], where="post", color=style.BLUE, linewidth=1.6, zorder=2.5)
    thin: Any = {"colour": style.FAINT, "elinewidth": 1.0, "zorder": 2.2}
    draw_intervals(axes, ys, gaps, along="x", **thin)
    draw_intervals(axes, xs, scores, along="y", **thin)
    look = {"marker": "D", "markersize": 6.0, "markeredgecolor": "white", "zorder": 4.0, "color": style.BLUE}
    return [_mark(axes, [one], alpha=one.strength, **look) for one in front]


def _number(axes: Axes, view: Pareto) -> None:
    """Write a number beside each point of the front, at a free place. If it is far off, a thin line leads to it."""
    every = [(one.gap.mean, one.held_out.mean) for one in view.points]
    figure: Any = axes.get_figure(root=True)
    taken = list(axes.transData.transform(every) * 72 / figure.dpi)
    edges = np.asarray(axes.get_window_extent().get_points()) * 72 / figure.dpi
    front = [index for index, one in enumerate(view.points) if one.on_front]
    for number, index in enumerate(front, 1):
        here = taken[index]
        choices = [ring * _AWAY * np.array([np.cos(turn), np.sin(turn)]) for ring in (1, 2, 3) for turn in _TURNS]
        inside = [shift for shift in choices if ((here + shift > edges[0]) & (here + shift < edges[1])).all()]
        rooms = [_distance(here + shift, taken, index) for shift in inside or choices]
        free = next((place for place, room in enumerate(rooms) if room > 0.9 * _AWAY), int(np.argmax(rooms)))
        shift = (inside or choices)[free]
        taken.append(here + shift)
        leader = {"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.6} if np.hypot(*shift) > 1.5 * _AWAY else None
        how: Any = {"ha": "center", "va": "center_baseline", "size": "small", "weight": "bold", "color": style.BLUE}
        how |= {"textcoords": "offset points", "arrowprops": leader}
        written = axes.annotate(str(number), every[index], tuple(shift), **how)
        written.set(zorder=5, in_layout=False, path_effects=[withStroke(linewidth=2.4, foreground="white")])


def _distance(place: FloatArray, taken: Sequence[FloatArray], own: int) -> float:
    others = [other for index, other in enumerate(taken) if index != own]
    return min((float(np.hypot(*(place - other))) for other in others), default=math.inf)


def _name(number: int, one: ParetoPoint, measure: Measure) -> str:
    """The number, label and scores of a group on the front."""
    score = f"{measure.text(one.held_out.mean)} {measure.unit}"
    share = "" if math.isnan(one.share) else f", front {100 * one.share:.0f} %"
    detail = f"{score}, gap {measure.gap_text(one.gap.mean)} {measure.gap_unit}, {one.count}{share}"
    return f"{style.fitted(f'{number}  {one.label}', 'small', _LEGEND)}\n{detail}"
