"""The gap against each measure of the final weights, a point for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.figures import style

_ACROSS = 3
_LOG_FROM = 20.0
"""Measures whose largest value is so many times the smallest are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class MeasuredRuns:
    """(measure, gap as a fraction) of each run, and Kendall's tau with its interval in words."""

    measure: str
    points: Sequence[tuple[float, float]]
    tau: str


@style.look
def draw(clouds: Sequence[MeasuredRuns], gap: str, title: str) -> Figure:
    """Draw a panel for each measure; `gap` says which gap."""
    across = min(_ACROSS, len(clouds))
    down = math.ceil(len(clouds) / across)
    heading = f"{gap.capitalize()} in points against measures of the final weights; a dot for each run."
    figure = style.new_figure(0.6 + 3.4 * across, 0.4 + 2.9 * down, title, heading)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, cloud in zip(panels, clouds, strict=False):
        numbers = [number for number, _ in cloud.points]
        axes.plot(numbers, [100 * value for _, value in cloud.points], ".", color=style.GAP, alpha=0.6, mew=0)
        least = min(numbers)
        if least > 0 and max(numbers) > _LOG_FROM * least:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(title=cloud.tau, xlabel=cloud.measure)
        axes.grid(axis="y")
    for axes in panels[: len(clouds) : across]:
        axes.set_ylabel("gap (points)")
    for axes in panels[len(clouds) :]:
        axes.set_axis_off()
    return figure
