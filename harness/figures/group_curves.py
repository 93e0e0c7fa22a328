"""Learning curves of groups side by side: the mean over the seeds of each group, and its band."""

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
from harness.figures.axis import limits
from harness.figures.groups import drawable
from harness.figures.keys import Entry, draw_key_row
from harness.figures.lettering import LINE, fitted, letter
from harness.figures.panels import counted, heading_height, write_heading, write_labels
from harness.figures.scales import Ticks, dress, epoch_ticks, even_ticks
from harness.records import FloatArray

MOST = 6
"""Groups that are drawn; the others are left out, and the figure says how many."""

_MOST_STEPS = 1_000
_SERIES: Mapping[str, tuple[str, str]] = {"train": (style.TRAIN, "-"), "val": (style.HELD_OUT, "--")}
_QUANTITIES: Mapping[str, tuple[float, str]] = {"loss": (1.0, "loss (nats)"), "accuracy": (100.0, "accuracy (%)")}
_COLUMNS = (1, 2, 3, 2, 3, 3)
_WIDTH, _HIGH, _BETWEEN = 10.0, 1.45, 0.25  # inches


Series = Mapping[str, Mapping[int, float]]
"""The values of one run by metric and epoch."""


@dataclass(frozen=True)
class GroupRuns:
    """The runs of one group by seed, with the series `train/*` and, where there is a validation split, `val/*`.

    `onsets` says at which epoch the validation loss turns, for runs that show it. `intervals` may give (low, high) of a
    series by epoch, in the numbers of the store. `asked` is how many runs there should be, 0: as many as there are.
    """

    label: str
    runs: Mapping[str, Series]
    onsets: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)
    asked: int = 0


