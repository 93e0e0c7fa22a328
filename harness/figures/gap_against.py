"""The gap against a swept number, such as a learning rate, or the number of training images or parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from harness.figures import style
from harness.figures.gap_marks import axis_shares, draw_intervals, gap_colours, swept_axis
from harness.figures.groups import (
    Estimate,
    Group,
    Measure,
    counted,
    counts_text,
    limits,
    number,
    ordered,
    value_text,
)

_WIDTH, _LEGEND, _HEIGHT = 11.0, 2.2, 4.0  # inches: width of figure and legend, height
_ROOMY = 8.0  # inches; a figure of this width or more has its legend beside the panels
_MOST_NAMED = 24  # entries of the legend
_STEP, _BREADTH = 8.0, 24.0  # points between two lines, which are shifted sideways, and between the outermost ones
_OWN = 0.5  # the share of the space between two numbers that the lines at one number may use
_DOTS = 3.5  # points from a mean to the dots of its runs


@dataclass(frozen=True)
class Point:
    """One group at the number `at`: its gap in points or nats, its scores in percent or nats."""

    at: float
    gap: Estimate
    train: Estimate
    held_out: Estimate
    complete: bool


@dataclass(frozen=True)
class Line:
    """The groups with one value of the second setting, by increasing number.

    Points are `joined` by a line if each number occurs only once.
    """

    label: str
    points: tuple[Point, ...]

    @property
    def joined(self) -> bool:
        places = [point.at for point in self.points]
        return len(set(places)) == len(places)


@dataclass(frozen=True)
class GapAgainst:
    """Lines in the order of the second setting's values; `left_out` counts groups without a number or a finite gap."""

    lines: tuple[Line, ...]
    setting: str
    by: str | None
    left_out: int
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure, setting: str, by: str | None = None) -> GapAgainst:
    """A point for each group at its number of `setting`, and a line for each value of the setting `by`.

    Raises:
        ValueError: no group has a number for `setting` and a finite gap.
    """
    lines: dict[str, list[Point]] = {value: [] for value in ordered(_second(group, by) for group in groups)}
    for group in groups:
        gap, at = measure.estimate(group.gap), number(group.settings.get(setting))
        if math.isfinite(at) and math.isfinite(gap.mean):
            train, held_out = measure.estimate(group.train), measure.estimate(group.held_out)
            lines[_second(group, by)].append(Point(at, gap, train, held_out, gap.n >= group.runs))
    found = [Line(label, tuple(sorted(points, key=lambda point: point.at))) for label, points in lines.items()]
    shown = sum(len(line.points) for line in found)
    if not shown:
        raise ValueError(f"no group has a number for {setting!r} and a finite gap")
    return GapAgainst(tuple(line for line in found if line.points), setting, by, len(groups) - shown, measure)


def _second(group: Group, by: str | None) -> str:
    return "" if by is None else value_text(group.settings.get(by))


@style.look
def draw(view: GapAgainst, title: str) -> Figure:
    """Draw the gap on the left, and training and held-out scores on the right.

    The x axis is logarithmic if the numbers span a wide range; see `groups.is_log`.
    """
    measure, points = view.measure, [point for line in view.lines for point in line.points]
    heading = (
        f"{measure.gap_name.capitalize()}, by {view.setting}. Mean and its 95 % interval, "
        f"{counts_text(point.gap.n for point in points)}; dots: single runs."
    )
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a number or a finished run."
    if any(not line.joined for line in view.lines):
        heading += " Points are not joined where several groups have the same number."
    entries = _entries(view)
    beside = style.page_width(_WIDTH) >= _ROOMY
    lines = len(entries) + bool(view.by)
    high = max(_HEIGHT, style.line_height() * 1.2 * lines + 0.5) if beside else _HEIGHT + 0.6 + 0.1 * lines
    figure = style.new_figure(_WIDTH, high, title, heading, measure.note)
    left, right = style.row_of_panels(figure, 2)
    name = style.fitted(view.by, "small", _LEGEND) if view.by else ""
    style.legend_beside(right, entries, [str(entry.get_label()) for entry in entries], beside, name)
    gaps = [point.gap for point in points]
    both = [estimate for point in points for estimate in (point.train, point.held_out)]
    wide = 0.37 * figure.get_size_inches()[0] if beside else figure.get_size_inches()[0] - 0.8
    for axes, shown in ((left, gaps), (right, both)):
        log = swept_axis(axes, [point.at for point in points], wide)
        axes.set_ylim(*limits(_levels(shown), _ends(shown), measure.least_range))
        axes.set_xlabel(style.fitted(view.setting + ", logarithmic" * log, "medium", wide))
        axes.grid(axis="y")
    if left.get_ylim()[0] < 0 < left.get_ylim()[1]:
        left.axhline(0.0, color=style.MUTED, linewidth=0.9, zorder=1.5)
    _draw_lines(left, right, view, wide)
    quantity = measure.quantity
    left.set(title="Gap (above 0: overfitting)", ylabel=f"gap ({measure.gap_unit})")
    right.set(title=f"{quantity.capitalize()} of training and {measure.split}", ylabel=f"{quantity} ({measure.unit})")
    return figure


