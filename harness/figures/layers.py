"""What the layers of a model put out for one image, and their weights, each in a panel of its own.

One colour map serves all non-negative values, another, symmetric about 0, those of both signs; both stay apart for
colour-blind readers. A unit of a ReLU that is exactly 0 is grey, and crossed where it is 0 for every test image.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure

from harness.figures import style
from harness.records import FloatArray

BoolArray = npt.NDArray[np.bool_]

MOST_BARS = 64
"""Units that are drawn as bars; more of them are drawn as a heat map."""

SIGNED, POSITIVE = "RdBu_r", "YlGnBu"
OFF = "#C4C4C4"

_GAP = 1  # cells of white between two tiles
_LEFT, _FOOT = 0.62, 0.36  # inches beside and below a panel, for the numbers of its rows and columns
_LINE = 0.165  # inches that a line of words takes
_NOTE_CHARACTERS = 15.5  # that fit into an inch of the note
_NAMES = 1.05  # inches for the names of classes
_BAR, _BAR_GAP, _BAR_LABELS = 0.11, 0.08, 0.55  # inches of the colour bar: itself, before it, after it
_SMALL, _LARGE = 2.5, 5.2  # inches of a panel's longer side, of several and of the only one
_BARS_HIGH = 0.62  # of a panel of bars, as a share of its width
_MOST_COLUMNS = 4


@dataclass(frozen=True)
class LayerPanel:
    """What one panel shows. `sheet` (rows, columns) is NaN between and behind its tiles, whose upper left corners are
    `corners` (n, 2) as row and column, each of `tile` cells (height, width). A panel of bars has no sheet.

    `values` are those of its bars, in order; `labels` name them where they are classes. `dead` says which tiles or bars
    are crossed; `grey`, whether exact zeros are.
    """

    title: str
    lines: tuple[str, ...]
    values: FloatArray
    sheet: FloatArray | None = None
    corners: npt.NDArray[np.int64] | None = None
    tile: tuple[int, int] = (1, 1)
    columns: int = 1
    dead: BoolArray | None = None
    grey: bool = False
    labels: tuple[str, ...] = ()
    marked: int | None = None


def compute_output(
    title: str,
    lines: Sequence[str],
    values: FloatArray,
    dead: BoolArray | None = None,
    labels: Sequence[str] = (),
    marked: int | None = None,
) -> LayerPanel:
    """The panel of a layer's output for one image.

    `values` are feature maps (height, width, channels), an image (height, width), or units (n,): bars up to
    `MOST_BARS` of them, a heat map in reading order beyond. `dead` (channels,) or (n,) is given for a ReLU, and makes
    zeros grey. `labels` are the names of the classes where each unit is one, `marked` the class to be told apart.
    """
    about = (title, tuple(lines))
    if labels or (values.ndim == 1 and len(values) <= MOST_BARS):
        return LayerPanel(*about, values, dead=dead, grey=dead is not None, labels=tuple(labels), marked=marked)
    if values.ndim == 1:
        return _tiled(about, values.reshape(-1, 1, 1), columns_of(len(values)), 0, dead)
    maps = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    return _tiled(about, maps, columns_of(len(maps)), _GAP, dead)


def compute_kernel(title: str, lines: Sequence[str], values: FloatArray) -> LayerPanel:
    """The panel of the weights that see the pixels: a tile for each unit or channel.

    A dense kernel (784, units) gives images of 28 x 28, a convolution's (height, width, 1, channels) its own size.
    """
    if values.ndim == 2:
        side = math.isqrt(len(values))
        tiles = values.T.reshape(-1, side, side)
    else:
        tiles = np.moveaxis(values.mean(axis=2), -1, 0)
    return _tiled((title, tuple(lines)), tiles, columns_of(len(tiles)), _GAP)


def columns_of(count: int) -> int:
    """How many tiles go into a row: so that rows are full and the sheet is not much wider than high, else a square."""
    root = math.ceil(math.sqrt(count))
    return next((columns for columns in range(root, 2 * root + 1) if count % columns == 0), root)


def _tiled(
    about: tuple[str, tuple[str, ...]], tiles: FloatArray, columns: int, gap: int, dead: BoolArray | None = None
) -> LayerPanel:
    """Tiles (n, height, width) on one sheet: many axes would take long to draw."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    row, column = np.divmod(np.arange(count), columns)
    corners = np.stack([row * (height + gap), column * (width + gap)], axis=1)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        sheet[top : top + height, left : left + width] = tile
    return LayerPanel(
        *about, tiles.ravel(), sheet, corners, (height, width), columns, dead, grey=dead is not None
    )  # fmt: skip


