"""Images beside all ten probabilities that a model gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import mosaic, style
from harness.figures.lettering import letter
from harness.figures.predicted import PredictedImage
from harness.figures.scales import Ticks, class_ticks, dress
from harness.records import FloatArray

_PERCENT = Ticks((0.0, 0.25, 0.5, 0.75, 1.0), ("0%", "25%", "50%", "75%", "100%"))
_SIDE = 2.8  # inches of a panel of `draw_prediction`

_BAR = 3  # pixels from one bar of a grid to the next, as all lengths of a grid
_GAP = 3
_HEAD = 9
_FULL = 25.5  # a probability of 1, so that the mark of the true class stays inside
_NUMBERS = 5
_BETWEEN = 4


def caption(image: PredictedImage, class_names: Sequence[str]) -> str:
    """`✓ predicted 98% (true)`, after guide A; without mark and brackets where the true class is not known."""
    truth = "" if image.true is None else f" ({class_names[image.true]})"
    return f"{style.mark(image.right)}{class_names[image.predicted]} {image.confidence:.0%}{truth}"


def bar_colours(image: PredictedImage, palette: str) -> list[str]:
    """The colour of each bar: grey, but the predicted one in the colour of wrong and then the true one in that of
    right, so that a right prediction has one bar in the colour of right. Without a true class the predicted one is
    dark."""
    colours = [style.FAINT] * len(image.probabilities)
    if image.true is None:
        colours[image.predicted] = style.INK
    else:
        colours[image.predicted] = style.PALETTES[palette].wrong
        colours[image.true] = style.PALETTES[palette].right
    return colours


def draw_prediction(
    image: PredictedImage, class_names: Sequence[str], palette: str = "safe", title: str = ""
) -> Figure:
    """One image with its caption, beside the bars of its probabilities over the names of the classes."""
    ticks = class_ticks(class_names, _SIDE)
    margins = style.Margins(left=0.2, right=0.25, bottom=max(0.45, ticks.depth + 0.08), top=0.35, between=0.75)
    width = 2 * _SIDE + margins.left + margins.right + margins.between
    figure, (left, right) = style.row_of_panels(
        width, _SIDE + margins.bottom + margins.top, title, 2, margins
    )  # fmt: skip
    left.set_axis_off()
    mosaic.show(left, mosaic.colours("binary")[image.image])
    colour = style.verdict(image.right, palette)
    letter(left, [style.shortened(image.label, 40)], [(0.0, 1.0)], align="left", valign="bottom", shift=(0.0, 6.0))
    letter(
        left, [caption(image, class_names)], [(0.5, 0.0)], size=style.TITLE_SIZE, colours=colour,
        bold=image.right is False, valign="top", shift=(0.0, -6.0),
    )  # fmt: skip
    places = np.arange(len(class_names), dtype=np.float64)
    right.set(xlim=(-0.7, len(places) - 0.3), ylim=(0.0, 1.08))
    bars = _bars(places, np.zeros(len(places)), image.probabilities, 0.8)
    right.add_artist(PolyCollection(list(bars), facecolors=bar_colours(image, palette), linewidths=0))
    dress(right, "Probability of each class", ticks, _PERCENT)
    named = {image.predicted: f"{image.confidence:.0%}"}
    if image.true is not None and not image.right:
        named[image.true] = f"true\n{image.probabilities[image.true]:.0%}"
    tops = [(places[index], float(image.probabilities[index])) for index in named]
    letter(right, list(named.values()), tops, valign="bottom", shift=(0.0, 2.0))
    return figure


def _bars(places: FloatArray, bottoms: FloatArray, heights: FloatArray, width: float) -> FloatArray:
    """The corners (n, 4, 2) of bars of `width` centred on each of `places`, from `bottoms` up by `heights`."""
    left, right, top = places - width / 2, places + width / 2, bottoms + heights
    return np.stack([left, bottoms, left, top, right, top, right, bottoms], axis=1).reshape(-1, 4, 2)


def draw_prediction_grid(
    images: Sequence[PredictedImage],
    class_names: Sequence[str],
    columns: int = 3,
    palette: str = "safe",
    title: str = "",
) -> Figure:
    """Any number of images, each beside its bars, `columns` pairs in a row; classes go by their numbers.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("a grid of predictions needs one image at least")
    columns = min(columns, len(images))
    bars = _BAR * len(class_names)
    cell = mosaic.SIDE + _GAP + bars + _BETWEEN
    grid = mosaic.Grid(len(images), columns, cell, _HEAD + mosaic.SIDE + _NUMBERS + _BETWEEN, left=1, top=_HEAD)
    sheet = mosaic.new_sheet(grid, title, _note(images), least=5.0)
    sheet.paste([image.image for image in images])

    left = {"align": "left"}
    labels = [style.shortened(image.label, 40) for image in images]
    sheet.letter(labels, grid.places(0, -_HEAD), size=7.0, colours=style.MUTED, valign="top", shift=(0, -2), **left)
    captions = [caption(image, class_names) for image in images]
    verdicts = [style.verdict(image.right, palette) for image in images]
    wrong = [image.right is False for image in images]
    sheet.letter(captions, grid.places(), colours=verdicts, bold=wrong, valign="bottom", shift=(0, 1), **left)

    corners = grid.places(mosaic.SIDE + _GAP, mosaic.SIDE)  # the lower left ones of the charts
    steps = _BAR * (np.arange(len(class_names)) + 0.5)
    places = (corners[:, :1] + steps).ravel()
    floors = np.repeat(corners[:, 1], len(class_names))
    heights = np.concatenate([image.probabilities for image in images]) * _FULL
    colours = [colour for image in images for colour in bar_colours(image, palette)]
    sheet.polygons(_bars(places, floors, -heights, 0.85 * _BAR), facecolors=colours, linewidths=0)
    boxes = _bars(corners[:, 0] + bars / 2, corners[:, 1], np.full(len(images), -float(mosaic.SIDE)), bars)
    sheet.polygons(boxes, facecolors="none", edgecolors=style.FAINT, linewidths=0.7)
    numbers = [str(index) for index in range(len(class_names))] * len(images)
    sheet.letter(numbers, np.stack([places, floors], axis=1), size=7.0, valign="top", shift=(0, -2.5))
    tops = [
        (x + steps[image.true], y - _FULL * float(image.probabilities[image.true]))
        for (x, y), image in zip(corners, images, strict=True)
        if image.true is not None
    ]
    sheet.letter(["▾"] * len(tops), tops, size=9.0, valign="baseline", shift=(0, 0.5))
    return sheet.figure


