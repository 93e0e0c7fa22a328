"""The look that all figures share.

Everything is set on the figure at hand. pyplot and `rcParams` are left alone: they belong to the process, keep every
figure alive, and are not safe between threads. The colours are those of Okabe and Ito ("Color Universal Design",
2008), which stay apart for colour-blind readers; no figure says a thing by colour only.
"""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 120

BLUE = "#0072B2"
SKY = "#56B4E9"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
INK = "#222222"
MUTED = "#666666"
FAINT = "#BBBBBB"
RULE = "#DDDDDD"

TRAIN = BLUE
HELD_OUT = VERMILLION
RUNNING = SKY
GAP = ORANGE

TITLE_SIZE = 12.0
TEXT_SIZE = 9.5
SMALL_SIZE = 8.5


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of `width` x `height` inches on an Agg canvas, with a title at its top left."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    wrapped = textwrap.fill(title, int(width * 10))
    plain(figure.suptitle(wrapped, x=0.01, ha="left", size=TITLE_SIZE, weight="bold", color=INK))
    return figure


def plain(text: Text) -> Text:
    """Take the text as it stands: a run's name may hold a dollar sign, which matplotlib reads as mathematics."""
    text.set_parse_math(False)
    return text


def panel(axes: Axes, title: str = "", grid: str = "y") -> None:
    """Dress one panel of a chart: two spines, small ticks, a faint grid along `grid` (x, y), a title at its left."""
    axes.set_title(title, loc="left", size=TEXT_SIZE, color=INK)
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
