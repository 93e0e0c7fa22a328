"""Draws layers, a panel each.

Values that are never negative have one colormap, values of both signs another one, symmetric about 0. Both are safe for
colour-blind readers. A unit of a ReLU that is exactly 0 is grey; if it is 0 for every test image, it has a cross.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.figures import style
from harness.figures.layers import LayerPanel, Sheet
from harness.records import FloatArray

SIGNED, POSITIVE = "RdBu_r", "YlGnBu"
OFF = "#C4C4C4"

_SMALL, _LARGE, _LARGEST = 2.5, 5.2, 9.0  # inches, longer side of: one of several panels, a single one, a huge one
_BESIDE = 1.3  # inches for the numbers of rows and the colour bar
_BARS_HIGH, _CLASSES_HIGH = 0.62, 0.9  # height of a panel with bars, as a share of the longer side
_MOST_COLUMNS = 4


@style.look
def draw(panels: Sequence[LayerPanel], title: str, note: str) -> Figure:
    """Draw the panels in rows of up to four, below a title and a `note`."""
    side = _SMALL if len(panels) > 1 else _alone(panels[0])
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _MOST_COLUMNS))
    columns = min(columns, max(1, int(style.page_width(math.inf) / 2.6) if style.page_width(0.0) else columns))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [
        max(_high(panel, side) + style.line_height() * (len(panel.lines) + 2) for panel in row) + 0.4 for row in rows
    ]
    figure = style.new_figure(columns * (side + _BESIDE), sum(heights), title, "", note)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, panel) in enumerate(zip(grid.ravel(), panels, strict=False)):
        most = max(len(other.lines) for other in rows[place // columns])
        lines = [*panel.lines, *[""] * (most - len(panel.lines))]
        style.captioned(axes, style.fitted(panel.title, "medium", side + 0.6, bold=True), lines, "bold")
        if panel.labels:
            _draw_classes(axes, panel)
        elif panel.sheet is None:
            _draw_bars(axes, panel, 72 * side / len(panel.values))
        else:
            _draw_sheet(axes, panel, panel.sheet, side * style.DPI / max(panel.sheet.cells.shape))
    return figure


def _alone(panel: LayerPanel) -> float:
    """The longer side of a single panel in inches: two dots for each cell, if that is not too large."""
    cells = 0 if panel.sheet is None else max(panel.sheet.cells.shape)
    return min(max(_LARGE, 2 * cells / style.DPI), _LARGEST)


def _high(panel: LayerPanel, side: float) -> float:
    """The height of a panel's content in inches."""
    if panel.sheet is None:
        return side * (_CLASSES_HIGH if panel.labels else _BARS_HIGH)
    rows, columns = panel.sheet.cells.shape
    return max(side * int(rows) / int(max(rows, columns)), 0.8)


def _shades(values: FloatArray) -> ScalarMappable:
    """A colour scale from 0 to the largest value a, or from -a to a if there are negative values."""
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0)) or 1.0
    signed = bool((finite < 0.0).any())
    return ScalarMappable(Normalize(-largest if signed else 0.0, largest), SIGNED if signed else POSITIVE)


def paint(panel: LayerPanel, sheet: Sheet) -> FloatArray:
    """The colours of a sheet, (rows, columns, 3): white between the tiles, grey for a ReLU that is 0."""
    shades = _shades(panel.values)
    coloured = np.asarray(shades.cmap(shades.norm(np.nan_to_num(sheet.cells))))[..., :3]
    if panel.dead is not None:
        coloured[sheet.cells == 0.0] = to_rgb(OFF)
    coloured[np.isnan(sheet.cells)] = 1.0
    return coloured


def _draw_sheet(axes: Axes, panel: LayerPanel, sheet: Sheet, dots: float) -> None:
    """Draw a sheet whose cells are `dots` dots of the figure wide."""
    rows, columns = sheet.cells.shape
    # With few dots, cells would get different sizes; so matplotlib smooths.
    smoothing = "nearest" if dots >= 2 else "auto"
    axes.imshow(paint(panel, sheet), extent=(0, columns, rows, 0), interpolation=smoothing)
    axes.set_anchor("NW")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _number(axes, sheet)
    figure: Any = axes.get_figure(root=True)
    beside = axes.inset_axes(
        (1.03, min(0.0, 1 - 0.8 * columns / rows / 2.5), 0.05, max(1.0, 0.8 * columns / rows / 2.5))
    )
    figure.colorbar(_shades(panel.values), cax=beside, ticks=MaxNLocator(5)).outline.set_visible(False)
    if panel.dead is not None:
        height, width = sheet.tile
        middles = sheet.corners[panel.dead] + (height / 2, width / 2)
        _cross(axes, middles[:, 1], middles[:, 0], min(0.55 * 72 / style.DPI * dots * min(sheet.tile), 14.0))


def _cross(axes: Axes, x: Any, y: Any, points: float) -> None:
    width = max(0.8, points / 7)
    axes.scatter(x, y, s=points**2, marker="x", color=style.VERMILLION, linewidth=width, zorder=4, clip_on=False)


def _number(axes: Axes, sheet: Sheet) -> None:
    """Number each row of tiles by its first tile; number the rows and columns of a single tile."""
    if len(sheet.corners) == 1:
        down, across = (range(0, side, 5) for side in sheet.tile)
        axes.set_xticks([place + 0.5 for place in across], [str(place) for place in across])
        axes.set_yticks([place + 0.5 for place in down], [str(place) for place in down])
        return
    firsts = sheet.corners[:: sheet.columns, 0] + sheet.tile[0] / 2
    step = -(-len(firsts) // 14)
    axes.set_xticks([])
    axes.set_yticks(firsts[::step], [str(row * sheet.columns) for row in range(0, len(firsts), step)])


def _draw_bars(axes: Axes, panel: LayerPanel, room: float) -> None:
    """Draw bars, `room` points apart, with a grey dot for a ReLU that is 0 and a cross for one that is dead."""
    units = np.arange(len(panel.values))
    axes.bar(units, panel.values, width=0.8, color=style.BLUE)
    axes.axhline(0.0, color=style.MUTED, linewidth=0.8)
    if panel.dead is not None:
        off = units[(panel.values == 0.0) & ~panel.dead]
        size = min(room, 4.5) ** 2
        dots = axes.scatter(off, np.zeros(len(off)), s=size, color=OFF, edgecolor=style.MUTED, linewidth=0.5, zorder=3)
        dots.set_clip_on(False)
        _cross(axes, units[panel.dead], np.zeros(int(panel.dead.sum())), min(1.3 * room, 6.0))
    axes.set_xlim(-0.8, len(units) - 0.2)
    if not panel.values.any():
        axes.set_ylim(0.0, 1.0)
    axes.grid(axis="y")
    axes.set_xticks([tick for tick in MaxNLocator(8, integer=True).tick_values(0, units[-1]) if 0 <= tick <= units[-1]])


def _draw_classes(axes: Axes, panel: LayerPanel) -> None:
    """Draw a bar for each class, the largest in blue, and the name of the `marked` class in bold."""
    places = np.arange(len(panel.labels))
    colours = [style.FAINT] * len(places)
    colours[int(panel.values.argmax())] = style.BLUE
    axes.barh(places, panel.values, color=colours)
    axes.axvline(0.0, color=style.MUTED, linewidth=0.8)
    axes.grid(axis="x")
    axes.set_yticks(places, [style.fitted(name, "small", 1.2, 1) for name in panel.labels])
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    if panel.marked is not None:
        axes.get_yticklabels()[panel.marked].set(weight="bold")