def _note(images: Sequence[PredictedImage]) -> str:
    known = [image for image in images if image.right is not None]
    if not known:
        return "Predicted class, its probability; bars: probability of each class, the predicted one dark."
    right = sum(image.right is True for image in known)
    return (
        f"{right} of {len(known)} right. ✓ right or ✗ wrong, predicted class, its probability, (true class); "
        "bars: probability of each class by its number, ▾ the true one."
    )


def draw_probability_line(image: PredictedImage, class_names: Sequence[str], title: str = "") -> Figure:
    """The ten probabilities of one image as a line, after guide B, with the predicted and the true class named."""
    margins = style.Margins(left=0.6, right=0.3, bottom=0.0, top=0.4, between=0.0)
    width = 6.6
    ticks = class_ticks(class_names, width - margins.left - margins.right)
    margins = style.Margins(margins.left, margins.right, ticks.depth + 0.3, margins.top, 0.0)
    figure, (axes,) = style.row_of_panels(width, 2.9 + margins.bottom, title, 1, margins)
    places = np.arange(len(class_names))
    axes.set(xlim=(-0.4, len(places) - 0.6), ylim=(-0.02, 1.14))
    axes.add_artist(Line2D(places, image.probabilities, color=style.BLUE, linewidth=1.8, marker="o", markersize=4.0))
    dress(axes, f"{style.shortened(image.label, 50)}: probability of each class", ticks, _PERCENT)
    named = {image.predicted: f"predicted, {image.confidence:.1%}"}
    if image.true is not None:
        word = "predicted and true" if image.right else "true"
        named[image.true] = f"{word}, {image.probabilities[image.true]:.1%}"
    for index, text in named.items():
        place = [(index, float(image.probabilities[index]))]
        letter(axes, [text], place, align=_clear_side(image.probabilities, index), valign="bottom", shift=(0.0, 5.0))
    return figure


def _clear_side(probabilities: FloatArray, index: int) -> str:
    """How a text above a point is aligned so that it runs away from a line that rises, and not over an edge."""
    last = len(probabilities) - 1
    if index == 0 or (index < last - 1 and probabilities[index - 1] > probabilities[index]):
        return "left"
    if index == last or (index > 1 and probabilities[index + 1] > probabilities[index]):
        return "right"
    return "center"
