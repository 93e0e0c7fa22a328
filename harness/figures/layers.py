"""What a layer puts out for one image, or its weights, laid out for one panel of a figure (see `layer_panels`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.records import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

MOST_BARS = 64
"""Units that are drawn as bars; more of them are drawn as a heat map."""

_GAP = 1  # cells of white between two tiles


@dataclass(frozen=True)
class Sheet:
    """Tiles of equal size on one sheet: many axes would take long to draw.

    `cells` (rows, columns) are NaN between and behind the tiles, whose upper left corners are `corners` (n, 2) as row
    and column, each of `tile` cells (height, width), `columns` tiles to a row.
    """

    cells: FloatArray
    corners: IntArray
    tile: tuple[int, int]
    columns: int


@dataclass(frozen=True)
class LayerPanel:
    """What one panel shows under its title and lines: a sheet, or a bar for each of `values`.

    `labels` name the bars where they are classes, and `marked` is the class to be told apart. `dead` (tiles or bars,)
    is given for a ReLU: which of them are crossed.
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

    `values` are feature maps (height, width, channels), an image (height, width), or units (n,): bars up to
    `MOST_BARS` of them, a heat map in reading order beyond. See `LayerPanel` for the rest.
    """
    sheet = None
    if values.ndim == 1 and len(values) > MOST_BARS:
        sheet = _sheet(values.reshape(-1, 1, 1), gap=0)
    elif values.ndim > 1:
        sheet = _sheet(values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0), gap=_GAP)
    return LayerPanel(title, tuple(lines), values, sheet, dead, tuple(labels), marked)


def compute_kernel(title: str, lines: Sequence[str], values: FloatArray, image_shape: tuple[int, ...]) -> LayerPanel:
    """The panel of the weights that see the pixels: a tile for each unit or channel.

    A dense kernel (pixels, units) gives images of `image_shape`, a convolution's (height, width, 1, channels) its own
    size.
    """
    tiles = values.T.reshape(-1, *image_shape) if values.ndim == 2 else np.moveaxis(values[:, :, 0], -1, 0)
    return LayerPanel(title, tuple(lines), values, _sheet(tiles, gap=_GAP))


def columns_of(count: int) -> int:
    """How many tiles go into a row: so that rows are full and the sheet is not much wider than high, else a square."""
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