def draw(panels: Sequence[LayerPanel], title: str, note: str) -> Figure:
    """The panels in rows of up to four in reading order, below a title and a `note`."""
    side = _LARGE if len(panels) == 1 else _SMALL
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _MOST_COLUMNS))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    cell = _LEFT + side + _BAR_GAP + _BAR + _BAR_LABELS
    heads = [_LINE * (1 + max(len(panel.lines) for panel in row)) + 0.08 for row in rows]
    heights = [
        head + max(_size(panel, side)[1] for panel in row) + _FOOT for row, head in zip(rows, heads, strict=True)
    ]
    width = columns * cell + 2 * style.EDGE
    margins = style.Margins(style.EDGE, style.EDGE, style.EDGE, 0.0, 0.0)
    lines = textwrap.wrap(note, int(width * _NOTE_CHARACTERS))
    above = _LINE * len(lines) + 0.15
    height = sum(heights) + above
    figure, (whole,) = style.row_of_panels(width, height, title, 1, margins)
    total = figure.get_figheight()
    whole.set_axis_off()
    words = style.plain(figure.text(style.EDGE / width, (height - 0.05) / total, "\n".join(lines), va="top"))
    words.set(size=style.SMALL_SIZE, color=style.MUTED)
    top = height - above
    for row, head, high in zip(rows, heads, heights, strict=True):
        for number, panel in enumerate(row):
            _Panel(figure, style.EDGE + number * cell, top - head, side).draw(panel, head)
        top -= high
    return figure


def _size(panel: LayerPanel, side: float) -> tuple[float, float]:
    """Width and height in inches of what a panel shows."""
    if panel.sheet is None:
        return (side - (_NAMES - _LEFT) if panel.labels else side), side * (0.9 if panel.labels else _BARS_HIGH)
    rows, columns = panel.sheet.shape
    scale = side / max(rows, columns)
    return max(columns * scale, 0.15), max(rows * scale, 0.15)


@dataclass(frozen=True)
class _Panel:
    """A place on a figure, in inches: the left end of a panel's lettering, the upper edge of what it shows."""

    figure: Figure
    left: float
    top: float
    side: float

    def draw(self, panel: LayerPanel, head: float) -> None:
        width, height = _size(panel, self.side)
        inset = _NAMES if panel.labels else _LEFT
        axes = self._axes(inset, width, height)
        if panel.labels:
            _draw_classes(axes, panel)
        elif panel.sheet is None:
            _draw_bars(axes, panel)
        else:
            shades = _shades(panel)
            _draw_sheet(axes, panel, shades)
            bar = self._axes(inset + width + _BAR_GAP, _BAR, max(height, 0.8))
            _draw_colour_bar(bar, shades)
        self._words(panel, head)

    def _axes(self, inset: float, width: float, height: float) -> Axes:
        wide, high = self.figure.get_size_inches()
        place = ((self.left + inset) / wide, (self.top - height) / high, width / wide, height / high)
        return self.figure.add_axes(place)

    def _words(self, panel: LayerPanel, head: float) -> None:
        """The panel's name and lines, from `head` inches above it downwards."""
        wide, high = self.figure.get_size_inches()
        for number, text in enumerate((panel.title, *panel.lines)):
            place = ((self.left + 0.04) / wide, (self.top + head - _LINE * number) / high)
            words = style.plain(self.figure.text(*place, text, va="top"))
            if number == 0:
                words.set(size=style.TEXT_SIZE, color=style.INK, weight="bold")
            else:
                words.set(size=style.SMALL_SIZE, color=style.MUTED)


