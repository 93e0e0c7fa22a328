"""The mean gap over two settings that were swept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from harness.figures import mosaic, style
from harness.figures.groups import Group, Measure, counts_text, ordered, value_text, varied
from harness.figures.lettering import fitted, letter, width
from harness.figures.panels import heading_height, write_heading, write_labels
from harness.figures.scales import Ticks, class_ticks, dress
from harness.figures.shades import Shades
from harness.records import FloatArray, IntArray

_LEAST, _MOST = 0.22, 0.85  # inches that a cell is wide
_PANEL = 9.0  # inches that all cells take at most
_HIGH = 0.46  # inches that a cell is high
_BESIDE = 1.45  # inches for the bar of the scale
_LABEL = 1.8


@dataclass(frozen=True)
class HeatMap:
    """Cells (rows, columns) for the values of two settings, the first row that of the least value.

    `means` are gaps in points or nats, NaN where nothing finished; `n` counts runs with a finite gap, `runs` those
    asked for; `groups` counts groups in the cell, and `averaged` names the settings in which those of one cell differ.
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
    """The mean gap of each pair of values; of several groups in a cell, the mean of their means.

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


def draw(view: HeatMap, title: str) -> Figure:
    """Cells darker with the gap, which is written in them; hatched where nothing finished, empty where not run."""
    measure = view.measure
    texts = [_cell_text(view, row, column) for row, column in np.ndindex(view.means.shape)]
    widest = max(width(text, style.SMALL_SIZE) for text in texts) + 0.16
    cell = min(max(_MOST, widest), max(_PANEL / len(view.columns), _LEAST))
    written = cell >= widest
    wide, deep = cell * len(view.columns), (_HIGH if written else min(_HIGH, cell)) * len(view.rows)
    middles = np.arange(max(view.means.shape)) + 0.5
    names = [fitted(name, style.SMALL_SIZE, _LABEL, lines=1) for name in view.columns]
    columns = Ticks(tuple(middles[: len(names)]), tuple(names), class_ticks(names, wide).angle)
    rows = Ticks(
        tuple(middles[: len(view.rows)]), tuple(fitted(name, style.SMALL_SIZE, _LABEL, lines=1) for name in view.rows)
    )
    turned = columns.depth - 0.5 * cell if columns.angle else 0.0
    left, right = max(rows.breadth, width(view.up, style.TEXT_SIZE), turned) + 0.15, _BESIDE
    across = max(left + wide + right, 6.4)
    heading = _heading(view, written)
    top = heading_height(heading, measure.note, across)
    bar_height = max(deep, 1.3)
    margins = style.Margins(left, across - left - wide, columns.depth + 0.35 + bar_height - deep, top + 0.35, 0.0)
    high = margins.bottom + deep + margins.top
    figure, (axes,) = style.row_of_panels(across, high, title, 1, margins)
    write_heading(figure, heading, measure.note, high)
    shades = Shades.over(view.means.ravel())
    _draw_cells(axes, view, shades)
    if written:
        _write_cells(axes, view, shades, texts)
    dress(axes, "", columns, rows, grid="")
    axes.spines[:].set_visible(False)
    write_labels(axes, view.across, columns.depth)
    letter(axes, [view.up], [(0.0, 1.0)], size=style.TEXT_SIZE, align="right", valign="bottom", shift=(-4.0, 7.0),
           transform=axes.transAxes)  # fmt: skip
    if np.isfinite(view.means).any():
        shades.bar(figure, left + wide + 0.35, high - margins.top - bar_height, bar_height, f"gap ({measure.gap_unit})")
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


def _draw_cells(axes: Axes, view: HeatMap, shades: Shades) -> None:
    rows, columns = view.means.shape
    picture = np.rint(255 * shades.of(view.means.ravel())).astype(np.uint8).reshape(rows, columns, 4)
    picture[np.isnan(view.means)] = 255
    mosaic.show(axes, np.ascontiguousarray(picture[::-1]))
    axes.set(xlim=(0, columns), ylim=(0, rows))
    failed = [
        [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
        for row, column in np.argwhere((view.groups > 0) & np.isnan(view.means))
    ]
    if failed:
        axes.add_collection(PolyCollection(failed, facecolors="white", edgecolors=style.FAINT, hatch="////",
                                           linewidths=0.0, zorder=1.5), autolim=False)  # fmt: skip
    rules: list[Any] = [((0.0, row), (columns, row)) for row in range(rows + 1)]
    rules += [((column, 0.0), (column, rows)) for column in range(columns + 1)]
    axes.add_collection(LineCollection(rules, colors="white", linewidths=1.5, zorder=2), autolim=False)


def _write_cells(axes: Axes, view: HeatMap, shades: Shades, texts: Sequence[str]) -> None:
    cells = list(np.ndindex(view.means.shape))
    inks = [style.INK if math.isnan(view.means[cell]) else shades.ink(float(view.means[cell])) for cell in cells]
    places = [(column + 0.5, row + 0.5) for row, column in cells]
    first = [text.partition("\n")[0] for text in texts]
    second = [text.partition("\n")[2] for text in texts]
    up = [4.0 if text else 0.0 for text in second]
    for rise in (0.0, 4.0):
        chosen = [index for index, value in enumerate(up) if value == rise and first[index]]
        letter(axes, [first[i] for i in chosen], [places[i] for i in chosen], colours=[inks[i] for i in chosen],
               shift=(0.0, rise))  # fmt: skip
    chosen = [index for index, text in enumerate(second) if text]
    letter(axes, [second[i] for i in chosen], [places[i] for i in chosen], colours=[inks[i] for i in chosen],
           size=6.5, shift=(0.0, -7.0))  # fmt: skip
