"""Images of a dataset: one with a colour bar, many with their classes, and the pixel values of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from harness.figures import style
from harness.figures.view import check_picture
from harness.records import WHITE, FloatArray, ImageArray, IntArray, Split

COLUMNS = 5
_DOTS = 5
_SIDE = 28 * _DOTS / style.DPI  # inches, the side of an image: five dots for each pixel of the published datasets


@dataclass(frozen=True)
class Grid:
    """Cells of equal size in reading order, all lengths in inches.

    Each cell has an image (width, height), which is `inset` from the left side, with room `above` and `below` it.
    """

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
    page has no room for so many. Raises as `check_picture`."""
    check_picture(images[0])
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
    """`inches` rounded up to whole dots. Images that begin at whole dots have pixels of equal size."""
    return math.ceil(inches * style.DPI - 1e-6) / style.DPI


def paste(
    figure: Figure, grid: Grid, images: Sequence[ImageArray], left: float, bottom: float, cmap: str = "binary"
) -> Axes:
    """Add axes with an image in each cell. Their units are inches; (`left`, `bottom`) is their corner in the figure."""
    (wide, high), total = grid.size, figure.get_size_inches()
    axes = figure.add_axes((left / total[0], bottom / total[1], wide / total[0], high / total[1]))
    axes.set_axis_off()
    span = value_range(images)
    for image, (x, y) in zip(images, grid.corners, strict=True):
        draw_pixels(axes, image, span, cmap, extent=(x, x + grid.image[0], y + grid.image[1], y), aspect="auto")
    axes.set(xlim=(0, wide), ylim=(high, 0))
    return axes


def value_range(images: Sequence[Any]) -> tuple[float, float]:
    """The values that are drawn as the darkest and the lightest: those of a byte, or the least and greatest that
    `images` have. Raises as `check_picture`."""
    check_picture(images[0])
    if images[0].dtype == np.uint8:
        return 0.0, float(WHITE)
    return min(float(image.min()) for image in images), max(float(image.max()) for image in images)


def draw_pixels(axes: Axes, image: Any, span: tuple[float, float], cmap: str, **how: Any) -> AxesImage:
    """Draw an image (height, width) with a colormap, or (height, width, channels) in its colours."""
    low, high = span
    if image.ndim == 3 and image.shape[-1] > 1:
        return axes.imshow(np.clip((image - low) / ((high - low) or 1.0), 0.0, 1.0), **how)
    return axes.imshow(image.squeeze(-1) if image.ndim == 3 else image, cmap=cmap, vmin=low, vmax=high, **how)


def new_sheet(
    grid: Grid, images: Sequence[ImageArray], title: str, heading: str, least: float, cmap: str = "binary"
) -> Axes:
    """A figure with such a grid below a title and a heading, at least `least` inches wide. Returns its axes."""
    wide, high = grid.size
    figure = style.new_figure(max(wide + 2 * style.EDGE, least), high + style.EDGE, title, heading)
    figure.set_layout_engine(None)
    return paste(figure, grid, images, style.EDGE, style.EDGE, cmap)


@style.look
def draw_image(image: ImageArray, note: str, title: str, cmap: str = "viridis", bar: bool = True) -> Figure:
    """Draw one image with the colormap `cmap`, numbered pixels and, if `bar` and it has no colours, a colour bar."""
    bar = bar and image.ndim == 2
    span = value_range([image])
    width = style.page_width(5.0 if bar else 4.2)
    figure = style.new_figure(width, width - 1.0 if bar else width - 0.2, title, note)
    axes = figure.subplots()
    shown = draw_pixels(axes, image, span, cmap)
    down, across = image.shape[:2]
    axes.set(xticks=range(0, across, 5), yticks=range(0, down, 5))
    axes.spines[:].set_visible(False)
    if bar:
        style.colour_bar(axes, shown, "value", ticks=[*range(0, WHITE - 5, 50), WHITE] if span[1] == WHITE else None)
    return figure


@style.look
def draw_images(
    split: Split, class_names: Sequence[str], note: str, title: str, columns: int = COLUMNS, cmap: str = "binary"
) -> Figure:
    """Draw every image of `split`, `columns` in a row, with the name of its class below."""
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
    """The distinct grey values of an image, sorted, `before` and `after` preprocessing, and `counts` of pixels: (n,).

    `background` is the value of the upper left pixel, `brightest` the greatest value, both as (before, after).
    """

    before: IntArray
    counts: IntArray
    after: FloatArray
    background: tuple[int, float]
    brightest: tuple[int, float]


def compute_pixel_values(image: ImageArray, pixel_scale: FloatArray) -> PixelValues:
    """`pixel_scale` (LEVELS,) has the value of each grey value after preprocessing."""
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
    """Draw a histogram of the values before and after preprocessing, with a logarithmic y axis."""
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
