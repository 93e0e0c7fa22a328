"""Which groups no other one beats: in how well they do on held-out images, and in how little they overfit.

Which those are the comparison says (`Group.place`), so that a figure shows the front that the table names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.axis import limits
from harness.figures.groups import Estimate, Group, Measure, count_text
from harness.figures.intervals import draw_intervals
from harness.figures.lettering import LINE, fitted, letter, width
from harness.figures.panels import counted, heading_height, write_heading, write_labels
from harness.figures.scales import dress, even_ticks
from harness.records import FloatArray, Place

_WIDTH, _PANEL, _HIGH, _KEY = 10.0, 5.0, 4.4, 3.6  # inches
_FAINTEST = 0.25
_AWAY = 11.0  # points from a point to its number
_TURNS = np.radians([135, 45, 225, 315, 90, 180, 270, 0])


@dataclass(frozen=True)
class Standing:
    """One group: its gap in points or nats and its held-out score in percent or nats; whether it is on the front or
    underfit, and in which share of resamples it is on the front (NaN: not known)."""

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
        """How strongly a point of the front is drawn, from 0 to 1: fainter where it is there by chance."""
        return 1.0 if math.isnan(self.share) else max(_FAINTEST, self.share)


@dataclass(frozen=True)
class Pareto:
    """Groups by growing gap; `left_out` counts those without both means."""

    standings: tuple[Standing, ...]
    left_out: int
    measure: Measure

    @property
    def front(self) -> tuple[Standing, ...]:
        return tuple(standing for standing in self.standings if standing.on_front)


def compute(groups: Sequence[Group], measure: Measure) -> Pareto:
    """The groups by growing gap.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("a Pareto front needs one group of runs at least")
    pairs = [(group, measure.estimate(group.gap), measure.estimate(group.held_out)) for group in groups]
    known = [pair for pair in pairs if math.isfinite(pair[1].mean) and math.isfinite(pair[2].mean)]
    known.sort(key=lambda pair: (pair[1].mean, pair[2].mean))
    standings = tuple(
        Standing(group.label, gap, held_out, count_text(gap.n, group), group.place, group.front_share)
        for group, gap, held_out in known
    )
    return Pareto(standings, len(groups) - len(known), measure)


def draw(view: Pareto, title: str) -> Figure:
    """The front as steps with numbered points, named at the right; all other groups muted, underfit ones hollow."""
    measure, front = view.measure, view.front
    better = "upper" if measure.quantity == "accuracy" else "lower"
    heading = (
        f"{measure.split.capitalize()} {measure.quantity} against the {measure.gap_name}; means of "
        f"{counted(len(view.standings), 'group')}. Grey: another group is better in one of them and "
        f"no worse in the other (the {better} left is best). Crosses: 95 % intervals."
    )
    if any(one.place.is_underfit for one in view.standings):
        heading += " Hollow: underfit, not accurate enough for the front."
    if any(not math.isnan(one.share) for one in front):
        heading += " The fainter a point of the front, the fewer resamples put it there."
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a finished run."
    top = heading_height(heading, measure.note, _WIDTH) + 0.15
    names, key = _names(view)
    high = max(_HIGH + 0.65, key + style.EDGE) + top
    margins = style.Margins(0.8, _WIDTH - 0.8 - _PANEL, high - top - _HIGH, top, 0.0)
    figure, (axes,) = style.row_of_panels(_WIDTH, high, title, 1, margins)
    write_heading(figure, heading, measure.note, high)
    gaps, scores = [one.gap for one in view.standings], [one.held_out for one in view.standings]
    for setter, shown, sure in (
        (axes.set_xlim, gaps, [one.gap for one in front]),
        (axes.set_ylim, scores, [one.held_out for one in front]),
    ):
        setter(
            *limits(
                [value.mean for value in shown],
                [end for value in sure for end in (value.low, value.high)],
                measure.least_range,
            )
        )
    across, up = even_ticks(*axes.get_xlim(), most=7), even_ticks(*axes.get_ylim(), most=7)
    dress(axes, "", across, up, grid="xy")
    gap_label = f"gap ({measure.gap_unit}; smaller overfits less)"
    write_labels(axes, gap_label, across.depth, f"{measure.split} {measure.quantity} ({measure.unit})", up.breadth)
    for hollow, look in ((False, {"color": style.FAINT}), (True, {"color": style.MUTED, "fillstyle": "none"})):
        off = [one for one in view.standings if not one.on_front and one.place.is_underfit is hollow]
        _scatter(axes, off, marker="o", markersize=5.0, zorder=2.0, **look)
    if front:
        _draw_front(axes, front)
        _number(axes, view)
        _write_names(figure, names, high - top)
    return figure


