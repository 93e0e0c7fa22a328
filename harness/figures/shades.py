"""Numbers as shades of one scale, light for the least and dark for the greatest, and its bar.

The scale is Brewer's YlOrBr without its palest part, in the hue that gaps have everywhere. It only grows darker, so it
keeps its order in grey and for colour-blind readers, and lines in it can be seen on white.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from harness.figures import mosaic, style
from harness.figures.scales import Ticks, colour_bar, even_ticks
from harness.records import FloatArray, UInt8Array

_PALEST = 80  # of 256
_DARK = 0.179  # the luminance from which on white letters have less contrast than black ones (WCAG 2.2)
BAR = 0.18
"""Inches that a bar is wide."""


def colours() -> UInt8Array:
    """The scale from light to dark: (n, 4) red, green, blue and alpha."""
    return mosaic.colours("YlOrBr")[_PALEST:]


@dataclass(frozen=True)
class Shades:
    """The scale over the numbers from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> Shades:
        """From the least to the greatest finite value; a single value is in the middle."""
        found = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(found), max(found)
        beyond = 0.0 if high > low else 0.05 * abs(low) or 1.0
        return cls(low - beyond, high + beyond)

    def shares(self, values: Sequence[float] | FloatArray) -> FloatArray:
        return (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)

    def of(self, values: Sequence[float] | FloatArray) -> FloatArray:
        """The shade of each value, (n, 4) in 0..1; that of a value that is NaN is `style.FAINT`."""
        shares = self.shares(values)
        known = np.isfinite(shares)
        scale = colours() / 255.0
        found = np.tile(np.array([0.733, 0.733, 0.733, 1.0]), (len(shares), 1))
        found[known] = scale[np.rint(shares[known] * (len(scale) - 1)).astype(int)]
        return found

    def ink(self, value: float) -> str:
        """The colour of letters upon the shade of a value."""
        channels = self.of([value])[0, :3]
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return "white" if linear @ (0.2126, 0.7152, 0.0722) < _DARK else style.INK

    @property
    def ticks(self) -> Ticks:
        """Round numbers along the bar, at their shares of it."""
        even = even_ticks(self.low, self.high, most=5)
        return Ticks(tuple(self.shares(even.values).tolist()), even.labels)

    def bar(self, figure: Figure, left: float, bottom: float, height: float, title: str) -> None:
        """The bar of the scale in a figure, its place and height in inches."""
        wide, high = figure.get_size_inches()
        axes = figure.add_axes((left / wide, bottom / high, BAR / wide, height / high))
        colour_bar(axes, colours(), self.ticks, title)
