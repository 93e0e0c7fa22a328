"""Many images on one sheet: one picture on one set of axes draws many times faster than axes for each image.

Coordinates on a sheet are its units, x to the right and y downwards from the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D, Bbox, Transform

from harness.figures import style
from harness.figures.lettering import letter, wrapped
from harness.records import LEVELS, WHITE, FloatArray, UInt8Array

SIDE = 28
"""Units of a sheet that an image is wide and high. Images of so many pixels are drawn as they are, others scaled."""
_DOTS = 5
PIXEL = _DOTS / style.DPI
"""Inches that a unit takes: five dots, so that all pixels of such an image are equal."""

_LINE = 0.17  # inches a line of the note takes


@dataclass(frozen=True)
class Grid:
    """Cells of one size in reading order, each with an image at its top, `left` pixels from its left side."""

    count: int
    columns: int
    width: int
    height: int
    left: int = 0
    top: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        return self.columns * self.width, -(-self.count // self.columns) * self.height

    def places(self, right: float = 0.0, down: float = 0.0) -> FloatArray:
        """For each image a point on the sheet, (count, 2): x and y, so far from the upper left corner of the image."""
        rows, columns = np.divmod(np.arange(self.count), self.columns)
        x, y = columns * self.width + self.left + right, rows * self.height + self.top + down
        return np.stack([x, y], axis=1).astype(np.float64)


@lru_cache
def colours(name: str) -> UInt8Array:
    """The matplotlib colour map `name` for every grey value: (LEVELS, 4), red, green, blue and alpha."""
    return np.asarray(colormaps[name](np.arange(LEVELS), bytes=True), dtype=np.uint8)


def paste(images: Sequence[UInt8Array], grid: Grid, cmap: str = "binary") -> UInt8Array:
    """The sheet (height, width, 4): each image (height, width) in its cell, in the colours of `cmap`, on white.

    It has a point for each unit, or for each dot where images have another number of pixels than fits. With fewer
    images than cells the last ones stay empty.
    """
    fine = 1 if all(image.shape == (SIDE, SIDE) for image in images) else _DOTS
    side = SIDE * fine
    wide, high = grid.size
    sheet = np.full((high * fine, wide * fine, 4), WHITE, dtype=np.uint8)
    for image, (x, y) in zip(images, grid.places().astype(int) * fine, strict=False):
        rows, columns = (np.arange(side) * pixels // side for pixels in image.shape)
        sheet[y : y + side, x : x + side] = colours(cmap)[image[rows][:, columns]]
    return sheet


class Pixels(Artist):
    """A picture (height, width, 4) of bytes, each pixel a rectangle of dots without any blending.

    `imshow` resamples, which takes longer than all else on a sheet.
    """

    def __init__(self, picture: UInt8Array, box: Bbox, transform: Transform) -> None:
        super().__init__()
        self.picture = picture
        self._box = box
        self.set_transform(transform)
        self.set_zorder(1)

    def draw(self, renderer: RendererBase) -> None:
        left, bottom, right, top = np.rint(Bbox(self.get_transform().transform(self._box)).extents).astype(int)
        high, wide = self.picture.shape[:2]
        rows = np.arange(top - bottom) * high // (top - bottom)
        columns = np.arange(right - left) * wide // (right - left)
        whole = np.ascontiguousarray(self.picture).view(np.uint32)[..., 0]  # four bytes are copied as one number
        dots = whole[:, columns][rows[::-1]]
        context = renderer.new_gc()
        renderer.draw_image(context, left, bottom, dots[..., None].view(np.uint8))
        context.restore()


def show(axes: Axes, picture: UInt8Array) -> None:
    """Fill the axes with a picture (height, width, 4)."""
    axes.add_artist(Pixels(picture, Bbox.unit(), axes.transAxes))


@dataclass(frozen=True)
class Sheet:
    """A part of a figure that images, polygons and letters are put onto, in the coordinates of the sheet."""

    figure: Figure
    transform: Transform
    grid: Grid

    def paste(self, images: Sequence[UInt8Array], cmap: str = "binary") -> None:
        """The images (height, width), each into its cell of the grid."""
        wide, high = self.grid.size
        picture = paste(images, self.grid, cmap)
        upright = Affine2D().scale(1.0, -1.0).translate(0.0, high) + self.transform
        self.figure.add_artist(Pixels(picture, Bbox.from_extents(0.0, 0.0, wide, high), upright))

    def letter(self, texts: Sequence[str], places: FloatArray | Sequence[tuple[float, float]], **how: Any) -> None:
        """Write; see `lettering.letter`."""
        letter(self.figure, texts, places, transform=self.transform, **how)

    def polygons(self, corners: FloatArray, **how: Any) -> None:
        """Draw polygons of one number of corners, (n, corners, 2)."""
        self.figure.add_artist(PolyCollection(list(corners), transform=self.transform, **how))

    def frame(self, places: FloatArray, colour: str) -> None:
        """A frame around each image that has its upper left corner at one of `places` (n, 2)."""
        low, high = -0.5, SIDE + 0.5
        around = np.array([[low, low], [high, low], [high, high], [low, high]])
        self.polygons(places[:, None, :] + around, facecolors="none", edgecolors=colour, linewidths=1.8)


def sheet_at(figure: Figure, grid: Grid, left: float, bottom: float) -> Sheet:
    """A sheet with its lower left corner so many inches from that of the figure."""
    dots = Affine2D().scale(PIXEL, -PIXEL).translate(left, bottom + grid.size[1] * PIXEL)
    return Sheet(figure, dots + figure.dpi_scale_trans, grid)


def new_sheet(grid: Grid, title: str, note: str, least: float = 0.0) -> Sheet:
    """A figure with one sheet below its title and a `note` of a few lines.

    The figure is `least` inches wide at least, so that a narrow sheet leaves room for the words.
    """
    wide, high = (side * PIXEL for side in grid.size)
    inches = max(wide + 2 * style.EDGE, least)
    lines = wrapped(note, style.TEXT_SIZE, inches - 2 * style.EDGE)
    figure, _ = style.titled(inches, style.EDGE + high + 0.12 + _LINE * len(lines), title)
    sheet = sheet_at(figure, grid, style.EDGE, style.EDGE)
    note = "\n".join(lines)
    sheet.letter([note], [(0.0, 0.0)], size=style.TEXT_SIZE, align="left", valign="bottom", shift=(0.0, 5.0))
    return sheet
