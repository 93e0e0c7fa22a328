"""The look of all figures, and the size of the page that they are drawn for.

Functions that draw are marked `@look`: within them, and whenever their figure is drawn or saved, matplotlib's settings
are those of this module; what the rest of the process has set comes back afterwards. pyplot is left alone: it keeps
every figure alive, and is not safe between threads. What else has been set (by a matplotlibrc, or in a notebook) has no
effect on these figures: it could ask for LaTeX or other fonts.
Text is drawn as it stands: a dollar sign in a name is no mathematics.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can tell apart. No
figure uses colour as the only sign.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from harness.figures.backend import font_families, users_settings_undone
from harness.text import clean

Given = ParamSpec("Given")

DPI = 120
FONT_SIZE = 10.0
EDGE = 0.1  # inches from a text to the edge of a figure
LINE = 1.25  # from one line of text to the next, in font sizes
NARROW = 2.9  # inches; panels narrower than this are placed below each other

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
"""The choices of the setting `palette`. Only the colours of `safe` can be told apart by colour-blind readers."""

SERIES: tuple[tuple[str, str], ...] = (
    (BLUE, "o"), (VERMILLION, "s"), ("#009E73", "^"), (ORANGE, "D"), ("#CC79A7", "v"), (SKY, "P"),
    (INK, "X"), (BLUE, "<"), (VERMILLION, ">"), ("#009E73", "p"), (ORANGE, "h"), ("#CC79A7", "*"),
)  # fmt: skip
"""A colour and a marker for each of up to twelve series. Each marker occurs once."""


@dataclass(frozen=True)
class PaperSize:
    """The page for figures: their width in inches (None: the natural width of each), and the font size in points."""

    width: float | None = None
    font_size: float = FONT_SIZE
    dpi: float = DPI


_LONGEST = 1_000  # longer texts are cut to this number of characters before they are measured
_PLAIN = PaperSize()
_PAGE = ContextVar("page", default=_PLAIN)


@contextmanager
def on_paper(page: PaperSize) -> Iterator[None]:
    """Inside the `with` block, figures are drawn for this page."""
    before = _PAGE.set(page)
    try:
        yield
    finally:
        _PAGE.reset(before)


def _settings(page: PaperSize) -> dict[str, Any]:
    ticks = {
        f"{axis}tick.{name}": value
        for axis in "xy"
        for name, value in (("labelsize", "small"), ("color", MUTED), ("labelcolor", INK), ("major.size", 3.0))
    }
    return ticks | {
        "font.family": font_families(), "font.size": page.font_size, "text.parse_math": False, "text.color": INK,
        "axes.titlelocation": "left", "axes.titlesize": "medium", "axes.titley": 1.0, "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "axes.formatter.useoffset": False, "axes.unicode_minus": False,
        "grid.color": RULE, "grid.linewidth": 0.7, "legend.frameon": False, "legend.fontsize": "small",
        "image.interpolation": "nearest", "figure.dpi": page.dpi, "savefig.dpi": "figure", "hatch.linewidth": 0.8,
        "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "harness",
        "text.hinting": "none",  # hinting would take a fifth of the time
    }  # fmt: skip


@contextmanager
def _looking(settings: Any) -> Iterator[None]:
    with matplotlib.rc_context(users_settings_undone() | settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a box is drawn instead
        yield


def look(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Decorate a function that draws a figure, so that it uses the settings of this module."""

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with _looking(_settings(_PAGE.get())):
            return draw(*args, **kwargs)

    return drawn


class _Figure(Figure):
    """A figure that keeps its settings, because ticks and fonts are made only when it is drawn or saved."""

    def __init__(self, page: PaperSize, **how: Any) -> None:
        self._settings = _settings(page)
        super().__init__(**how)

    def draw(self, renderer: Any) -> None:
        with _looking(self._settings):
            super().draw(renderer)

    def savefig(self, fname: Any, **how: Any) -> None:
        with _looking(self._settings):
            if (engine := self.get_layout_engine()) is not None:
                for axes in self.axes:
                    axes.spines[:].set_in_layout(False)  # they need no room; to measure them takes a tenth of the time
                engine.execute(self)
                self.set_layout_engine(None)  # otherwise matplotlib would draw twice to save once
            super().savefig(fname, **how)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def page_width(natural: float) -> float:
    """The width of a figure in inches: that of the page, or the `natural` one if the page has none."""
    return _PAGE.get().width or natural


