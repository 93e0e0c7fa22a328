"""Every group as a line across the settings that were swept, to how well it does and how much it overfits."""

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
from matplotlib.markers import TICKLEFT

from harness.figures import mosaic, style
from harness.figures.axis import number_axis
from harness.figures.groups import Group, Measure, counts_text, number, ordered, value_text, varied
from harness.figures.lettering import fitted, letter, width
from harness.figures.panels import counted, heading_height, write_heading
from harness.figures.scales import Ticks
from harness.figures.shades import BAR, Shades, colours
from harness.records import FloatArray

_PANEL = 3.6  # inches that an axis is high
_LEAST, _MOST = 1.15, 2.4  # inches between axes
_ROOM = 7.6  # inches that all axes may take together, where they can
_SPREAD = 0.5  # of the space between categories, over which the lines of one are spread


@dataclass(frozen=True)
class Axis:
    """One upright axis: its name, its marks from 0 to 1, and where each line crosses it, (lines,), NaN for nowhere."""

    name: str
    ticks: Ticks
    places: FloatArray


@dataclass(frozen=True)
class ParallelCoordinates:
    """Axes from left to right, the gap last; `gaps` (lines,) in points or nats, by falling gap, NaN first."""

    axes: tuple[Axis, ...]
    gaps: FloatArray
    count: str
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure, settings: Sequence[str] | None = None) -> ParallelCoordinates:
    """A line a group over `settings` (None: all that take more than one value), the held-out score, and the gap.

    An axis is one of numbers where every group has a number there, else of words; the lines of one word are spread a
    little, in the order of their gaps, so that they can be told apart.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("parallel coordinates need one group of runs at least")
    chosen = varied(groups) if settings is None else tuple(settings)
    gap_of = {id(group): measure.estimate(group.gap) for group in groups}
    drawn = sorted(groups, key=lambda group: -_last(gap_of[id(group)].mean))
    gaps = np.array([gap_of[id(group)].mean for group in drawn])
    scores = [measure.estimate(group.held_out).mean for group in drawn]
    unit = f"{measure.split} {measure.quantity} ({measure.unit})"
    axes = [_setting(name, drawn, ordered(group.settings.get(name) for group in groups)) for name in chosen]
    axes += [_numbers(unit, scores, swept=False), _numbers(f"gap ({measure.gap_unit})", gaps.tolist(), swept=False)]
    return ParallelCoordinates(tuple(axes), gaps, counts_text(gap_of[id(group)].n for group in groups), measure)


def _last(gap: float) -> float:
    return math.inf if math.isnan(gap) else gap


def _setting(name: str, groups: Sequence[Group], words: Sequence[str]) -> Axis:
    values = [group.settings.get(name) for group in groups]
    numbers = [number(value) for value in values]
    if all(map(math.isfinite, numbers)):
        return _numbers(name, numbers)
    step = 1.0 / len(words)
    places = np.empty(len(values))
    for rank, word in enumerate(words):
        members = [index for index, value in enumerate(values) if value_text(value) == word]
        aside = np.linspace(0.5, -0.5, len(members)) if len(members) > 1 else np.zeros(1)
        places[members] = step * (rank + 0.5 + _SPREAD * aside)
    return Axis(name, Ticks(tuple(step * (rank + 0.5) for rank in range(len(words))), tuple(words)), places)


def _numbers(name: str, values: Sequence[float], swept: bool = True) -> Axis:
    axis = number_axis(values, _PANEL, upright=True, room=0.03, swept=swept)
    places = np.array(axis.shares(values))
    marks = Ticks(tuple(axis.shares(axis.ticks.values)), axis.ticks.labels)
    return Axis(f"{name}{' (log)' if axis.log else ''}", marks, places)


def draw(view: ParallelCoordinates, title: str) -> Figure:
    """All lines as one collection, coloured by gap, the smallest gap on top; without a gap grey and dashed."""
    measure, count = view.measure, len(view.axes)
    apart = min(max(_ROOM / (count - 1), _LEAST), _MOST)
    names = [_name(axis.name, apart - 0.15) for axis in view.axes]
    labels = [
        [fitted(text, style.SMALL_SIZE, apart - 0.3, lines=1) for text in axis.ticks.labels] for axis in view.axes
    ]
    halves = [0.5 * width(name, style.SMALL_SIZE, bold=True) for name in names]
    beside = max((width(text, style.SMALL_SIZE) for text in labels[0]), default=0.0)
    left, right = max(halves[0], beside + 0.1) + style.EDGE, max(halves[-1], 0.3) + style.EDGE
    wide = max(left + apart * (count - 1) + right, 7.0)
    heading = (
        f"{counted(len(view.gaps), 'group')} of runs across what was swept, {view.count}; "
        f"coloured by mean {measure.gap_name}, in {measure.gap_unit}."
    )
    if np.isnan(view.gaps).any():
        heading += f" Grey and dashed: {counted(int(np.isnan(view.gaps).sum()), 'group')} without a finished run."
    top = heading_height(heading, measure.note, wide)
    above = top + 0.2 + 0.16 * max(name.count("\n") + 1 for name in names)
    margins = style.Margins(left, wide - left - apart * (count - 1), 0.2, above, 0.0)
    high = margins.bottom + _PANEL + margins.top
    figure, (axes,) = style.row_of_panels(wide, high, title, 1, margins)
    write_heading(figure, heading, measure.note, high)
    axes.set(xlim=(0, count - 1), ylim=(0, 1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    _draw_lines(axes, view)
    letter(axes, names, [(place, 1.0) for place in range(count)], bold=True, valign="bottom", shift=(0.0, 5.0))
    where = [(place, share) for place, axis in enumerate(view.axes) for share in axis.ticks.values]
    texts = [text for axis_labels in labels for text in axis_labels]
    letter(axes, texts, where, align="right", shift=(-6.0, 0.0), halo=True)
    if np.isfinite(view.gaps).any():
        _draw_strip(figure, axes, view.axes[-1].places)
    return figure


def _name(text: str, inches: float) -> str:
    """An axis's name in bold letters, broken behind a dot where it is too long for a line."""
    room = inches * width("n", style.SMALL_SIZE) / width("n", style.SMALL_SIZE, bold=True)
    return fitted(text if width(text, style.SMALL_SIZE) <= room else text.replace(".", ". "), style.SMALL_SIZE, room, 3)


