"""Learning curves of groups side by side: the mean of each group, with a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.groups import counted, drawable, limits
from harness.records import FloatArray

MOST = 6
"""The most groups that are drawn. The figure says how many are left out."""

_MOST_STEPS = 1_000
_SERIES: Mapping[str, tuple[str, str]] = {"train": (style.TRAIN, "-"), "val": (style.HELD_OUT, "--")}
_QUANTITIES: Mapping[str, tuple[float, str]] = {"loss": (1.0, "loss (nats)"), "accuracy": (100.0, "accuracy (%)")}
_COLUMNS = (1, 2, 3, 2, 3, 3)
_WIDTH, _HEIGHT = 10.0, 1.45  # inches


Series = Mapping[str, Mapping[int, float]]
"""The values of one run by metric and epoch."""


@dataclass(frozen=True)
class GroupRuns:
    """The runs of one group by seed, with the series `train/*` and, if there is a validation split, `val/*`.

    `onsets` has the epoch at which the validation loss begins to rise, for runs with an onset. `intervals` may give
    (low, high) of a series by epoch, in the units of the store. `asked` is the number of runs that were requested; 0
    means as many as there are.
    """

    label: str
    runs: Mapping[str, Series]
    onsets: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)
    asked: int = 0


@dataclass(frozen=True)
class Band:
    """One series in nats or percent: mean and bounds at the `epochs` that all runs have, and each run.

    A run is an array (n, 2) of epochs and values. A value that is not finite leaves a hole in its run and in the mean.
    """

    epochs: tuple[int, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    runs: tuple[FloatArray, ...]


@dataclass(frozen=True)
class GroupPanel:
    """One group: bands by the names of their series. `onset` is the median over the runs that have one."""

    label: str
    bands: Mapping[str, Band]
    n: int
    asked: int
    onset: float | None
    onsets: tuple[float, ...]


@dataclass(frozen=True)
class GroupCurves:
    """At most `MOST` groups in the given order. `interval`: bands are intervals; otherwise they are ranges of runs."""

    panels: tuple[GroupPanel, ...]
    left_out: int
    interval: bool


def compute(groups: Sequence[GroupRuns]) -> GroupCurves:
    """Means at the epochs that all runs of a group have. Bands are the given intervals, or the ranges of the runs.

    Raises:
        ValueError: no group has a run with a series.
    """
    panels = [_panel(group, all(each.intervals for each in groups)) for group in groups]
    found = [panel for panel in panels if panel.bands][:MOST]
    if not found:
        raise ValueError("curves need at least one run with one epoch")
    return GroupCurves(tuple(found), len(groups) - len(found), all(group.intervals for group in groups))


def _panel(group: GroupRuns, interval: bool) -> GroupPanel:
    bands = {}
    for name in (f"{split}/{quantity}" for split in _SERIES for quantity in _QUANTITIES):
        having = [run[name] for run in group.runs.values() if run.get(name)]
        if having:
            given = group.intervals.get(name, {}) if interval else None
            bands[name] = _band(_thinned(having), _QUANTITIES[name.partition("/")[2]][0], given)
    onsets = tuple(sorted(group.onsets.values()))
    median = float(np.median(onsets)) if onsets else None
    n = max((len(band.runs) for band in bands.values()), default=0)
    return GroupPanel(group.label, bands, n, max(group.asked, len(group.runs)), median, onsets)


def _thinned(runs: Sequence[Mapping[int, float]]) -> list[Mapping[int, float]]:
    """Runs with at most `_MOST_STEPS` steps, the same for all runs: matplotlib needs minutes for long curves."""
    steps = sorted(set().union(*runs))
    kept = {*steps[:: len(steps) // _MOST_STEPS + 1], *steps[-1:]}
    return [{step: value for step, value in run.items() if step in kept} for run in runs]


def _band(runs: Sequence[Mapping[int, float]], scale: float, given: Mapping[int, tuple[float, float]] | None) -> Band:
    epochs = tuple(sorted(set(runs[0]).intersection(*runs)))
    values = _finite([[run[epoch] for epoch in epochs] for run in runs], scale).reshape(len(runs), len(epochs))
    low, high = values.min(axis=0), values.max(axis=0)
    if given is not None:
        bounds = _finite([given.get(epoch, (np.nan, np.nan)) for epoch in epochs], scale).reshape(-1, 2)
        low, high = bounds[:, 0], bounds[:, 1]
    lines = (np.column_stack([sorted(run), _finite([run[epoch] for epoch in sorted(run)], scale)]) for run in runs)
    return Band(epochs, values.mean(axis=0), low, high, tuple(lines))


def _finite(values: Sequence[object], scale: float) -> FloatArray:
    return np.array([drawable(value * scale) for value in np.asarray(values, dtype=np.float64).ravel().tolist()])


@style.look
def draw(view: GroupCurves, title: str) -> Figure:
    """Draw two panels for each group, loss above accuracy, with shared axes. A dotted line marks the onset."""
    columns = min(_COLUMNS[len(view.panels) - 1], max(1, int(style.page_width(_WIDTH) / 3.0)))
    rows = -(-len(view.panels) // columns)
    band = "95 % interval of the mean" if view.interval else "range of the runs"
    heading = f"Mean over the runs of a group, band: {band}; faint lines: single runs."
    if not any(name.startswith("val/") for panel in view.panels for name in panel.bands):
        heading += " There is no validation split."
    if any(len(band.epochs) < len(run) for panel in view.panels for band in panel.bands.values() for run in band.runs):
        heading += " A mean ends where the shortest run does."
    if view.left_out:
        heading += f" {counted(len(view.panels), 'group')} of {len(view.panels) + view.left_out} are shown."
    wide = (style.page_width(_WIDTH) - 0.7) / columns - 0.15
    labels = [style.fitted(panel.label, "medium", wide) for panel in view.panels]
    caption = style.line_height() + style.line_height("medium") * max(label.count("\n") + 1 for label in labels)
    figure = style.new_figure(_WIDTH, rows * (caption + 2 * _HEIGHT + 0.65) + 0.3, title, heading)
    grid = figure.subplots(2 * rows, columns, sharex=True, squeeze=False)
    first, last, extents = _shared(view)
    for index, axes in np.ndenumerate(grid):
        place, number = index[0] % 2, index[0] // 2 * columns + index[1]
        if number >= len(view.panels):
            axes.set_visible(False)
            continue
        panel, quantity = view.panels[number], tuple(_QUANTITIES)[place]
        axes.set(xlim=(first - 0.3, last + 0.3), ylim=extents[quantity])
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(style.even_ticks(5))
        _draw_bands(axes, panel, quantity)
        axes.tick_params(labelleft=index[1] == 0, labelbottom=bool(place))
        if index[1] == 0:
            axes.set_ylabel(_QUANTITIES[quantity][1])
        if place:
            axes.set_xlabel("epoch")
        else:
            style.captioned(axes, labels[number], [_detail(panel)])
    style.whole_numbers(grid[0, 0], (first, last))
    figure.legend(handles=_entries(view), loc="outside lower left", ncols=3 if columns > 1 else 1)
    return figure


def _entries(view: GroupCurves) -> list[Line2D]:
    entries = [Line2D([], [], color=style.TRAIN, label="training")]
    if any(name.startswith("val/") for panel in view.panels for name in panel.bands):
        entries.append(Line2D([], [], color=style.HELD_OUT, linestyle="--", label="validation"))
    if any(panel.onsets for panel in view.panels):
        label = "validation loss turns: median (line), single runs"
        entries.append(Line2D([], [], color=style.MUTED, linestyle=":", marker="^", markersize=5.5, label=label))
    return entries


def _shared(view: GroupCurves) -> tuple[int, int, dict[str, tuple[float, float]]]:
    """The first and the last epoch, and the limits of both quantities, over all panels."""
    bands = [(name, band) for panel in view.panels for name, band in panel.bands.items()]
    first = int(min(run[0, 0] for _, band in bands for run in band.runs))
    last = int(max(run[-1, 0] for _, band in bands for run in band.runs))
    extents = {}
    for quantity in _QUANTITIES:
        found = [band for name, band in bands if name.endswith(quantity)]
        values = [value for band in found for value in np.concatenate([band.mean, *(run[:, 1] for run in band.runs)])]
        extents[quantity] = limits(values, [end for band in found for end in (*band.low, *band.high)])
    return first, last, extents


def _detail(panel: GroupPanel) -> str:
    """The number of runs of a group, and the onset of overfitting."""
    detail = f"n={panel.n}" if panel.n >= panel.asked else f"n={panel.n} of {panel.asked}"
    if panel.onset is not None:
        detail += f", turns at epoch {panel.onset:g} ({len(panel.onsets)} of {panel.n})"
    return detail


def _draw_bands(axes: Axes, panel: GroupPanel, quantity: str) -> None:
    for split, (colour, dashes) in _SERIES.items():
        band = panel.bands.get(f"{split}/{quantity}")
        if band is None:
            continue
        runs = LineCollection(list(band.runs), colors=colour, linewidths=0.6, alpha=0.35, zorder=1.5)
        axes.add_collection(runs, autolim=False)
        axes.fill_between(band.epochs, band.low, band.high, color=colour, alpha=0.2, linewidth=0, zorder=1)
        marker = "o" if len(band.epochs) == 1 else None
        axes.plot(band.epochs, band.mean, dashes, color=colour, linewidth=1.8, marker=marker, markersize=4.0, zorder=3)
    if panel.onset is not None:
        axes.axvline(panel.onset, color=style.MUTED, linewidth=1.1, linestyle=":", zorder=2)
        how: Any = {"markersize": 4.5, "color": style.MUTED, "alpha": 0.7, "markeredgewidth": 0, "clip_on": False}
        axes.plot(panel.onsets, [0.0] * len(panel.onsets), "^", transform=axes.get_xaxis_transform(), zorder=3, **how)
