"""Shared parts of comparison figures: colours of gaps, intervals, and axes of swept numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from harness.figures import style
from harness.figures.groups import Estimate, is_log, number_text
from harness.records import FloatArray

_MOST_TICKS = 12
_DARK = 0.179  # below this luminance, white text has more contrast than black text (WCAG 2.2)

GAPS = ListedColormap(colormaps["YlOrBr"](np.arange(80, 256))).with_extremes(bad=style.FAINT)
"""The colormap of gaps: Brewer's YlOrBr without its palest part, so that lines are visible on white. It becomes darker
throughout, so its order is also visible in grey and to colour-blind readers."""


def gap_colours(values: Iterable[float]) -> ScalarMappable:
    """A colour scale from the least to the greatest finite value. A single value is in the middle; NaN is grey."""
    found = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(found), max(found)
    beyond = 0.0 if high > low else 0.05 * abs(low) or 1.0
    return ScalarMappable(Normalize(low - beyond, high + beyond), GAPS)


def text_colour(colour: Sequence[float] | FloatArray) -> str:
    """The colour of text on a background `colour` (red, green, blue, ...), each from 0 to 1."""
    channels = np.asarray(colour[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ (0.2126, 0.7152, 0.0722) < _DARK else style.INK


def draw_intervals(
    axes: Axes,
    places: Iterable[float],
    estimates: Iterable[Estimate],
    along: str = "y",
    colour: str = style.INK,
    **look: Any,
) -> None:
    """Draw the interval of each estimate `along` an axis ("x" or "y"), at its place on the other axis.

    An interval that is wider than the panel continues beyond the edge, without a cap.
    """
    found = [(place, one.low, one.high) for place, one in zip(places, estimates, strict=True) if one.bounded]
    if not found:
        return
    at, low, high = np.asarray(found).T
    middle, half = (low + high) / 2, (high - low) / 2
    how: Any = {"fmt": "none", "ecolor": colour, "elinewidth": 1.3, "capsize": 3.0, "zorder": 3.2} | look
    if along == "x":
        axes.errorbar(middle, at, xerr=half, **how)
    else:
        axes.errorbar(at, middle, yerr=half, **how)


def swept_axis(axes: Axes, values: Iterable[float], inches: float) -> bool:
    """Set limits and ticks of an x axis, `inches` long, for swept numbers. Returns whether it is logarithmic."""
    distinct = sorted({value for value in values if math.isfinite(value)})
    low, high, log = distinct[0], distinct[-1], is_log(distinct)
    if log:
        factor = (high / low) ** 0.06
        axes.set(xscale="log", xlim=(low / factor, high * factor))
    else:
        beyond = (high - low) * 0.06 or abs(low) * 0.05 or 0.5
        axes.set_xlim(low - beyond, high + beyond)
    marks = swept_ticks(distinct, log)
    texts = [number_text(mark) for mark in marks]
    step = tick_step(axis_shares(axes, marks) * inches, [style.text_width(text) / 2 + 0.04 for text in texts])
    axes.set_xticks(marks[::step], texts[::step])
    axes.minorticks_off()
    return log


def axis_shares(axes: Axes, values: Sequence[float]) -> FloatArray:
    """The position of each value on the x axis, from 0 to 1."""
    low, high, *places = axes.xaxis.get_transform().transform(np.array([*axes.get_xlim(), *values]))
    return np.asarray((np.array(places) - low) / (high - low), dtype=np.float64)


def swept_ticks(distinct: Sequence[float], log: bool, swept: bool = True) -> list[float]:
    """Ticks for the sorted numbers `distinct`: the numbers themselves if they are few and `swept`, else round ones."""
    low, high = distinct[0], distinct[-1]
    if low == high or (swept and len(distinct) <= _MOST_TICKS):
        return list(distinct)
    if log:
        return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return [float(tick) for tick in style.even_ticks().tick_values(low, high) if low <= tick <= high]


def tick_step(places: Sequence[float] | FloatArray, reach: Sequence[float]) -> int:
    """The smallest step, so that the labels of every step-th tick do not overlap.

    A label reaches from `places - reach` to `places + reach`.
    """
    ends = list(zip(places, reach, strict=True))
    return next(
        step for step in range(1, len(ends) + 2) if all(a + r <= b - s for (a, r), (b, s) in pairwise(ends[::step]))
    )