def _draw_lines(axes: Axes, view: ParallelCoordinates) -> None:
    count = len(view.axes)
    heights = np.stack([axis.places for axis in view.axes], axis=1)
    points = np.stack([np.broadcast_to(np.arange(count), heights.shape), heights], axis=-1)
    dashes: Any = ["--" if math.isnan(gap) else "-" for gap in view.gaps]
    shades = Shades.over(view.gaps).of(view.gaps)
    lines = LineCollection(list(points), colors=shades, linestyles=dashes, linewidths=1.6, zorder=2)
    ends = [((place, 0.0), (place, 1.0)) for place in range(count)]
    uprights = LineCollection(ends, colors=style.INK, linewidths=1.0, zorder=3)
    for collection in (lines, uprights):
        collection.set_clip_on(False)
        axes.add_collection(collection, autolim=False)
    marked = [(place, share) for place, axis in enumerate(view.axes) for share in axis.ticks.values]
    if marked:
        left: Any = TICKLEFT
        marks = Line2D(*zip(*marked, strict=True), linestyle="none", marker=left, markersize=3.0, color=style.INK)
        marks.set(zorder=3, clip_on=False)
        axes.add_artist(marks)


def _draw_strip(figure: Figure, axes: Axes, places: FloatArray) -> None:
    """The scale of colours along the last axis, which is that of the gap."""
    low, high = float(np.nanmin(places)), float(np.nanmax(places))
    if high - low < 0.02:
        low, high = low - 0.05, high + 0.05
    box, wide = axes.get_position(), figure.get_size_inches()[0]
    strip = figure.add_axes((box.x1 + 0.04 / wide, box.y0 + low * box.height, BAR / wide, (high - low) * box.height))
    mosaic.show(strip, colours()[::-1, None, :])
    strip.set(xticks=[], yticks=[])
    strip.spines[:].set_visible(False)
