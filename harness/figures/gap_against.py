"""The gap against a number that was swept: parameters, training images, noise, a learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from harness.figures import style
from harness.figures.axis import limits, number_axis, set_number_axis
from harness.figures.groups import Estimate, Group, Measure, counts_text, number, ordered, value_text
from harness.figures.intervals import draw_intervals
from harness.figures.keys import Entry, draw_key, key_height
from harness.figures.panels import counted, heading_height, write_heading, write_labels
from harness.figures.scales import dress, even_ticks
from harness.figures.shades import Shades

_WIDTH, _KEY, _HIGH = 11.0, 2.2, 3.3  # inches
_MOST_NAMED = 24  # lines of the key
_STEP, _BREADTH = 8.0, 24.0  # points between lines, whose intervals stand beside each other, and of them all
_OWN = 0.5  # of the space between two numbers, which the lines at one of them may take
_DOTS = 3.5  # points from a mean to its single runs


@dataclass(frozen=True)
class Point:
    """One group at its number: gap in points or nats, both scores in percent or nats."""

    at: float
    gap: Estimate
    train: Estimate
    held_out: Estimate
    complete: bool


@dataclass(frozen=True)
class Line:
    """The groups with one value of the second setting, by growing number; `joined` where each number comes once."""

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
    """Points by the number that `setting` has in each group, a line for each value of the setting `by`.

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


def draw(view: GapAgainst, title: str) -> Figure:
    """Left the gap, right the two scores that it lies between; logarithmic where the numbers span many sizes."""
    measure, points = view.measure, [point for line in view.lines for point in line.points]
    heading = (
        f"{measure.gap_name.capitalize()}, by {view.setting}. Mean and its 95 % interval, "
        f"{counts_text(point.gap.n for point in points)}; dots: single runs."
    )
    if view.left_out:
        heading += f" Left out: {counted(view.left_out, 'group')} without a number or a finished run."
    if any(not line.joined for line in view.lines):
        heading += " Points are not joined where several groups have the same number."
    entries, note = _entries(view), measure.note
    top = heading_height(heading, note, _WIDTH)
    key = view.by or ""
    high = max(_HIGH + 0.6 + top + 0.4, key_height(entries, _KEY, key) + top + 0.3)
    margins = style.Margins(1.0, _KEY + 0.3, high - _HIGH - top - 0.4, top + 0.4, 1.0)
    figure, (left, right) = style.row_of_panels(_WIDTH, high, title, 2, margins)
    write_heading(figure, heading, note, high)
    draw_key(figure, entries, _WIDTH - _KEY - 0.1, high - top - 0.2, _KEY, key)
    wide = left.get_position().width * _WIDTH
    axis = number_axis([point.at for point in points], wide)
    for axes in (left, right):
        set_number_axis(axes, axis)
    gaps = [point.gap for point in points]
    left.set_ylim(*limits(_levels(gaps), _ends(gaps), measure.least_range))
    both = [estimate for point in points for estimate in (point.train, point.held_out)]
    right.set_ylim(*limits(_levels(both), _ends(both), measure.least_range))
    if left.get_ylim()[0] < 0 < left.get_ylim()[1]:
        left.axhline(0.0, color=style.MUTED, linewidth=0.9, zorder=1.5)
    shares = sorted(set(axis.shares(point.at for point in points)))
    apart = 72 * wide * min((after - before for before, after in pairwise(shares)), default=1.0)
    step = min(_STEP, min(_BREADTH, _OWN * apart) / max(len(view.lines) - 1, 1))
    for index, line in enumerate(view.lines):
        colour, marker = _look(view, index)
        several = len(view.lines) > 1
        aside = step * (index - (len(view.lines) - 1) / 2)
        _draw_line(left, line, [point.gap for point in line.points], colour if several else style.GAP, marker, aside)
        train, held_out = [point.train for point in line.points], [point.held_out for point in line.points]
        _draw_line(right, line, train, colour if several else style.TRAIN, marker, aside, training=True)
        _draw_line(right, line, held_out, colour if several else style.HELD_OUT, "s" if not several else marker, aside)
    quantity = measure.quantity
    across = view.setting + ", logarithmic" * axis.log
    for axes, words, up in (
        (left, "Gap (above 0: overfitting)", f"gap ({measure.gap_unit})"),
        (
            right,
            f"{quantity.capitalize()} of training and {measure.split}",
            f"{quantity} ({measure.unit})",
        ),
    ):
        ticks = even_ticks(*axes.get_ylim(), most=6)
        dress(axes, words, axis.ticks, ticks)
        write_labels(axes, across, axis.ticks.depth, up, ticks.breadth)
    return figure


def _levels(estimates: Sequence[Estimate]) -> list[float]:
    return [value for estimate in estimates for value in (estimate.mean, *estimate.values)]


def _ends(estimates: Sequence[Estimate]) -> list[float]:
    return [end for estimate in estimates for end in (estimate.low, estimate.high)]


def _look(view: GapAgainst, index: int) -> tuple[str, str]:
    """Colour and marker of a line; beyond twelve lines the colour says where it comes in the order."""
    if len(view.lines) <= len(style.SERIES):
        return style.SERIES[index]
    from matplotlib.colors import to_hex

    shade = Shades(0.0, len(view.lines) - 1.0).of([float(index)])[0]
    return to_hex(shade), style.SERIES[index % len(style.SERIES)][1]


def _entries(view: GapAgainst) -> list[Entry]:
    split = view.measure.split
    if len(view.lines) == 1:
        entries = [
            Entry("gap", style.GAP, "o", "-"),
            Entry("training", style.TRAIN, "o", "--", filled=False),
            Entry(split, style.HELD_OUT, "s", "-"),
        ]
        return entries if view.by is None else [Entry(view.lines[0].label, "none", ""), *entries]
    entries = [Entry(line.label, *_look(view, index), "-") for index, line in enumerate(view.lines)]
    if len(entries) > _MOST_NAMED:
        more = f"and {len(entries) - _MOST_NAMED} more, darker"
        entries = [*entries[:_MOST_NAMED], Entry(more, "none", "")]
    sides = [Entry("training", style.INK, "", "--"), Entry(f"{split}, and the gap", style.INK, "", "-")]
    return [*entries, *sides]


def _moved(axes: Axes, points: float) -> Any:
    figure = axes.get_figure(root=True)
    assert figure is not None
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
    """Single runs as faint dots; means, joined, with their intervals. Training is dashed and hollow."""
    moved, beside = _moved(axes, aside), _moved(axes, aside - _DOTS)
    places = [point.at for point in line.points]
    dots = [(at, value) for at, estimate in zip(places, estimates, strict=True) for value in estimate.values]
    runs = Line2D(*zip(*dots, strict=True), linestyle="none", marker=".", markersize=5.0, color=colour, alpha=0.35,
                  markeredgewidth=0, transform=beside, zorder=2) if dots else None  # fmt: skip
    if runs is not None:
        axes.add_artist(runs)
    draw_intervals(axes, places, estimates, colour=colour, transform=moved)
    dashes: Any = ("--" if training else "-") if line.joined else "none"
    means = Line2D(places, [estimate.mean for estimate in estimates], color=colour, linestyle=dashes,
                   linewidth=1.5, marker=marker, markersize=5.5, transform=moved, zorder=3.5)  # fmt: skip
    means.set_markerfacecolor("white" if training else colour)
    axes.add_artist(means)
