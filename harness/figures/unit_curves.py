"""Loss and accuracy in one panel from 0 to 1, as guide D draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.lettering import letter
from harness.figures.scales import dress, epoch_ticks, even_ticks
from harness.records import FloatArray, History

_MARGINS = style.Margins(left=0.5, right=0.2, bottom=0.6, top=0.4, between=0.0)
_SERIES: Mapping[str, tuple[str, str, Any, str]] = {
    "fit/accuracy": ("training accuracy", style.TRAIN, "-", "o"),
    "val/accuracy": ("validation accuracy", style.HELD_OUT, "-", "D"),
    "fit/loss": ("training loss", style.TRAIN, "--", "o"),
    "val/loss": ("validation loss", style.HELD_OUT, "--", "D"),
}
_MARKS = 12  # along a curve


@dataclass(frozen=True)
class UnitCurves:
    """Values an epoch by the name of their series: accuracies as fractions, losses in nats; not finite ones are NaN.

    `beyond` has the greatest value of each series that leaves the panel (infinity where a loss was not finite).
    """

    series: dict[str, FloatArray]
    beyond: dict[str, float]


def compute(history: History) -> UnitCurves:
    """What Keras's own history holds: running averages of training (`fit/*`), and validation where there is one."""
    series = {name: np.asarray(history.series[name], dtype=np.float64) for name in _SERIES if name in history.series}
    greatest = {name: float(np.nan_to_num(values, nan=np.inf, posinf=np.inf).max()) for name, values in series.items()}
    return UnitCurves(
        {name: np.where(np.isfinite(values), values, np.nan) for name, values in series.items()},
        {name: value for name, value in greatest.items() if value > 1.0},
    )


def draw(curves: UnitCurves, title: str) -> Figure:
    """Solid accuracies, dashed losses, y from 0 to 1, grid on; what the panel cuts off is said above it."""
    figure, (axes,) = style.row_of_panels(8.0, 5.0, title, 1, _MARGINS)
    last = max(len(values) for values in curves.series.values())
    axes.set(xlim=(1 - 0.02 * max(last - 1, 1), last + 0.3 * max(last - 1, 1)), ylim=(0.0, 1.0))
    every = -(-last // _MARKS)
    ends = []
    for name, values in curves.series.items():
        label, colour, dashes, marker = _SERIES[name]
        line = Line2D(
            range(1, last + 1), values, color=colour, linestyle=dashes, linewidth=1.8, marker=marker, markersize=4.5,
            markevery=every,
        )  # fmt: skip
        axes.add_artist(line)
        if np.isfinite(values).any():
            ends.append((label, colour, float(values[np.isfinite(values)][-1])))
    heights = _apart([min(end, 1.0) for _, _, end in ends], 0.045)
    places = [(last, height) for height in heights]
    names = [label for label, _, _ in ends]
    letter(axes, names, places, colours=[colour for _, colour, _ in ends], align="left", shift=(8.0, 0.0))
    dress(axes, _note(curves), epoch_ticks(last), even_ticks(0.0, 1.0, most=10), grid="xy")
    letter(
        axes, ["epoch"], [(0.5, 0.0)], size=style.TEXT_SIZE, valign="top", shift=(0.0, -22.0), transform=axes.transAxes
    )
    return figure


def _note(curves: UnitCurves) -> str:
    what = "Accuracy (fraction) and loss (nats); training: running average of the epoch."
    if not curves.beyond:
        return what
    cut = ", ".join(f"{_SERIES[name][0]} (up to {value:.3g})" for name, value in curves.beyond.items())
    return f"{what}\nAbove 1 and not shown there: {cut}."


def _apart(heights: list[float], least: float) -> list[float]:
    """Heights in 0..1 moved apart, so that any two differ by `least`; their order stays."""
    order = np.argsort(heights)
    placed = np.asarray(heights)[order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + least)
    ceiling = 1.0
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - least
    return [float(height) for height in placed[np.argsort(order)]]
