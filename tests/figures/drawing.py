"""Looking at a drawn figure: the texts on it, and the pixels it is saved as."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text


def texts(figure: Figure) -> list[str]:
    """Every text that is shown, those of axes, ticks and legends included."""
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


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
    return cut
