"""Images of a dataset as they are: one with the scale of its colours, or many with the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from harness.figures import mosaic, style
from harness.figures.lettering import width
from harness.figures.scales import Ticks, colour_bar, dress
from harness.records import LEVELS, WHITE, Split, UInt8Array

COLUMNS = 5
SHOWN = 25
_SIDE = 3.5  # inches of the one image
_BAR = 0.18  # inches that its colour bar is wide
_MARGINS = style.Margins(left=0.45, right=1.0, bottom=0.35, top=0.4, between=0.25)
_GREYS = (*range(0, WHITE - 5, 50), WHITE)


def draw_image(
    image: UInt8Array, note: str, title: str, cmap: str = "viridis", bar: bool = True
) -> Figure:  # fmt: skip
    """One image (height, width) uint8 in the colours of the matplotlib map `cmap`, pixels counted along its sides, and,
    unless `bar` is false, what colour stands for which grey value."""
    margins = _MARGINS if bar else style.Margins(_MARGINS.left, 0.2, _MARGINS.bottom, _MARGINS.top, 0.0)
    wide = margins.left + _SIDE + margins.right
    high = margins.bottom + _SIDE + margins.top
    figure, (axes,) = style.row_of_panels(wide, high, title, 1, margins)
    mosaic.show(axes, mosaic.colours(cmap)[image])
    down, across = image.shape
    axes.set(xlim=(0, across), ylim=(down, 0))
    dress(axes, note, _every_fifth(across), _every_fifth(down), grid="")
    if bar:
        place = axes.get_position()
        beside = figure.add_axes((place.x1 + margins.between / wide, place.y0, _BAR / wide, place.height))
        ticks = Ticks(tuple((grey + 0.5) / LEVELS for grey in _GREYS), tuple(map(str, _GREYS)))
        colour_bar(beside, mosaic.colours(cmap), ticks, "value")
    return figure


def _every_fifth(pixels: int) -> Ticks:
    """The numbers of pixels, from 0, at their middle."""
    numbers = range(0, pixels, 5)
    return Ticks(tuple(number + 0.5 for number in numbers), tuple(map(str, numbers)))


def draw_images(
    split: Split, class_names: Sequence[str], note: str, title: str, columns: int = COLUMNS, cmap: str = "binary"
) -> Figure:
    """Every image of `split`, `columns` in a row, with the name of its class below."""
    columns = min(columns, len(split))
    names = [class_names[label] for label in split.labels]
    widest = max(width(name, style.SMALL_SIZE) for name in names) / mosaic.PIXEL
    cell = max(mosaic.SIDE + 4, round(widest) + 3)
    grid = mosaic.Grid(len(split), columns, cell, mosaic.SIDE + 8, (cell - mosaic.SIDE) // 2)
    sheet = mosaic.new_sheet(grid, title, note, least=3.5)
    sheet.paste(list(split.images), cmap)
    sheet.letter(names, grid.places(mosaic.SIDE / 2, mosaic.SIDE), valign="top", shift=(0.0, -3.0))
    return sheet.figure