def _draw_lines(left: Axes, right: Axes, view: GapAgainst, wide: float) -> None:
    """Draw every line in both panels. Lines are shifted sideways, but stay closer to their number than to the next."""
    shares = axis_shares(left, sorted({point.at for line in view.lines for point in line.points}))
    apart = 72 * wide * min(np.diff(shares), default=1.0)
    step = min(_STEP, min(_BREADTH, _OWN * apart) / max(len(view.lines) - 1, 1))
    several = len(view.lines) > 1
    for index, line in enumerate(view.lines):
        colour, marker = _look(view, index)
        aside = step * (index - (len(view.lines) - 1) / 2)
        train, held_out = [point.train for point in line.points], [point.held_out for point in line.points]
        _draw_line(left, line, [point.gap for point in line.points], colour if several else style.GAP, marker, aside)
        _draw_line(right, line, train, colour if several else style.TRAIN, marker, aside, training=True)
        _draw_line(right, line, held_out, colour if several else style.HELD_OUT, marker if several else "s", aside)


def _levels(estimates: Sequence[Estimate]) -> list[float]:
    return [value for estimate in estimates for value in (estimate.mean, *estimate.values)]


def _ends(estimates: Sequence[Estimate]) -> list[float]:
    return [end for estimate in estimates for end in (estimate.low, estimate.high)]


def _look(view: GapAgainst, index: int) -> tuple[str, str]:
    """Colour and marker of a line. With more than twelve lines, the colour shows the position in the order."""
    if len(view.lines) <= len(style.SERIES):
        return style.SERIES[index]
    shade = gap_colours([0.0, len(view.lines) - 1.0]).to_rgba(np.array([float(index)]))[0]
    return to_hex(tuple(shade)), style.SERIES[index % len(style.SERIES)][1]


def _entries(view: GapAgainst) -> list[Line2D]:
    split = view.measure.split
    if len(view.lines) == 1:
        entries = [
            _entry("gap", style.GAP, "o"),
            _entry("training", style.TRAIN, "o", "--", markerfacecolor="white"),
            _entry(split, style.HELD_OUT, "s"),
        ]
        return entries if view.by is None else [_entry(view.lines[0].label, "none"), *entries]
    entries = [_entry(line.label, *_look(view, index)) for index, line in enumerate(view.lines)]
    if len(entries) > _MOST_NAMED:
        entries = [*entries[:_MOST_NAMED], _entry(f"and {len(entries) - _MOST_NAMED} more, darker", "none")]
    return [*entries, _entry("training", style.INK, dashes="--"), _entry(f"{split}, and the gap", style.INK)]


def _entry(label: str, colour: str, marker: str = "", dashes: str = "-", **look: Any) -> Line2D:
    look |= {"color": colour, "marker": marker, "linestyle": dashes, "markersize": 5.5}
    return Line2D([], [], label=style.fitted(label, "small", _LEGEND - 0.5), **look)


def _moved(axes: Axes, points: float) -> Any:
    figure: Any = axes.get_figure(root=True)
    return axes.transData + ScaledTranslation(points / 72, 0.0, figure.dpi_scale_trans)


def _draw_line(
    axes: Axes,
    line: Line,
    estimates: Sequence[Estimate],
    colour: str,
    marker: str,
    aside: float,
    training: bool = False,
) -> None:
    """Draw single runs as faint dots, and joined means with their intervals. Training is dashed with open markers."""
    moved = _moved(axes, aside)
    places = [point.at for point in line.points]
    dots = [(at, value) for at, estimate in zip(places, estimates, strict=True) for value in estimate.values]
    if dots:
        beside = _moved(axes, aside - _DOTS)
        axes.plot(*zip(*dots, strict=True), ".", markersize=5.0, color=colour, alpha=0.35, mew=0, transform=beside)
    draw_intervals(axes, places, estimates, colour=colour, transform=moved)
    dashes = ("--" if training else "-") if line.joined else "none"
    means = [estimate.mean for estimate in estimates]
    look: Any = {"color": colour, "markersize": 5.5, "markerfacecolor": "white" if training else colour}
    axes.plot(places, means, linestyle=dashes, marker=marker, transform=moved, zorder=3.5, **look)
