"""The look that all figures share.

Everything is set on the figure at hand. pyplot is left alone: it keeps every figure alive, and is not safe between
threads. What a matplotlibrc says (in the working directory, at `$MATPLOTLIBRC`, in `~/.config/matplotlib`) is dropped
before the first figure: it could ask for LaTeX or other fonts. The colours are those of Okabe and Ito ("Color Universal
Design", 2008), which stay apart for colour-blind readers; no figure says a thing by colour only.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

matplotlib.rcdefaults()

DPI = 120
EDGE = 0.1  # inches from a title to the edge of a figure

BLUE = "#0072B2"
SKY = "#56B4E9"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
INK = "#222222"
MUTED = "#666666"
FAINT = "#BBBBBB"
RULE = "#DDDDDD"


@dataclass(frozen=True)
class Palette:
    """The colours of a right and a wrong prediction."""

    right: str
    wrong: str


PALETTES: Mapping[str, Palette] = {
    "safe": Palette(BLUE, VERMILLION),
    "blue": Palette("#0000FF", "#FF0000"),  # guide A
    "green": Palette("#008000", "#FF0000"),  # guides B, C and E
}
"""The choices of the setting `palette`; only `safe` stays apart for colour-blind readers."""

TRAIN = BLUE
HELD_OUT = VERMILLION
RUNNING = SKY
GAP = ORANGE

SERIES: tuple[tuple[str, str], ...] = (
    (BLUE, "o"), (VERMILLION, "s"), ("#009E73", "^"), (ORANGE, "D"), ("#CC79A7", "v"), (SKY, "P"),
    (INK, "X"), (BLUE, "<"), (VERMILLION, ">"), ("#009E73", "p"), (ORANGE, "h"), ("#CC79A7", "*"),
)  # fmt: skip
"""A colour and a marker for each of up to twelve series; no marker comes twice."""

TITLE_SIZE = 12.0
TEXT_SIZE = 9.5
SMALL_SIZE = 8.5
OFFSET_PAD = 15.0


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of `width` x `height` inches on an Agg canvas, with a title at its top left."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plain(figure.suptitle(_wrapped(title, width), x=0.01, ha="left", size=TITLE_SIZE, weight="bold", color=INK))
    return figure


@dataclass(frozen=True)
class Margins:
    """Inches kept free around and between panels for their ticks, labels and titles, and for a legend below."""

    left: float
    right: float
    bottom: float
    top: float
    between: float


def titled(width: float, height: float, title: str) -> tuple[Figure, float]:
    """A figure with nothing but its title, above `height` inches that are free; and the inches that it is high."""
    wrapped = _wrapped(title, width)
    total = height + EDGE + 1.2 * TITLE_SIZE / 72 * (wrapped.count("\n") + 1)
    figure = Figure(figsize=(width, total), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    corner = {"x": EDGE / width, "y": 1 - EDGE / total, "ha": "left", "va": "top"}
    plain(figure.suptitle(wrapped, **corner, size=TITLE_SIZE, weight="bold", color=INK))
    return figure, total


def row_of_panels(
    width: float, height: float, title: str, count: int, margins: Margins
) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure like `new_figure`, with `count` empty panels of equal size side by side, in places fixed by `margins`.

    No layout is computed, so it draws in half the time; what is drawn beside the panels must fit into the margins. The
    title stands above the `height` inches and makes the figure higher by its lines.
    """
    figure, total = titled(width, height, title)
    wide = (width - margins.left - margins.right - (count - 1) * margins.between) / count
    high = height - margins.bottom - margins.top
    lefts = [margins.left + number * (wide + margins.between) for number in range(count)]
    panels = [figure.add_axes((left / width, margins.bottom / total, wide / width, high / total)) for left in lefts]
    return figure, tuple(panels)


def _wrapped(title: str, width: float) -> str:
    return textwrap.fill(title, int((width - 2 * EDGE) * 9))


def mark(right: bool | None) -> str:
    """What stands before a prediction, so that its colour is not all that tells: `✓ `, `✗ `, or nothing."""
    return "" if right is None else "✓ " if right else "✗ "


def verdict(right: bool | None, palette: str) -> str:
    """The colour of a prediction; that of plain text where it is not known to be right."""
    return INK if right is None else PALETTES[palette].right if right else PALETTES[palette].wrong


def shortened(text: str, characters: int) -> str:
    """`text` with an ellipsis in its middle where it is longer: the ending of a file's name stays."""
    if len(text) <= characters:
        return text
    kept = characters - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def plain(text: Text) -> Text:
    """Take the text as it stands: a run's name may hold a dollar sign, which matplotlib reads as mathematics."""
    text.set_parse_math(False)
    return text


def panel(axes: Axes, title: str = "", grid: str = "y", title_pad: float | None = None) -> None:
    """Dress one panel of a chart: two spines, small ticks, a faint grid along `grid` (x, y), a title at its left.

    The title is placed above whatever is there, which takes measuring; `title_pad` places it that many points above the
    panel, and must leave room for the power of ten of the axis (`OFFSET_PAD`).
    """
    height = None if title_pad is None else 1.0
    axes.set_title(title, loc="left", y=height, pad=title_pad, size=TEXT_SIZE, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(labelsize=SMALL_SIZE, color=MUTED, labelcolor=INK, length=3)
    axes.xaxis.label.set(size=TEXT_SIZE, color=INK)
    axes.yaxis.label.set(size=TEXT_SIZE, color=INK)
    axes.set_axisbelow(True)
    for along in grid:
        (axes.xaxis if along == "x" else axes.yaxis).grid(color=RULE, linewidth=0.7)


def picture(axes: Axes, title: str = "") -> None:
    """Dress axes that hold an image: a title at the left, no spines, no tick marks."""
    axes.set_title(title, loc="left", size=TEXT_SIZE, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labelcolor=INK)
