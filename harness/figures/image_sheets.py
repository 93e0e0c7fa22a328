"""Images of a dataset: one with the scale of its colours, many with their classes, and the pixel values of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style
from harness.records import WHITE, FloatArray, ImageArray, IntArray, Split

COLUMNS = 5
_DOTS = 5
_SIDE = 28 * _DOTS / style.DPI  # inches of an image on a sheet: five dots for each pixel of the published datasets


@dataclass(frozen=True)
class Grid:
    """Cells of one size in reading order, in inches: in each an image (width, height), `inset` from its left side, with
    room above and below it."""

    count: int
    columns: int
    cell: float
    image: tuple[float, float]
    above: float
    below: float
    inset: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all cells."""
        rows = -(-self.count // self.columns)
        return self.columns * self.cell, rows * (self.above + self.image[1] + self.below)

    @property
    def corners(self) -> FloatArray:
        """The upper left corner of each image, (count, 2): x to the right, y downwards."""
        rows, columns = np.divmod(np.arange(self.count), self.columns)
        return np.stack([columns * self.cell + self.inset, rows * (self.size[1] / (rows[-1] + 1)) + self.above], axis=1)


def grid_of(
    images: Sequence[ImageArray], columns: int, cell: float, above: float = 0.0, below: float = 0.0, middle: bool = True
) -> Grid:
    """Cells that are `cell` inches wide at least, the image in their `middle` or at their left; fewer columns where the
    page has no room for so many."""
    shape = images[0].shape[:2]
    scale = _SIDE * style.points("medium") / style.FONT_SIZE / max(shape)
    high, wide = (pixels * scale for pixels in shape)
    cell = whole_dots(max(cell, wide + 0.15))
    room = style.page_width(columns * cell + 2 * style.EDGE) - 2 * style.EDGE
    columns = max(1, min(columns, len(images), int(room / cell + 1e-6)))
    if style.page_width(0.0):
        cell = min(room / columns, 1.5 * cell)
    inset = whole_dots((cell - wide) / 2) if middle else 0.0
    return Grid(len(images), columns, cell, (wide, high), whole_dots(above), whole_dots(below), inset)


def whole_dots(inches: float) -> float:
    """So that images begin at whole dots, and their pixels are equal."""
    return math.ceil(inches * style.DPI - 1e-6) / style.DPI


def paste(
    figure: Figure, grid: Grid, images: Sequence[ImageArray], left: float, bottom: float, cmap: str = "binary"
) -> Axes:
    """Axes in inches with an image in each cell, its lower left corner at (`left`, `bottom`) of the figure."""
    (wide, high), total = grid.size, figure.get_size_inches()
    axes = figure.add_axes((left / total[0], bottom / total[1], wide / total[0], high / total[1]))
    axes.set_axis_off()
    for image, (x, y) in zip(images, grid.corners, strict=True):
        extent = (x, x + grid.image[0], y + grid.image[1], y)
        axes.imshow(image, cmap=cmap, vmin=0, vmax=WHITE, extent=extent, aspect="auto")
    axes.set(xlim=(0, wide), ylim=(high, 0))
    return axes


def new_sheet(
    grid: Grid, images: Sequence[ImageArray], title: str, heading: str, least: float, cmap: str = "binary"
) -> Axes:
    """A figure of such a grid below a title and a heading, `least` inches wide at least so that words have room."""
    wide, high = grid.size
    figure = style.new_figure(max(wide + 2 * style.EDGE, least), high + style.EDGE, title, heading)
    figure.set_layout_engine(None)
    return paste(figure, grid, images, style.EDGE, style.EDGE, cmap)


@style.look
def draw_image(image: ImageArray, note: str, title: str, cmap: str = "viridis", bar: bool = True) -> Figure:
    """One image (height, width) uint8 in the colours of the matplotlib map `cmap`, pixels counted along its sides, and,
    unless `bar` is false, what colour stands for which grey value."""
    width = style.page_width(5.0 if bar else 4.2)
    figure = style.new_figure(width, width - 1.0 if bar else width - 0.2, title, note)
    axes = figure.subplots()
    shown = axes.imshow(image, cmap=cmap, vmin=0, vmax=WHITE)
    down, across = image.shape[:2]
    axes.set(xticks=range(0, across, 5), yticks=range(0, down, 5))
    axes.spines[:].set_visible(False)
    if bar:
        style.colour_bar(axes, shown, "value", ticks=[*range(0, WHITE - 5, 50), WHITE])
    return figure


@style.look
def draw_images(
    split: Split, class_names: Sequence[str], note: str, title: str, columns: int = COLUMNS, cmap: str = "binary"
) -> Figure:
    """Every image of `split`, `columns` in a row, with the name of its class below."""
    names = [style.fitted(class_names[label], "small", 1.8) for label in split.labels]
    lines = max(name.count("\n") for name in names) + 1
    widest = max(map(style.text_width, names)) + 0.1
    grid = grid_of(list(split.images), columns, widest, 0.0, style.line_height() * lines + 0.12)
    axes = new_sheet(grid, list(split.images), title, note, 3.5, cmap)
    for name, (x, y) in zip(names, grid.corners + np.array([grid.image[0] / 2, grid.image[1] + 0.03]), strict=True):
        axes.text(x, y, name, size="small", ha="center", va="top")
    return axes.get_figure(root=True)  # type: ignore[return-value]


@dataclass(frozen=True)
class PixelValues:
    """The distinct grey values of an image, rising (n,); how many pixels have each; what each becomes.

    `background` is the value of the first pixel (the upper left corner), `brightest` the greatest, each before and
    after.
    """

    before: IntArray
    counts: IntArray
    after: FloatArray
    background: tuple[int, float]
    brightest: tuple[int, float]


def compute_pixel_values(image: ImageArray, pixel_scale: FloatArray) -> PixelValues:
    """`pixel_scale` (LEVELS,) is what preprocessing makes of each grey value."""
    values, counts = np.unique(image, return_counts=True)
    corner, greatest = int(image[0, 0]), int(values[-1])
    return PixelValues(
        before=values.astype(np.int64),
        counts=counts.astype(np.int64),
        after=pixel_scale[values],
        background=(corner, float(pixel_scale[corner])),
        brightest=(greatest, float(pixel_scale[greatest])),
    )


@style.look
def draw_pixel_values(values: PixelValues, note: str, title: str) -> Figure:
    """A line for each value, as high as the number of its pixels (on a logarithmic axis), before and after."""
    figure = style.new_figure(10.0, 3.5, title)
    left, right = style.row_of_panels(figure, 2)
    ends = [values.background, values.brightest]
    _draw_values(left, values.before, values.counts, [(before, f"{before}") for before, _ in ends])
    _draw_values(right, values.after, values.counts, [(after, f"{after:.5f}") for _, after in ends])
    note = style.fitted(note, "medium", max(style.page_width(10.0) / 2, 2.9) - 1.9, lines=1)
    left.set(title=f"{note}: {len(values.before)} values before", xlabel=f"grey value, 0 to {WHITE}", ylabel="pixels")
    right.set(title="The same after normalisation", xlabel="what the first layer after preprocessing is given")
    return figure


def _draw_values(
    axes: Axes, places: FloatArray | IntArray, counts: IntArray, ends: Sequence[tuple[float, str]]
) -> None:  # fmt: skip
    top = 6.0 * int(counts.max())
    axes.vlines(places, 0.6, counts, color=style.BLUE, linewidth=1.1)
    middle = (float(places.min()) + float(places.max())) / 2
    sides = ["left" if place < middle else "right" for place, _ in ends]
    for row, ((place, number), word) in enumerate(zip(ends, ("background", "brightest"), strict=True)):
        height = int(counts[np.flatnonzero(places == place)[0]])
        axes.vlines(place, height, 0.5 * top, color=style.MUTED, linewidth=0.8, linestyle=":")
        below = -12 * row * (sides[0] == sides[1])
        how: Any = {"size": "small", "weight": "bold", "ha": sides[row], "va": "top", "textcoords": "offset points"}
        axes.annotate(f"{word} {number}", (place, top), (0, below), **how)
    powers = [10**power for power in range(len(str(int(counts.max()))))]
    axes.set(yscale="log", ylim=(0.6, top))
    axes.set_yticks(powers, [f"{power:,}" for power in powers])
    axes.minorticks_off()
    axes.margins(x=0.04)
    axes.grid(axis="y")
