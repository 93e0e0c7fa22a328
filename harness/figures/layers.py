"""The output of a layer for one image, or its weights, arranged for one panel (drawn by `layer_panels`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import NoPicture
from harness.figures.view import shown_classes
from harness.records import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

MOST_BARS = 64
"""The most units that are drawn as bars; more are drawn as a heat map."""

_GAP = 1  # white cells between two tiles


@dataclass(frozen=True)
class Sheet:
    """Tiles of equal size in one array, because many axes would be slow to draw.

    `cells` (rows, columns) has all tiles, with NaN between and after them. `corners` (n, 2) are row and column of each
    tile's upper left cell, `tile` is its (height, width), `columns` the number of tiles in a row.
    """

    cells: FloatArray
    corners: IntArray
    tile: tuple[int, int]
    columns: int


@dataclass(frozen=True)
class LayerPanel:
    """The content of one panel below its title and lines: a sheet, or a bar for each of `values`.

    `labels` are the names of classes, if the bars are classes, and `marked` is the class to emphasize. `dead` (tiles or
    bars,) is given for a ReLU and says which of them get a cross.
    """

    title: str
    lines: tuple[str, ...]
    values: FloatArray
    sheet: Sheet | None = None
    dead: BoolArray | None = None
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

    `values` are feature maps (height, width, channels), an image (height, width), or units (n,). Up to `MOST_BARS`
    units become bars; more become a heat map in reading order. Of many classes those with the highest values are kept
    (`view.shown_classes`). See `LayerPanel` for the other arguments.
    """
    if labels:
        kept = shown_classes(values, marked)
        if len(kept) < len(labels):
            lines = [*lines, f"the highest of {len(labels):,} classes"]
        marked = None if marked is None else kept.index(marked)
        values, labels = values[kept], [labels[label] for label in kept]
    sheet = None
    if values.ndim == 1 and len(values) > MOST_BARS:
        sheet = _sheet(values.reshape(-1, 1, 1), gap=0)
    elif values.ndim > 1:
        sheet = _sheet(values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0), gap=_GAP)
    return LayerPanel(title, tuple(lines), values, sheet, dead, tuple(labels), marked)


def compute_kernel(title: str, lines: Sequence[str], values: FloatArray, image_shape: tuple[int, ...]) -> LayerPanel:
    """The panel of the weights of the first layer: a tile for each unit or channel.

    `values` is a dense kernel (pixels, units), with tiles of `image_shape`, or the kernel of a convolution (height,
    width, channels, filters), with tiles of (height, width). Of several channels the mean is drawn. Raises `NoPicture`
    if the inputs are not pixels.
    """
    if values.ndim == 4:
        tiles = np.moveaxis(values.mean(axis=2), -1, 0)
    elif len(image_shape) > 1 and values.shape[0] == math.prod(image_shape):
        tiles = values.T.reshape(-1, *image_shape)
        tiles = tiles.mean(axis=3) if tiles.ndim == 4 else tiles
    else:
        raise NoPicture(f"The weights of {title} cannot be drawn, because its inputs are not the pixels of an image.")
    return LayerPanel(title, tuple(lines), values, _sheet(tiles, gap=_GAP))


def columns_of(count: int) -> int:
    """The number of tiles in a row: one that fills all rows if the sheet is not too wide then, otherwise a square."""
    root = math.ceil(math.sqrt(count))
    return next((columns for columns in range(root, 2 * root + 1) if count % columns == 0), root)


def _sheet(tiles: FloatArray, gap: int) -> Sheet:
    """Tiles (n, height, width) in reading order."""
    count, height, width = tiles.shape
    columns = columns_of(count)
    rows = -(-count // columns)
    cells = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    row, column = np.divmod(np.arange(count), columns)
    corners = np.stack([row * (height + gap), column * (width + gap)], axis=1)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        cells[top : top + height, left : left + width] = tile
    return Sheet(cells, corners, (height, width), columns)
