"""The set of pixel values of one image before and after normalisation, after guide B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.lettering import letter
from harness.figures.scales import Ticks, dress, even_ticks
from harness.records import WHITE, FloatArray, IntArray, UInt8Array

_MARGINS = style.Margins(left=0.6, right=0.2, bottom=0.6, top=0.4, between=0.75)


@dataclass(frozen=True)
class PixelValues:
    """The distinct grey values of an image, rising (n,); how many pixels have each; what each becomes.

    `background` is the value of the first pixel (the upper left corner), `brightest` the greatest, each before and
    after.
    """

    before: IntArray
    counts: IntArray
    after: FloatArray
    background: tuple[int, float]
    brightest: tuple[int, float]


def compute(image: UInt8Array, pixel_scale: FloatArray) -> PixelValues:
    """`pixel_scale` (LEVELS,) is what preprocessing makes of each grey value."""
    values, counts = np.unique(image, return_counts=True)
    corner, greatest = int(image[0, 0]), int(values[-1])
    return PixelValues(
        before=values.astype(np.int64),
        counts=counts.astype(np.int64),
        after=pixel_scale[values],
        background=(corner, float(pixel_scale[corner])),
        brightest=(greatest, float(pixel_scale[greatest])),
    )


def draw(values: PixelValues, note: str, title: str) -> Figure:
    """A line for each value, as high as the number of its pixels (its logarithm), before and after."""
    figure, (left, right) = style.row_of_panels(10.0, 3.6, title, 2, _MARGINS)
    ends = [values.background, values.brightest]
    _draw_panel(left, values.before, values.counts, [(before, f"{before}") for before, _ in ends])
    _draw_panel(right, values.after, values.counts, [(after, f"{after:.5f}") for _, after in ends])
    dress(left, f"{note}: {len(values.before)} values before", _ticks_of(values.before, whole=True), _powers(values))
    dress(right, "The same after normalisation", _ticks_of(values.after), _powers(values))
    for axes, text in (
        (left, f"grey value, 0 to {WHITE}"),
        (right, "what the first layer after preprocessing is given"),
    ):
        letter(axes, [text], [(0.5, 0.0)], size=style.TEXT_SIZE, valign="top", shift=(0.0, -24.0),
               transform=axes.transAxes)  # fmt: skip
    letter(left, ["pixels"], [(0.0, 1.0)], align="right", valign="bottom", shift=(-5.0, -2.0), transform=left.transAxes)
    return figure


def _draw_panel(
    axes: Axes, places: FloatArray | IntArray, counts: IntArray, ends: Sequence[tuple[float, str]]
) -> None:  # fmt: skip
    low, high = float(places.min()), float(places.max())
    room = 0.04 * ((high - low) or 1.0)
    top = float(np.log10(counts.max())) + 0.6
    axes.set(xlim=(low - room, high + room), ylim=(-0.25, top))
    heights = np.log10(counts)
    lines = np.stack([places, np.full(len(places), -0.25), places, heights], axis=1).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(lines), colors=style.BLUE, linewidths=1.1), autolim=False)
    for (place, number), word, align in zip(ends, ("background", "brightest"), ("left", "right"), strict=True):
        end = float(heights[np.flatnonzero(places == place)[0]])
        axes.add_artist(Line2D([place, place], [end, top - 0.25], color=style.MUTED, linewidth=0.8, linestyle=":"))
        shift = (-2.0 if align == "left" else 2.0, 0.0)
        letter(axes, [f"{word} {number}"], [(place, top)], bold=True, align=align, valign="top", shift=shift)


def _ticks_of(places: FloatArray | IntArray, whole: bool = False) -> Ticks:
    low, high = float(places.min()), float(places.max())
    return even_ticks(low, high, whole=whole) if high > low else Ticks((low,), (f"{low:.3g}",))


def _powers(values: PixelValues) -> Ticks:
    """1, 10, 100 pixels, as the logarithms that are drawn."""
    powers = range(len(str(int(values.counts.max()))))
    return Ticks(tuple(map(float, powers)), tuple(str(10**power) for power in powers))