def _shades(panel: LayerPanel) -> ScalarMappable:
    """From 0 to the largest value, or, with negative ones, from -a to a."""
    finite = panel.values[np.isfinite(panel.values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    largest = max(abs(low), abs(high)) or 1.0
    signed = low < 0.0
    return ScalarMappable(Normalize(-largest if signed else 0.0, largest), SIGNED if signed else POSITIVE)


def paint(panel: LayerPanel) -> FloatArray:
    """The sheet in its colours, (rows, columns, 3): white between the tiles, and grey where a ReLU is 0."""
    assert panel.sheet is not None
    shades = _shades(panel)
    coloured = np.asarray(shades.cmap(shades.norm(np.nan_to_num(panel.sheet))))[..., :3]
    if panel.grey:
        coloured[panel.sheet == 0.0] = to_rgb(OFF)
    coloured[np.isnan(panel.sheet)] = 1.0
    return coloured


def _draw_sheet(axes: Axes, panel: LayerPanel, shades: ScalarMappable) -> None:
    assert panel.sheet is not None
    assert panel.corners is not None
    rows, columns = panel.sheet.shape
    dots = axes.get_position().width * axes.figure.get_figwidth() * style.DPI / columns  # type: ignore[union-attr]
    # Few dots to a cell cannot be shared out evenly: there matplotlib smooths.
    axes.imshow(
        paint(panel), extent=(0, columns, rows, 0), aspect="auto", interpolation="nearest" if dots >= 2 else "auto"
    )
    style.picture(axes)
    _number(axes, panel)
    if panel.dead is not None and panel.dead.any():
        height, width = panel.tile
        middles = panel.corners[panel.dead] + (height / 2, width / 2)
        _cross(axes, middles[:, 1], middles[:, 0], min(0.55 * 72 / style.DPI * dots * min(panel.tile), 14.0))


def _cross(axes: Axes, x: Any, y: Any, points: float) -> None:
    axes.scatter(x, y, s=points**2, marker="x", color=style.VERMILLION, linewidth=max(0.8, points / 7), zorder=4)


def _number(axes: Axes, panel: LayerPanel) -> None:
    """At each row of tiles the number of its first one; along a single tile those of its own rows and columns."""
    assert panel.sheet is not None
    assert panel.corners is not None
    if len(panel.corners) == 1:
        axes.locator_params(nbins=6, integer=True)
        return
    axes.set_xticks([])
    firsts = panel.corners[:: panel.columns, 0] + panel.tile[0] / 2
    step = -(-len(firsts) // 14)
    axes.set_yticks(firsts[::step], [str(row * panel.columns) for row in range(0, len(firsts), step)])


def _draw_colour_bar(axes: Axes, shades: ScalarMappable) -> None:
    figure = axes.figure
    assert isinstance(figure, Figure)
    bar = figure.colorbar(shades, cax=axes)
    bar.outline.set_visible(False)
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(labelsize=style.SMALL_SIZE, labelcolor=style.INK, length=0)


def _draw_bars(axes: Axes, panel: LayerPanel) -> None:
    """A bar for each unit; a grey dot where a ReLU is 0, a cross where it is dead."""
    units = np.arange(len(panel.values))
    axes.bar(units, panel.values, width=0.8, color=style.BLUE)
    axes.axhline(0.0, color=style.MUTED, linewidth=0.8)
    dead = np.zeros(len(units), dtype=bool) if panel.dead is None else panel.dead
    if panel.grey:
        off = units[(panel.values == 0.0) & ~dead]
        axes.scatter(off, np.zeros(len(off)), s=16, color=OFF, edgecolor=style.MUTED, linewidth=0.5, zorder=3)
    _cross(axes, units[dead], np.zeros(int(dead.sum())), 6.0)
    axes.set_xlim(-0.8, len(units) - 0.2)
    if not panel.values.any():
        axes.set_ylim(-0.05, 1.0)
    style.panel(axes)
    axes.locator_params(axis="x", integer=True)


def _draw_classes(axes: Axes, panel: LayerPanel) -> None:
    """A bar for each class, the largest in a colour of its own, the `marked` class in bold."""
    places = np.arange(len(panel.labels))
    colours = [style.FAINT] * len(places)
    colours[int(panel.values.argmax())] = style.BLUE
    axes.barh(places, panel.values, color=colours)
    axes.axvline(0.0, color=style.MUTED, linewidth=0.8)
    style.panel(axes, grid="x")
    axes.set_yticks(places, panel.labels, parse_math=False)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    if panel.marked is not None:
        axes.get_yticklabels()[panel.marked].set(weight="bold")
