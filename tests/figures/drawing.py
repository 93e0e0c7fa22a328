"""Reads a drawn figure: its texts and the pixels of its PNG."""

import io
import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text


def shown(figure: Figure) -> list[Text]:
    """Every visible text, including those of axes, ticks and legends."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.findobj(Text))]
    axes = [*figure.axes, *(child for each in figure.axes for child in each.child_axes if isinstance(child, Axes))]
    for each in axes:
        if not each.get_visible():
            continue
        found += [*each.texts, each.title, each._left_title]  # type: ignore[attr-defined]
        if (legend := each.get_legend()) is not None:
            found += legend.findobj(Text)
        for axis in (each.xaxis, each.yaxis) if each.axison else ():
            ticks = axis._update_ticks()  # type: ignore[attr-defined]
            found += [
                axis.label,
                axis.get_offset_text(),
                *(label for tick in ticks for label in (tick.label1, tick.label2)),
            ]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in shown(figure)]


def colour_of(figure: Figure, wanted: str) -> str:
    """The colour (#rrggbb) of the text `wanted`. All texts with these words must have the same colour."""
    [found] = {to_hex(text.get_color()) for text in shown(figure) if text.get_text() == wanted}
    return found.upper()


def pixels(figure: Figure) -> np.ndarray:
    """The saved PNG as (height, width, 4) fractions."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    stream.seek(0)
    return np.asarray(imread(stream))


def texts_beyond_the_edge(figure: Figure) -> list[str]:
    """Texts that are cut by the edge of the figure."""
    found, inside = shown(figure), figure.bbox.padded(1.5)
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in found]
    return [
        text for text, box in boxes if not (inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1))
    ]  # fmt: skip


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that overlap. Rotated texts are left out, because their bounding boxes are too large."""
    level = [text for text in shown(figure) if not text.get_rotation()]
    boxes = [(text.get_text(), Text.get_window_extent(text).padded(-1.0)) for text in level]
    return [(one, other) for (one, box), (other, second) in itertools.combinations(boxes, 2) if box.overlaps(second)]
