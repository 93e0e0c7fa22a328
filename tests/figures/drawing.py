"""Looking at a drawn figure: the texts on it, and the pixels it is saved as."""

import io
import itertools

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from harness.figures.lettering import Lettering


def texts(figure: Figure) -> list[str]:
    """Every text that is shown, those of axes, ticks and legends included."""
    figure.draw_without_rendering()
    written = [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return written + [text for lettering in letterings(figure) for text in lettering.texts]


def letterings(figure: Figure) -> list[Lettering]:
    return [artist for artist in figure.findobj(Lettering) if isinstance(artist, Lettering)]


def colour_of(figure: Figure, wanted: str) -> str:
    """The one colour, as #rrggbb, of all texts of letterings that read `wanted`."""
    [found] = {
        to_hex(lettering.get_facecolor()[index % len(lettering.get_facecolor())])
        for lettering in letterings(figure)
        for index, text in enumerate(lettering.texts)
        if text == wanted
    }
    return found.upper()


def pixels(figure: Figure) -> np.ndarray:
    """The saved PNG as (height, width, 4) fractions."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    stream.seek(0)
    return np.asarray(imread(stream))


def texts_beyond_the_edge(figure: Figure) -> list[str]:
    """Texts that the figure's edge cuts."""
    figure.draw_without_rendering()
    inside = figure.bbox.padded(1.0)
    cut = []
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text.get_visible() and text.get_text() and box.width and not (
            inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
        ):  # fmt: skip
            cut.append(text.get_text())
    for lettering in letterings(figure):
        cut += [text for text, box in lettering.boxes() if not (
            inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
        )]  # fmt: skip
    return cut


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of letterings that lie over each other (turned ones are left out: their boxes are too large)."""
    figure.draw_without_rendering()
    boxes = [item for lettering in letterings(figure) for item in lettering.boxes()]
    return [(one, other) for (one, box), (other, second) in itertools.combinations(boxes, 2) if box.overlaps(second)]
