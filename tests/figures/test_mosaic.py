"""Images on sheets, pixel by pixel."""

import numpy as np
from matplotlib.transforms import Bbox

from harness.figures import mosaic, style
from harness.figures.mosaic import Grid, Pixels, colours, new_sheet, paste
from tests.figures.drawing import pixels


def grey(value: int) -> np.ndarray:
    return np.full((28, 28), value, dtype=np.uint8)


def test_every_image_stands_whole_on_the_sheet_in_reading_order() -> None:
    grid = Grid(count=6, columns=5, width=36, height=38, left=4)
    sheet = paste([grey(value) for value in (10, 20, 30, 40, 50, 60)], grid)[..., 0]
    assert sheet.shape == (76, 180)
    ink = 255 - sheet.astype(int)
    for value in (10, 20, 30, 40, 50, 60):
        assert (ink == value).sum() == 28 * 28
    rows, columns = np.nonzero(ink == 20)
    assert rows.max() < np.nonzero(ink == 60)[0].min()
    assert columns.min() > np.nonzero(ink == 10)[1].max()
    assert (ink == 0).sum() == sheet.size - 6 * 28 * 28


def test_cells_without_an_image_stay_white() -> None:
    assert (paste([grey(255)], Grid(4, 2, 30, 30))[..., 0] == 255).sum() == 60 * 60 - 28 * 28


def test_an_image_has_the_colours_of_its_map() -> None:
    assert tuple(paste([grey(0)], Grid(1, 1, 28, 28), "viridis")[0, 0]) == tuple(colours("viridis")[0])
    assert tuple(colours("viridis")[0]) == (68, 1, 84, 255)


def test_a_pixel_is_drawn_as_a_square_of_equal_dots_where_its_place_is() -> None:
    image = np.zeros((28, 28), dtype=np.uint8)
    image[3, 20] = 255
    sheet = new_sheet(Grid(1, 1, 28, 28), "", "", least=0.0)
    sheet.paste([image])
    picture = pixels(sheet.figure)
    rows, columns = np.nonzero(picture[..., 0] == 0.0)
    side = round(mosaic.PIXEL * style.DPI)
    assert len(rows) == side**2
    edge = round(style.EDGE * style.DPI)
    assert (columns.min(), columns.max()) == (edge + 20 * side, edge + 21 * side - 1)
    bottom = picture.shape[0] - edge
    assert (rows.min(), rows.max()) == (bottom - 25 * side, bottom - 24 * side - 1)


def test_a_picture_fills_the_axes_the_right_way_up() -> None:
    figure, (axes,) = style.row_of_panels(2.0, 2.0, "", 1, style.Margins(0.0, 0.0, 0.0, 0.0, 0.0))
    axes.set_axis_off()
    picture = np.full((2, 2, 4), 255, dtype=np.uint8)
    picture[0, 1, :3] = 0
    axes.add_artist(Pixels(picture, Bbox.unit(), axes.transAxes))
    drawn = pixels(figure)[-240:, :, 0]
    assert drawn[:120, 120:].max() == 0.0
    assert drawn[120:].min() == 1.0
    assert drawn[:120, :120].min() == 1.0
