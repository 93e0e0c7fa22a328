"""Images with their predicted classes, on a sheet or beside the probabilities of all classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from harness.figures import style
from harness.figures.image_sheets import COLUMNS, draw_pixels, grid_of, new_sheet, value_range
from harness.figures.view import MOST_CLASSES, PredictedImage, shown_classes
from harness.records import FloatArray, ImageArray
from harness.text import clean

_LABEL = 22  # the most characters of a file name
_WIDEST = 1.5  # inches, the maximum width of a class name
_BAR = 0.125  # inches from one bar to the next in a grid
_EXPLAINED = {
    "percent": "✓ right or ✗ wrong, predicted class, its probability, (true class)",
    "names": "✓ right or ✗ wrong, predicted class (true class)",
    "indices": "✓ right or ✗ wrong, index of the image, number of the predicted class (pred) and of the true one (gt)",
}


def _percent(image: PredictedImage, names: Sequence[str]) -> str:
    return f"{names[image.predicted]} {image.confidence:.0%}\n{_true(image, names)}"


def _names(image: PredictedImage, names: Sequence[str]) -> str:
    between = "\n" if image.true is None else " "
    return f"{names[image.predicted]}{between}{_true(image, names)}"


def _true(image: PredictedImage, names: Sequence[str]) -> str:
    """The true class in brackets, or the label of a picture whose class is not known."""
    return f"({names[image.true]})" if image.true is not None else style.shortened(clean(image.label), _LABEL)


def _indices(image: PredictedImage, names: Sequence[str]) -> str:
    which = style.shortened(clean(image.label), _LABEL) if image.index is None else f"i={image.index}"
    truth = "" if image.true is None else f", gt={image.true}"
    return f"{which}, pred={image.predicted}{truth}"


def short_names(class_names: Sequence[str], inches: float = _WIDEST) -> list[str]:
    """Class names on one line each, shortened in the middle if they are too long for a caption."""
    return [style.fitted(name, "small", inches, lines=1) for name in class_names]


CAPTIONS: Mapping[str, Callable[[PredictedImage, Sequence[str]], str]] = {
    "percent": _percent,
    "names": _names,  # guide E
    "indices": _indices,  # guide B
}
"""The text below an image, for each value of `captions`."""


@style.look
def draw_sheet(
    images: Sequence[PredictedImage],
    class_names: Sequence[str],
    captions: str = "percent",
    palette: str = "safe",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw any number of images, five in a row, dark on white, each with a caption of the kind `captions` (`CAPTIONS`).

    A wrong prediction also has a ✗, bold text and a frame, so that colour is not the only sign. `note` replaces the
    line below the title.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("a sheet needs at least one image")
    names = short_names(class_names)
    texts = [f"{style.mark(image.right)}{CAPTIONS[captions](image, names)}" for image in images]
    lines = max(text.count("\n") for text in texts) + 1
    widest = max(style.text_width(text, bold=True) for text in texts) + 0.1
    pictures = [image.image for image in images]
    grid = grid_of(pictures, COLUMNS, widest, 0.02, lines * style.line_height() + 0.15)
    axes = new_sheet(grid, pictures, title, note or _sheet_note(images, captions), 4.5)
    wide, high = grid.image
    for image, text, (x, y) in zip(images, texts, grid.corners, strict=True):
        look: Any = {
            "color": style.verdict(image.right, palette),
            "weight": "bold" if image.right is False else "normal",
        }
        axes.text(x + wide / 2, y + high + 0.05, text, size="small", ha="center", va="top", linespacing=1.15, **look)
        if image.right is False:
            axes.add_patch(Rectangle((x, y), wide, high, fill=False, linewidth=1.8, clip_on=False,
                                     edgecolor=style.PALETTES[palette].wrong))  # fmt: skip
    return _figure_of(axes)


def _verdict(image: PredictedImage, palette: str) -> dict[str, Any]:
    weight = "bold" if image.right is False else "normal"
    return {"color": style.verdict(image.right, palette), "weight": weight}


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def _sheet_note(images: Sequence[PredictedImage], captions: str) -> str:
    known = [image for image in images if image.right is not None]
    if not known:
        return "Predicted class" + (" and its probability." if captions == "percent" else ".")
    right = sum(image.right is True for image in known)
    return f"{right} of {len(known)} right. {_EXPLAINED[captions]}."


def caption(image: PredictedImage, class_names: Sequence[str]) -> str:
    """`✓ predicted 98% (true)`, as in guide A; without mark and brackets if the true class is not known."""
    truth = "" if image.true is None else f" ({class_names[image.true]})"
    return f"{style.mark(image.right)}{class_names[image.predicted]} {image.confidence:.0%}{truth}"


def bar_colours(image: PredictedImage, palette: str) -> list[str]:
    """The colour of each bar.

    The bar of the true class has the palette's `right`, that of a wrong prediction `wrong`; the others are grey. If the
    true class is not known, the predicted one is dark.
    """
    colours = [style.FAINT] * len(image.probabilities)
    if image.true is None:
        colours[image.predicted] = style.INK
    else:
        colours[image.predicted] = style.PALETTES[palette].wrong
        colours[image.true] = style.PALETTES[palette].right
    return colours


@style.look
def draw_prediction(
    image: PredictedImage, class_names: Sequence[str], palette: str = "safe", title: str = ""
) -> Figure:
    """Draw one image with its caption beside a bar chart of its probabilities."""
    room = 0.4 * style.page_width(6.8)
    names = short_names(class_names)
    classes = shown_classes(image.probabilities, image.true)
    ticks = [names[label] for label in classes]
    figure = style.new_figure(6.8, 3.1 + 0.7 * max(map(style.text_width, ticks)), title)
    left, right = style.row_of_panels(figure, 2)
    _draw_picture(left, image.image)
    left.set_title(style.fitted(image.label, "small", room, lines=1), size="small")
    words = style.fitted(caption(image, names), "large", room, 3, bold=True)
    left.set_xlabel(words, size="large", **_verdict(image, palette))
    colours = bar_colours(image, palette)
    bars = right.bar(range(len(classes)), image.probabilities[classes], color=[colours[label] for label in classes])
    named = {image.predicted: f"{image.confidence:.0%}"}
    if image.true is not None and not image.right:
        named[image.true] = f"true\n{image.probabilities[image.true]:.0%}"
    right.bar_label(bars, [named.get(label, "") for label in classes], padding=2, size="small")
    right.set(
        title=style.fitted(f"Probability of {_which(image)}", "medium", room),
        ylim=(0.0, 1.08),
        yticks=np.linspace(0.0, 1.0, 5),
    )
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.grid(axis="y")
    style.class_ticks(right, ticks, room)
    return figure


def _which(image: PredictedImage) -> str:
    """The classes that are drawn, in words."""
    every = len(image.probabilities)
    return "each class" if every <= MOST_CLASSES else f"the most probable of {every:,} classes"


def _draw_picture(axes: Axes, image: ImageArray) -> None:
    draw_pixels(axes, image, value_range([image]), "binary")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


@style.look
def draw_prediction_grid(
    images: Sequence[PredictedImage],
    class_names: Sequence[str],
    columns: int = 3,
    palette: str = "safe",
    title: str = "",
) -> Figure:
    """Draw any number of images, each beside its bar chart, `columns` pairs in a row. Classes are numbered.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("a grid of predictions needs at least one image")
    pictures, names = [image.image for image in images], short_names(class_names)
    classes = max(len(shown_classes(image.probabilities, image.true)) for image in images)
    room = grid_of(pictures, 1, 0.0).image[0] + 0.12 + _BAR * classes
    captions = [style.fitted(caption(image, names), "small", max(room, 2.4), bold=True) for image in images]
    heads = style.line_height() * (max(text.count("\n") for text in captions) + 2) + 0.08
    cell = max(room, *(style.text_width(text, bold=True) for text in captions)) + 0.15
    grid = grid_of(pictures, columns, cell, heads, style.line_height() + 0.15, middle=False)
    axes = new_sheet(grid, pictures, title, _grid_note(images), 5.0)
    wide, high = grid.image
    for image, text, (x, y) in zip(images, captions, grid.corners, strict=True):
        above: Any = {"size": "small", "va": "top"}
        axes.text(x, y - heads + 0.02, style.shortened(clean(image.label), 30), color=style.MUTED, **above)
        look: Any = {
            "color": style.verdict(image.right, palette),
            "weight": "bold" if image.right is False else "normal",
        }
        axes.text(x, y - heads + 0.02 + style.line_height(), text, **above, **look)
        _draw_bars(axes, image, classes, x + wide + 0.12, y + high, high, palette)
    return _figure_of(axes)


