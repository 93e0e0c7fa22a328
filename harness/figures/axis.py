"""An axis of numbers that were swept: linear or logarithmic, marked at the numbers themselves, with its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes

from harness.figures import style
from harness.figures.groups import drawable
from harness.figures.lettering import width
from harness.figures.scales import Ticks, even_ticks

LOG_DECADES = 1.5
"""Positive numbers that span more than this are put on a logarithmic axis."""

_MOST_MARKS = 12
_ROOM = 0.06  # of the axis, beyond the outermost values
_FINEST = 1e-9  # of a number that differences are drawn of
_STRETCH = 0.75  # of the range of the values, by which intervals may widen it on either side


@dataclass(frozen=True)
class NumberAxis:
    """Where numbers lie along an axis of length 1, and what is marked there."""

    low: float
    high: float
    log: bool
    ticks: Ticks

    def shares(self, values: Iterable[float]) -> list[float]:
        """How far along the axis each value lies, from 0 to 1; NaN for NaN."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        return [((math.log10(value) if self.log else value) - low) / (high - low) for value in values]


def number_axis(
    values: Sequence[float], inches: float, upright: bool = False, room: float = _ROOM, swept: bool = True
) -> NumberAxis:
    """An axis that holds the finite ones of `values`, with room at both ends, for `inches` of paper.

    Few different numbers are marked themselves (every second or third, if neighbours would touch); of many, and of
    numbers that were measured and not `swept`, the round ones in their range. `upright` says that the labels stand
    beside the axis, not below it.
    """
    distinct = sorted({value for value in values if math.isfinite(value)})
    log = is_log(distinct)
    low, high = _widened(distinct, log, room)
    bare = NumberAxis(low, high, log, Ticks((), ()))
    round_ones = _powers(low, high) if log else list(even_ticks(low, high).values)
    marks = distinct if swept and len(distinct) <= _MOST_MARKS else round_ones
    labels = [number_text(value) for value in marks]
    places = [share * inches for share in bare.shares(marks)]
    high_text = 1.1 * style.SMALL_SIZE / 72
    halves = [0.5 * (high_text if upright else width(text, style.SMALL_SIZE) + 0.08) for text in labels]
    every = next(step for step in range(1, len(marks) + 2) if _apart(places[::step], halves[::step]))
    return NumberAxis(low, high, log, Ticks(tuple(marks[::every]), tuple(labels[::every])))


def _apart(places: Sequence[float], halves: Sequence[float]) -> bool:
    reaches = [(place - half, place + half) for place, half in zip(places, halves, strict=True)]
    return all(before[1] <= after[0] for before, after in pairwise(reaches))


def is_log(values: Iterable[float]) -> bool:
    """Whether numbers belong on a logarithmic axis: all positive, and over more than `LOG_DECADES`."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and min(found) > 0 and math.log10(max(found) / min(found)) > LOG_DECADES


def _widened(distinct: Sequence[float], log: bool, room: float) -> tuple[float, float]:
    if not distinct:
        return 0.0, 1.0
    first, last = distinct[0], distinct[-1]
    if log:
        factor = (last / first) ** room
        return first / factor, last * factor
    beyond = (last - first) * room or abs(first) * 0.05 or 0.5
    return first - beyond, last + beyond


def _powers(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def number_text(value: float) -> str:
    """A number as it stands at an axis: `0.0003`, `128`, `60,000`, `1.2e+06`."""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e6 or abs(value) < 1e-4 else f"{value:.6g}"


def limits(values: Iterable[float], ends: Iterable[float] = (), least: float = 0.0) -> tuple[float, float]:
    """The range of an axis: it holds every finite one of `values`, and `ends` of intervals as far as that is bearable.

    The interval of two runs can be ten times as wide as everything else; it widens the range on each side by three
    quarters of the range of the values, and goes on beyond the edge. The range is `least` wide at least.
    """
    found = [value for value in map(drawable, values) if math.isfinite(value)]
    if not found:
        return -1.0, 1.0
    least = max(least, _FINEST * max(map(abs, found)) if max(found) > min(found) else 0.0)
    short = max(0.0, least - (max(found) - min(found))) / 2
    low, high = min(found) - short, max(found) + short
    stretch = _STRETCH * (high - low) or 0.5 * abs(high) or 1.0
    reached = [end for end in map(drawable, ends) if math.isfinite(end)]
    low, high = max(min([low, *reached]), low - stretch), min(max([high, *reached]), high + stretch)
    beyond = _ROOM * (high - low) or 0.1 * abs(high) or 1.0
    return low - beyond, high + beyond


def set_number_axis(axes: Axes, axis: NumberAxis) -> None:
    """Make the x axis of a panel such an axis; its marks are left to `scales.dress`."""
    if axis.log:
        axes.set_xscale("log")
    axes.set_xlim(axis.low, axis.high)
    axes.minorticks_off()
