"""The mean gap over two swept settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.figures import style
from harness.figures.gap_marks import GAPS, gap_colours, text_colour
from harness.figures.groups import Group, Measure, counts_text, ordered, value_text, varied
from harness.records import FloatArray, IntArray

_LEAST, _MOST = 0.22, 0.85  # inches, the width of a cell
_PANEL = 9.0  # inches, the maximum width of all cells
_HEIGHT = 0.46  # inches, the height of a cell
_BESIDE = 1.7  # inches for the colour bar and the name of the rows
_LABEL = 1.8


@dataclass(frozen=True)
class HeatMap:
    """Arrays (rows, columns) for the values of two settings. The first row has the least value.

    `means` are gaps in points or nats, NaN if no run finished. `n` counts runs with a finite gap, `runs` the requested
    runs, `groups` the groups in a cell. `averaged` names the settings in which groups of one cell differ.
    """

    across: str
    up: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    means: FloatArray
    n: IntArray
    runs: IntArray
    groups: IntArray
    averaged: tuple[str, ...]
    measure: Measure


def compute(groups: Sequence[Group], measure: Measure, across: str, up: str) -> HeatMap:
    """The mean gap for each pair of values. For several groups in a cell, it is the mean of their means.

    Raises:
        ValueError: there is no group, or `across` and `up` are one setting or are set in no group.
    """
    if across == up or not any(across in group.settings and up in group.settings for group in groups):
        raise ValueError(f"a heat map needs groups with two settings, not {across!r} and {up!r}")
    columns = ordered(group.settings.get(across) for group in groups)
    rows = ordered(group.settings.get(up) for group in groups)
    shape = (len(rows), len(columns))
    n, runs, count = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    means: dict[tuple[int, int], list[float]] = {}
    members: dict[tuple[int, int], list[Group]] = {}
    for group in groups:
        cell = rows.index(value_text(group.settings.get(up))), columns.index(value_text(group.settings.get(across)))
        gap = measure.estimate(group.gap)
        n[cell] += gap.n
        runs[cell] += group.runs or len(group.gap.by_seed)
        count[cell] += 1
        members.setdefault(cell, []).append(group)
        if math.isfinite(gap.mean):
            means.setdefault(cell, []).append(gap.mean)
    grid = np.full(shape, np.nan)
    for cell, found in means.items():
        grid[cell] = math.fsum(found) / len(found)
    mixed = dict.fromkeys(name for found in members.values() for name in varied(found))
    return HeatMap(across, up, tuple(columns), tuple(rows), grid, n, runs, count, tuple(mixed), measure)


@style.look
def draw(view: HeatMap, title: str) -> Figure:
    """Draw a cell for each pair: darker for a larger gap, hatched if no run finished, empty if none was requested."""
    measure, (rows, columns) = view.measure, view.means.shape
    names, labels = ([style.fitted(text, "small", _LABEL, 1) for text in texts] for texts in (view.columns, view.rows))
    texts = [_cell_text(view, row, column) for row, column in np.ndindex(rows, columns)]
    widest = max(map(style.text_width, texts)) + 0.16
    beside = max(map(style.text_width, labels)) + _BESIDE
    room = min(_PANEL, style.page_width(_PANEL + beside) - beside)
    cell = min(max(_MOST, widest), max(room / columns, _LEAST))
    written = cell >= widest
    wide = cell * columns
    turned = max(map(style.text_width, names)) if max(map(style.text_width, names)) > 0.9 * cell else 0.2
    high = max((_HEIGHT if written else min(_HEIGHT, cell)) * rows, 1.2) + turned + 0.5
    heading = _heading(view, written)
    figure = style.new_figure(max(beside + wide, 6.4), high, title, heading, measure.note)
    axes = figure.subplots()
    _draw_cells(axes, view)
    if written:
        _write_cells(axes, view, texts)
    style.class_ticks(axes, names, wide)
    axes.set_yticks(range(rows), labels)
    axes.set(xlabel=style.fitted(view.across, "medium", wide + beside), ylabel=style.fitted(view.up, "medium", high))
    axes.spines[:].set_visible(False)
    return figure


def _heading(view: HeatMap, written: bool) -> str:
    heading = f"Mean {view.measure.gap_name}, in {view.measure.gap_unit}. Runs in a cell: {counts_text(view.n.ravel())}"
    incomplete = bool(((view.n < view.runs) & (view.n > 0)).any())
    heading += "; where some are missing the cell says so." if incomplete and written else "."
    if (view.groups > 1).any():
        heading += (
            f" A cell is the mean over up to {view.groups.max()} groups, which differ in {', '.join(view.averaged)}."
        )
    if ((view.groups > 0) & np.isnan(view.means)).any():
        heading += " Hatched: nothing finished."
    if (view.groups == 0).any():
        heading += " Empty: not run."
    return heading


def _cell_text(view: HeatMap, row: int, column: int) -> str:
    mean, n, runs = view.means[row, column], view.n[row, column], view.runs[row, column]
    if math.isnan(mean):
        return ""
    text = view.measure.gap_text(mean)
    return f"{text}\nn={n} of {runs}" if n < runs else text


def _draw_cells(axes: Axes, view: HeatMap) -> None:
    rows, columns = view.means.shape
    shown = gap_colours(view.means.ravel())
    look: Any = {"cmap": GAPS.with_extremes(bad="white"), "norm": shown.norm, "edgecolors": "white", "linewidth": 1.5}
    axes.pcolormesh(np.arange(columns), np.arange(rows), np.ma.masked_invalid(view.means), shading="nearest", **look)
    for row, column in np.argwhere((view.groups > 0) & np.isnan(view.means)):
        corner = (column - 0.48, row - 0.48)
        axes.add_patch(Rectangle(corner, 0.96, 0.96, fill=False, hatch="////", edgecolor=style.FAINT, linewidth=0.0))
    if np.isfinite(view.means).any():
        style.colour_bar(
            axes, shown, f"gap ({view.measure.gap_unit})", shrink=0.8, aspect=20, ticks=style.even_ticks(5)
        )


def _write_cells(axes: Axes, view: HeatMap, texts: Sequence[str]) -> None:
    shown = gap_colours(view.means.ravel())
    for (row, column), text in zip(np.ndindex(view.means.shape), texts, strict=True):
        if text:
            colour = text_colour(shown.to_rgba(view.means[row, column]))
            written = axes.text(column, row, text, size="small", ha="center", va="center", color=colour)
            written.set(linespacing=1.05, in_layout=False)