def _draw_bars(
    axes: Axes, image: PredictedImage, room: int, left: float, floor: float, high: float, palette: str
) -> None:
    """Draw the bars of one image in a frame with `room` for so many, with `▾` above the true class and the class
    numbers below: all, or every fifth, or the predicted one if only the most probable classes are drawn."""
    classes, colours = shown_classes(image.probabilities, image.true), bar_colours(image, palette)
    places = dict(zip(classes, left + _BAR * (np.arange(len(classes)) + 0.5), strict=True))
    heights = 0.9 * high * image.probabilities
    axes.bar([*places.values()], -heights[classes], 0.85 * _BAR, floor, color=[colours[label] for label in classes])
    frame = Rectangle((left, floor - high), _BAR * room, high, fill=False, edgecolor=style.FAINT, linewidth=0.7)
    axes.add_patch(frame)
    some = len(classes) < len(image.probabilities)
    for label in [image.predicted] if some else classes[:: 1 if len(classes) <= 10 else 5]:
        axes.text(places[label], floor + 0.03, str(label), size="x-small", ha="center", va="top")
    if image.true is not None:
        axes.text(places[image.true], floor - heights[image.true], "▾", size="small", ha="center", va="baseline")


def _grid_note(images: Sequence[PredictedImage]) -> str:
    known = [image for image in images if image.right is not None]
    if not known:
        return f"Predicted class, its probability; bars: probability of {_which(images[0])}, the predicted one dark."
    right = sum(image.right is True for image in known)
    return (
        f"{right} of {len(known)} right. ✓ right or ✗ wrong, predicted class, its probability, (true class); "
        f"bars: probability of {_which(images[0])} by its number, ▾ the true one."
    )


