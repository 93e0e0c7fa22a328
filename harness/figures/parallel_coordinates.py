"""Each group as a line across the swept settings, its accuracy and its gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from harness.figures import style
from harness.figures.gap_marks import GAPS, gap_colours, swept_ticks, tick_step
from harness.figures.groups import (
    Group,
    Measure,
    counted,
    counts_text,
    is_log,
    number,
    number_text,
    ordered,
    value_text,
    varied,
)
from harness.records import FloatArray

_PANEL = 3.6  # inches, the height of an axis
_LEAST = 1.15  # inches, the least distance of axes
_ROOM = 7.6  # inches, the preferred width of all axes together
_SPREAD = 0.5  # lines of one category are spread over this share of the space between categories


@dataclass(frozen=True)
class Axis:
    """One vertical axis with its `ticks` (position from 0 to 1, text).

    `places` (lines,) are the positions at which each line crosses the axis, NaN if it does not.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]
    places: FloatArray


@dataclass(frozen=True)
class ParallelCoordinates:
    """Axes from left to right, the gap last. `gaps` (lines,) in points or nats are decreasing, NaN first."""

    axes: tuple[Axis, ...]
    gaps: FloatArray
    count: str
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure, settings: Sequence[str] | None = None) -> ParallelCoordinates:
    """A line for each group across `settings` (None: all with more than one value), the held-out score and the gap.

    An axis is numeric if every group has a number there. Otherwise it has categories, and the lines of one category are
    spread a little in the order of their gaps, so that they are visible.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("parallel coordinates need at least one group of runs")
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
    return Axis(name, tuple((step * (rank + 0.5), word) for rank, word in enumerate(words)), places)


def _numbers(name: str, values: Sequence[float], swept: bool = True) -> Axis:
    distinct = sorted({value for value in values if math.isfinite(value)})
    if not distinct:
        return Axis(name, (), np.full(len(values), np.nan))
    log = is_log(distinct)
    on = np.log10 if log else np.asarray
    low, high = (float(on(end)) for end in (distinct[0], distinct[-1]))
    beyond = 0.03 * (high - low) or 1.0

    def share(found: Sequence[float]) -> FloatArray:
        return (np.asarray(on(np.asarray(found, dtype=np.float64))) - low + beyond) / (high - low + 2 * beyond)

    marks = swept_ticks(distinct, log, swept)
    places = share(marks)
    step = tick_step(_PANEL * places, [0.5 * style.line_height()] * len(marks))
    ticks = zip(places[::step].tolist(), map(number_text, marks[::step]), strict=True)
    return Axis(f"{name}{' (log)' if log else ''}", tuple(ticks), share(values))


@style.look
def draw(view: ParallelCoordinates, title: str) -> Figure:
    """Draw the lines, coloured by gap, with the smallest gap on top. Lines without a gap are grey and dashed."""
    measure, count = view.measure, len(view.axes)
    heading = (
        f"{counted(len(view.gaps), 'group')} of runs across what was swept, {view.count}; "
        f"coloured by mean {measure.gap_name}, in {measure.gap_unit}."
    )
    if np.isnan(view.gaps).any():
        heading += f" Grey and dashed: {counted(int(np.isnan(view.gaps).sum()), 'group')} without a finished run."
    room = style.page_width(_ROOM + 1.6) - 1.6
    apart = max(room / (count - 1), _LEAST if style.page_width(0.0) == 0.0 else 0.0)
    width = max(apart * (count - 1) + 1.6, 7.0)
    figure = style.new_figure(width, _PANEL + 0.6, title, heading, measure.note)
    axes = figure.subplots()
    axes.set(xlim=(0, count - 1), ylim=(0, 1), yticks=[])
    axes.spines[:].set_visible(False)
    _draw_lines(axes, view)
    names = [style.fitted(axis.name.replace(".", ". "), "small", apart - 0.12, 3, bold=True) for axis in view.axes]
    axes.xaxis.tick_top()
    axes.set_xticks(range(count), names, weight="bold")
    axes.tick_params(axis="x", length=0)
    halo = [withStroke(linewidth=2.4, foreground="white")]
    for place, axis in enumerate(view.axes):
        for share, text in axis.ticks:
            shown = style.fitted(text, "small", apart - 0.25, 1)
            how: Any = {"ha": "right", "va": "center_baseline", "size": "small", "annotation_clip": False}
            axes.annotate(f"{shown} -", (place, share), (1, 0), textcoords="offset points", **how, path_effects=halo)
    if np.isfinite(view.gaps).any():
        _draw_strip(axes, view.axes[-1].places)
    return figure


def _draw_lines(axes: Axes, view: ParallelCoordinates) -> None:
    heights = np.stack([axis.places for axis in view.axes], axis=1)
    points = np.stack([np.broadcast_to(np.arange(len(view.axes)), heights.shape), heights], axis=-1)
    dashes: Any = ["--" if math.isnan(gap) else "-" for gap in view.gaps]
    colours: Any = gap_colours(view.gaps).to_rgba(np.ma.masked_invalid(view.gaps))
    lines = LineCollection(list(points), colors=colours, linestyles=dashes, linewidths=1.6, zorder=2)
    lines.set_clip_on(False)
    axes.add_collection(lines, autolim=False)
    axes.vlines(range(len(view.axes)), 0.0, 1.0, color=style.INK, linewidth=1.0, zorder=3, clip_on=False)


def _draw_strip(axes: Axes, places: FloatArray) -> None:
    """Draw the colour scale beside the last axis, the gap."""
    low, high = float(np.nanmin(places)), float(np.nanmax(places))
    if high - low < 0.02:
        low, high = low - 0.05, high + 0.05
    strip = axes.inset_axes((1.01, low, 0.022, high - low))
    strip.imshow(np.linspace(1.0, 0.0, 256)[:, None], cmap=GAPS, aspect="auto")
    strip.set_axis_off()