def _scatter(axes: Axes, standings: Sequence[Standing], **look: Any) -> None:
    xs, ys = [one.gap.mean for one in standings], [one.held_out.mean for one in standings]
    axes.add_artist(Line2D(xs, ys, linestyle="none", **look))


def _draw_front(axes: Axes, front: Sequence[Standing]) -> None:
    gaps, scores = [one.gap for one in front], [one.held_out for one in front]
    xs, ys = [gap.mean for gap in gaps], [score.mean for score in scores]
    steps = Line2D([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], drawstyle="steps-post", color=style.BLUE, linewidth=1.6)
    steps.set_zorder(2.5)
    axes.add_artist(steps)
    draw_intervals(axes, ys, gaps, along="x", colour=style.FAINT, line=1.0, zorder=2.2)
    draw_intervals(axes, xs, scores, along="y", colour=style.FAINT, line=1.0, zorder=2.2)
    for one in front:
        look = {"marker": "D", "markersize": 6.0, "markeredgecolor": "white", "zorder": 4.0}
        _scatter(axes, [one], color=style.BLUE, alpha=one.strength, **look)


def _number(axes: Axes, view: Pareto) -> None:
    """A number beside each point of the front, where nothing else is; a thin line leads to one that stands far off."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    to_points = axes.transData + figure.dpi_scale_trans.inverted()
    every = np.array([(one.gap.mean, one.held_out.mean) for one in view.standings])
    taken = list(72 * to_points.transform(every))
    edges = 72 * to_points.transform(np.array([axes.get_xlim(), axes.get_ylim()]).T)
    front = [index for index, one in enumerate(view.standings) if one.on_front]
    shifts: list[FloatArray] = []
    for index in front:
        here = taken[index]
        choices = [ring * _AWAY * np.array([np.cos(turn), np.sin(turn)]) for ring in (1, 2, 3) for turn in _TURNS]
        inside = [shift for shift in choices if ((here + shift > edges[0]) & (here + shift < edges[1])).all()]
        free = [shift for shift in inside or choices if _distance(here + shift, taken, index) > 0.9 * _AWAY]
        chosen = free[0] if free else max(inside or choices, key=lambda shift: _distance(here + shift, taken, index))
        shifts.append(chosen)
        taken.append(here + chosen)
    back = (figure.dpi_scale_trans + axes.transData.inverted()).transform
    ends = back(np.array([taken[index] + shift for index, shift in zip(front, shifts, strict=True)]) / 72)
    far = [place for place, shift in enumerate(shifts) if np.hypot(*shift) > 1.5 * _AWAY]
    leaders = [(every[front[place]], ends[place]) for place in far]
    axes.add_collection(LineCollection(leaders, colors=style.MUTED, linewidths=0.6, zorder=3.0), autolim=False)
    letter(axes, [str(place + 1) for place in range(len(front))], ends, bold=True, colours=style.BLUE, halo=True)


def _distance(place: FloatArray, taken: Sequence[FloatArray], own: int) -> float:
    others = [other for index, other in enumerate(taken) if index != own]
    return min((float(np.hypot(*(place - other))) for other in others), default=math.inf)


def _names(view: Pareto) -> tuple[list[tuple[str, str]], float]:
    """Name and figures of each group on the front, and the inches that they take below each other."""
    measure, room = view.measure, _KEY - 0.35
    names = []
    for one in view.front:
        score = f"{measure.text(one.held_out.mean)} {measure.unit}"
        share = "" if math.isnan(one.share) else f", front {100 * one.share:.0f} %"
        detail = f"{score}, gap {measure.gap_text(one.gap.mean)} {measure.gap_unit}, {one.count}{share}"
        names.append((fitted(one.label, style.SMALL_SIZE, room), detail))
    lines = sum(name.count("\n") + 2 for name, _ in names)
    return names, lines * LINE * style.SMALL_SIZE / 72 + 0.08 * len(names)


def _write_names(figure: Figure, names: Sequence[tuple[str, str]], top: float) -> None:
    left, row = _WIDTH - _KEY - 0.1, LINE * style.SMALL_SIZE / 72
    how: Any = {"valign": "top", "transform": figure.dpi_scale_trans}
    tops = []
    for name, _ in names:
        tops.append(top)
        top -= row * (name.count("\n") + 2) + 0.08
    numbers = [str(place + 1) for place in range(len(names))]
    indent = left + 0.08 + max(width(number, style.SMALL_SIZE, bold=True) for number in numbers)
    letter(figure, numbers, [(indent - 0.08, y) for y in tops], bold=True, colours=style.BLUE, align="right", **how)
    letter(figure, [name for name, _ in names], [(indent, y) for y in tops], align="left", **how)
    below = [(indent, y - row * (name.count("\n") + 1)) for y, (name, _) in zip(tops, names, strict=True)]
    letter(figure, [detail for _, detail in names], below, colours=style.MUTED, align="left", **how)