@style.look
def draw_probability_line(image: PredictedImage, class_names: Sequence[str], title: str = "") -> Figure:
    """Draw the probabilities of one image as a line, as guide B does, and name the predicted and the true class."""
    heading = f"{style.shortened(clean(image.label), 50)}: probability of {_which(image)}"
    figure = style.new_figure(6.6, style.page_height(6.6, 3.6), title, heading)
    axes = figure.subplots()
    classes = shown_classes(image.probabilities, image.true)
    probabilities = image.probabilities[classes]
    axes.plot(probabilities, color=style.BLUE, linewidth=1.8, marker="o", markersize=4.0)
    axes.set(xlim=(-0.4, len(classes) - 0.6), ylim=(-0.02, 1.14), yticks=np.linspace(0.0, 1.0, 5))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")
    style.class_ticks(axes, short_names([class_names[label] for label in classes]), style.page_width(6.6) - 0.9)
    named = {image.predicted: f"predicted, {image.confidence:.1%}"}
    if image.true is not None:
        word = "predicted and true" if image.right else "true"
        named[image.true] = f"{word}, {image.probabilities[image.true]:.1%}"
    for label, text in named.items():
        place = classes.index(label)
        how: Any = {"textcoords": "offset points", "ha": _clear_side(probabilities, place), "size": "small"}
        axes.annotate(text, (place, probabilities[place]), (0, 5), **how)
    return figure


def _clear_side(probabilities: FloatArray, index: int) -> str:
    """The alignment of a text above a point, so that it crosses neither a rising line nor the edge of the panel."""
    last = len(probabilities) - 1
    if index == 0 or (index < last - 1 and probabilities[index - 1] > probabilities[index]):
        return "left"
    if index == last or (index > 1 and probabilities[index + 1] > probabilities[index]):
        return "right"
    return "center"