def page_height(width: float, height: float) -> float:
    """The height in inches of a chart with this natural size: less on a narrow page, but at least 0.6 of it."""
    return height * min(1.0, max(0.6, page_width(width) / width))


def points(size: str = "small") -> float:
    """The size in points of text that matplotlib calls `small`, `medium` or `large`."""
    return FontProperties(size=size).get_size_in_points()


def line_height(size: str = "small") -> float:
    """The height of a line of text in inches."""
    return LINE * points(size) / 72


def new_figure(
    width: float, height: float, title: str, heading: str = "", note: str = "", left: float = 0.0, bottom: float = 0.0
) -> Figure:
    """An empty figure with a title, a heading that says what is shown, and a note; panels get `height` inches below.

    matplotlib lays the panels out, to the right of `left` and above `bottom` (inches). The page's width, if it has one,
    replaces `width`.
    """
    page, width = _PAGE.get(), page_width(width)
    words = [(title, "large", "bold", INK), (heading, "medium", "normal", INK), (note, "small", "normal", MUTED)]
    parts = [
        ("\n".join(wrapped(text, size, width - 2 * EDGE, weight == "bold")), size, weight, colour)
        for text, size, weight, colour in words
        if text
    ]
    lines = sum((text.count("\n") + 1) * line_height(size) for text, size, *_ in parts)
    total = height + (lines + 0.05 * len(parts) + 0.5 * EDGE if parts else 0.0)
    figure = _Figure(page, figsize=(width, total), dpi=page.dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    rect = (left / width, bottom / total, 1 - left / width, (height - bottom) / total)
    figure.get_layout_engine().set(rect=rect, w_pad=0.06, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    top = total - 0.5 * EDGE
    for text, size, weight, colour in parts:
        figure.text(EDGE / width, top / total, text, va="top", size=size, weight=weight, color=colour, linespacing=LINE)
        top -= (text.count("\n") + 1) * line_height(size) + 0.05
    return figure


def row_of_panels(figure: Figure, count: int) -> list[Axes]:
    """Panels side by side, or below each other in a higher figure if it is too narrow."""
    wide, high = figure.get_size_inches()
    if wide / count >= NARROW:
        return list(figure.subplots(1, count, squeeze=False)[0])
    engine: Any = figure.get_layout_engine()
    share = engine.get()["rect"][3]
    stretch = 1 + share * (0.8 * count - 1)
    for text in figure.texts:
        text.set_y(1 - (1 - text.get_position()[1]) / stretch)
    figure.set_size_inches(wide, high * stretch)
    engine.set(rect=(0, 0, 1, 1 - (1 - share) / stretch))
    return list(figure.subplots(count, 1, squeeze=False)[:, 0])


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draw the legend of `axes` at the lower edge of the figure, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    widths, room = [text_width(label) + 0.65 for label in labels], figure.get_size_inches()[0]
    columns = len(labels) if sum(widths) <= room else max(1, int(room / max(widths)))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def legend_beside(
    axes: Axes, handles: Sequence[Any], labels: Sequence[str], beside: bool, title: str = "", left: float = 1.02
) -> None:
    """Draw a legend `beside` the last panel, or below all panels.

    `left` is the legend's left side in widths of the panel.
    """
    figure: Any = axes.get_figure(root=True)
    how: Any = {"title": title or None, "title_fontsize": "small", "alignment": "left", "labelspacing": 0.3}
    if beside:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(left, 1.0), borderaxespad=0, numpoints=1, **how)
    else:
        figure.legend(handles, labels, loc="outside lower left", numpoints=1, **how)


def colour_bar(axes: Axes, shown: ScalarMappable, title: str, **how: Any) -> None:
    """Draw a colour bar with a title beside `axes`."""
    figure: Any = axes.get_figure(root=True)
    bar = figure.colorbar(shown, ax=axes, **how)
    bar.outline.set_visible(False)
    bar.ax.annotate(title, (0, 1), (0, 7), "axes fraction", "offset points", va="bottom", size="small")


def even_ticks(most: int = 7) -> MaxNLocator:
    """Ticks at round numbers."""
    return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])


