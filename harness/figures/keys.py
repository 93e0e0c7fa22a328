"""The key to the lines and markers of a figure, in a place and of a size that are known before it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.figures import style
from harness.figures.lettering import LINE, fitted, letter, width

_SAMPLE = 0.34  # inches that a piece of line takes
_GAP = 0.08
_LEADING = 0.06  # between entries


@dataclass(frozen=True)
class Entry:
    """One line of a key; `marker` may be empty, `line` is matplotlib's name of a line style or `none`."""

    label: str
    colour: str
    marker: str = "o"
    line: str = "none"
    filled: bool = True


def _fitted(entries: Sequence[Entry], inches: float) -> list[str]:
    return [fitted(entry.label, style.SMALL_SIZE, inches - _SAMPLE - _GAP) for entry in entries]


def key_height(entries: Sequence[Entry], inches: float, title: str = "") -> float:
    """Inches that a key of that width is high."""
    lines = sum(text.count("\n") + 1 for text in _fitted(entries, inches))
    heading = (fitted(title, style.SMALL_SIZE, inches).count("\n") + 1) if title else 0
    return (lines + heading) * LINE * style.SMALL_SIZE / 72 + _LEADING * (len(entries) + bool(title))


def draw_key(figure: Figure, entries: Sequence[Entry], left: float, top: float, inches: float, title: str = "") -> None:
    """Write the entries below each other, `title` first; `left` and `top` are inches from the figure's lower left."""
    row = LINE * style.SMALL_SIZE / 72
    place: Any = figure.dpi_scale_trans
    how: Any = {"align": "left", "valign": "top", "transform": place}
    if title:
        heading = fitted(title, style.SMALL_SIZE, inches)
        letter(figure, [heading], [(left, top)], bold=True, **how)
        top -= row * (heading.count("\n") + 1) + _LEADING
    texts, places = _fitted(entries, inches), []
    for entry, text in zip(entries, texts, strict=True):
        places.append((left + _SAMPLE + _GAP, top))
        _sample(figure, entry, left, top - 0.5 * row)
        top -= row * (text.count("\n") + 1) + _LEADING
    letter(figure, texts, places, **how)


def draw_key_row(figure: Figure, entries: Sequence[Entry], left: float, middle: float) -> None:
    """Write the entries beside each other, each on one line, `middle` inches above the figure's lower edge."""
    place: Any = figure.dpi_scale_trans
    places = []
    for entry in entries:
        _sample(figure, entry, left, middle)
        places.append((left + _SAMPLE + _GAP, middle))
        left += _SAMPLE + 4 * _GAP + width(entry.label, style.SMALL_SIZE)
    letter(figure, [entry.label for entry in entries], places, align="left", transform=place)


def _sample(figure: Figure, entry: Entry, left: float, middle: float) -> None:
    xs, line = [left, left + 0.5 * _SAMPLE, left + _SAMPLE], cast(Any, entry.line)
    sample = Line2D(xs, [middle] * 3, color=entry.colour, linestyle=line, linewidth=1.6)
    sample.set(marker=entry.marker or "none", markevery=[1], markersize=5.5, markeredgecolor=entry.colour)
    sample.set(markerfacecolor=entry.colour if entry.filled else "white", transform=figure.dpi_scale_trans)
    figure.add_artist(sample)