@dataclass(frozen=True)
class Band:
    """One series: mean and bounds at the `epochs` that all runs have, and each run as (epoch, value), (n, 2).

    In nats and percent. A value that is not finite leaves a hole in its run, and in the mean.
    """

    epochs: tuple[int, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    runs: tuple[FloatArray, ...]


@dataclass(frozen=True)
class GroupPanel:
    """One group: bands by the names of their series; `onset` is the median over the runs that show one."""

    label: str
    bands: Mapping[str, Band]
    n: int
    asked: int
    onset: float | None
    onsets: tuple[float, ...]


@dataclass(frozen=True)
class GroupCurves:
    """At most `MOST` groups in the order given; `interval` says that the bands are intervals, not the range of runs."""

    panels: tuple[GroupPanel, ...]
    left_out: int
    interval: bool


def compute(groups: Sequence[GroupRuns]) -> GroupCurves:
    """Means over the epochs that all runs of a group have; bands are the given intervals or the range of the runs.

    Raises:
        ValueError: no group has a run with a series.
    """
    panels = [_panel(group, all(each.intervals for each in groups)) for group in groups]
    found = [panel for panel in panels if panel.bands][:MOST]
    if not found:
        raise ValueError("curves need one run with one epoch at least")
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
    """Runs at no more steps than can be told apart, the same ones of all: of a long one matplotlib takes minutes."""
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


def draw(view: GroupCurves, title: str) -> Figure:
    """A column of two panels a group, loss above accuracy; all share their axes. Dotted: where the loss turns."""
    columns = _COLUMNS[len(view.panels) - 1]
    rows = -(-len(view.panels) // columns)
    band = "95 % interval of the mean" if view.interval else "range of the runs"
    heading = f"Mean over the runs of a group, band: {band}; faint lines: single runs."
    if not any(name.startswith("val/") for panel in view.panels for name in panel.bands):
        heading += " There is no validation split."
    if any(len(band.epochs) < len(run) for panel in view.panels for band in panel.bands.values() for run in band.runs):
        heading += " A mean ends where the shortest run does."
    if view.left_out:
        heading += f" {counted(len(view.panels), 'group')} of {len(view.panels) + view.left_out} are shown."
    top = heading_height(heading, "", _WIDTH)
    across, extents = _shared(view)
    beside = max(even_ticks(*extent, most=5).breadth for extent in extents.values())
    edge = beside + 0.3
    wide = (_WIDTH - edge - style.EDGE - _BETWEEN * (columns - 1)) / columns
    labels = [fitted(panel.label, style.TEXT_SIZE, wide) for panel in view.panels]
    caption = 0.34 + LINE * style.TEXT_SIZE / 72 * max(label.count("\n") + 1 for label in labels)
    block = caption + 2 * _HIGH + 0.18 + 0.5
    figure, total = style.titled(_WIDTH, top + rows * block + 0.3, title)
    write_heading(figure, heading, "", top + rows * block + 0.3)
    for index, panel in enumerate(view.panels):
        row, column = divmod(index, columns)
        left = edge + column * (wide + _BETWEEN)
        upper = 0.3 + (rows - row) * block - caption - _HIGH
        for place, quantity in enumerate(_QUANTITIES):
            bottom = upper - place * (_HIGH + 0.18)
            axes = figure.add_axes((left / _WIDTH, bottom / total, wide / _WIDTH, _HIGH / total))
            axes.set(xlim=(across.values[0] - 0.3, _last(view) + 0.3), ylim=extents[quantity])
            _draw_bands(axes, panel, quantity)
            up = even_ticks(*extents[quantity], most=5)
            quiet = Ticks(up.values, ("",) * len(up.values))
            dress(axes, "", across if place else Ticks(across.values, ("",) * len(across.values)),
                  quiet if column else up)  # fmt: skip
            if place:
                write_labels(axes, "epoch", across.depth)
            if column == 0:
                write_labels(axes, "", 0.0, _QUANTITIES[quantity][1], beside)
            if not place:
                _caption(axes, labels[index], panel)
    draw_key_row(figure, _entries(view), edge, 0.17)
    return figure


def _entries(view: GroupCurves) -> list[Entry]:
    entries = [Entry("training", style.TRAIN, "", "-")]
    if any(name.startswith("val/") for panel in view.panels for name in panel.bands):
        entries.append(Entry("validation", style.HELD_OUT, "", "--"))
    if any(panel.onsets for panel in view.panels):
        entries.append(Entry("validation loss turns: median (line), single runs", style.MUTED, "^", ":"))
    return entries


def _last(view: GroupCurves) -> int:
    return int(max(run[-1, 0] for panel in view.panels for band in panel.bands.values() for run in band.runs))


def _shared(view: GroupCurves) -> tuple[Ticks, dict[str, tuple[float, float]]]:
    """The ticks of the epochs and the limits of both quantities, for all panels."""
    bands = [(name, band) for panel in view.panels for name, band in panel.bands.items()]
    first = int(min(run[0, 0] for _, band in bands for run in band.runs))
    extents = {}
    for quantity in _QUANTITIES:
        found = [band for name, band in bands if name.endswith(quantity)]
        values = [value for band in found for value in np.concatenate([band.mean, *(run[:, 1] for run in band.runs)])]
        extents[quantity] = limits(values, [end for band in found for end in (*band.low, *band.high)])
    return epoch_ticks(range(first, _last(view) + 1)), extents


def _caption(axes: Axes, label: str, panel: GroupPanel) -> None:
    """Above a column: which group, on how many runs it rests, and when overfitting sets in."""
    detail = f"n={panel.n}" if panel.n >= panel.asked else f"n={panel.n} of {panel.asked}"
    if panel.onset is not None:
        detail += f", turns at epoch {panel.onset:g} ({len(panel.onsets)} of {panel.n})"
    how: Any = {"align": "left", "valign": "bottom", "transform": axes.transAxes}
    letter(axes, [detail], [(0.0, 1.0)], colours=style.MUTED, shift=(0.0, 4.0), **how)
    letter(axes, [label], [(0.0, 1.0)], size=style.TEXT_SIZE, shift=(0.0, 4.0 + LINE * style.SMALL_SIZE), **how)


def _draw_bands(axes: Axes, panel: GroupPanel, quantity: str) -> None:
    for split, (colour, dashes) in _SERIES.items():
        band = panel.bands.get(f"{split}/{quantity}")
        if band is None:
            continue
        axes.add_collection(
            LineCollection(list(band.runs), colors=colour, linewidths=0.6, alpha=0.35, zorder=1.5), autolim=False
        )
        axes.fill_between(band.epochs, band.low, band.high, color=colour, alpha=0.2, linewidth=0, zorder=1)
        line: Any = dashes
        marker = "o" if len(band.epochs) == 1 else None
        axes.add_artist(Line2D(band.epochs, band.mean, color=colour, linestyle=line, linewidth=1.8, marker=marker,
                               markersize=4.0, zorder=3))  # fmt: skip
    if panel.onset is not None:
        axes.axvline(panel.onset, color=style.MUTED, linewidth=1.1, linestyle=":", zorder=2)
        onsets = Line2D(panel.onsets, [0.0] * len(panel.onsets), linestyle="none", marker="^", markersize=4.5,
                        color=style.MUTED, alpha=0.7, markeredgewidth=0)  # fmt: skip
        onsets.set(clip_on=False, zorder=3, transform=axes.get_xaxis_transform())
        axes.add_artist(onsets)