def whole_numbers(axes: Axes, values: Iterable[int]) -> None:
    """Set ticks of the x axis (epochs) at whole numbers, including the first of `values`."""
    known = list(values)
    even = MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True).tick_values(known[0], known[-1])
    inside = {round(tick) for tick in even if known[0] <= tick <= known[-1] and tick == round(tick)}
    axes.set_xticks(sorted({known[0]} | {tick for tick in inside if (tick - known[0]) * 16 > known[-1] - known[0]}))


def captioned(axes: Axes, title: str, details: Sequence[str] = (), weight: str = "normal") -> None:
    """Set a title at the left of a panel, with lines of `details` in grey below it."""
    axes.set_title(title, weight=weight, pad=4 + 72 * line_height() * len(details))
    if details:
        how: Any = {"color": MUTED, "size": "small", "linespacing": LINE}
        axes.annotate("\n".join(details), (0, 1), (0, 3), "axes fraction", "offset points", va="bottom", **how)


def class_ticks(axes: Axes, names: Sequence[str], room: float) -> None:
    """Set a tick for each class along x, over `room` inches. Names that do not fit are rotated by 45 degrees."""
    turned = max(map(text_width, names)) > 0.9 * room / len(names)
    how: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(names)), names, **how)


@lru_cache(maxsize=4_000)
def _width(text: str, size: float, bold: bool) -> float:
    font = FontProperties(family=font_families(), size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        return float(text_to_path.get_text_width_height_descent(text, font, False)[0]) / 72


def text_width(text: str, size: str = "small", bold: bool = False) -> float:
    """The width of the longest line of `text` in inches."""
    return max(_width(line, points(size), bold) for line in text.split("\n"))


def wrapped(text: str, size: str, inches: float, bold: bool = False) -> list[str]:
    """`text` wrapped into lines that are at most `inches` wide. A longer word is shortened in its middle."""
    lines: list[str] = []
    for word in (_shortened(word, size, inches, bold) for word in shortened(clean(text), _LONGEST).split()):
        if lines and text_width(f"{lines[-1]} {word}", size, bold) <= inches:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fitted(text: str, size: str, inches: float, lines: int = 2, bold: bool = False) -> str:
    """`text` in at most `lines` lines that are at most `inches` wide; an ellipsis replaces what does not fit.

    Text is cut in the middle, because the end of a setting is its value.
    """
    found = wrapped(text, size, inches, bold)
    if len(found) > lines:
        found = [*found[: lines - 1], _shortened(" ".join(found[lines - 1 :]), size, inches, bold)]
    return "\n".join(found)


def _shortened(text: str, size: str, inches: float, bold: bool) -> str:
    """The longest shortening that fits, found by bisection, because measuring is slow and texts may be long."""
    text = shortened(text, _LONGEST)
    few, many = 1, len(text)
    while few < many:
        kept = (few + many + 1) // 2
        few, many = (kept, many) if text_width(shortened(text, kept), size, bold) <= inches else (few, kept - 1)
    return shortened(text, few)


def shortened(text: str, characters: int) -> str:
    """`text`, with an ellipsis in its middle if it is too long, so that the suffix of a file name stays."""
    if len(text) <= characters:
        return text
    kept = characters - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def mark(right: bool | None) -> str:
    """The sign before a prediction, so that colour is not the only sign: `✓ `, `✗ ` or nothing."""
    return "" if right is None else "✓ " if right else "✗ "


def verdict(right: bool | None, palette: str) -> str:
    """The colour of a prediction; that of plain text if its true class is not known."""
    return INK if right is None else PALETTES[palette].right if right else PALETTES[palette].wrong
