"""What is written around the panels of a comparison: what they show, and what must be known to believe it."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.lettering import LINE, letter, wrapped

_SPACE = 0.1  # inches below the lines


def _lines(heading: str, note: str, inches: float) -> tuple[list[str], list[str]]:
    room = inches - 2 * style.EDGE
    return wrapped(heading, style.TEXT_SIZE, room), wrapped(note, style.SMALL_SIZE, room)


def heading_height(heading: str, note: str, inches: float) -> float:
    """Inches that `write_heading` takes in a figure of that width."""
    above, below = _lines(heading, note, inches)
    return (len(above) * style.TEXT_SIZE + len(below) * style.SMALL_SIZE) * LINE / 72 + _SPACE


def write_heading(figure: Figure, heading: str, note: str, top: float) -> None:
    """Write what the figure shows and, in grey, the note, `top` inches above its lower edge and downwards."""
    above, below = _lines(heading, note, figure.get_size_inches()[0])
    how: Any = {"align": "left", "valign": "top", "transform": figure.dpi_scale_trans}
    letter(figure, ["\n".join(above)], [(style.EDGE, top)], size=style.TEXT_SIZE, **how)
    if below:
        top -= len(above) * LINE * style.TEXT_SIZE / 72
        letter(figure, ["\n".join(below)], [(style.EDGE, top)], colours=style.MUTED, **how)


def write_labels(axes: Axes, across: str, depth: float, up: str = "", breadth: float = 0.0) -> None:
    """The names of a panel's axes, with their units, beyond ticks that take `depth` and `breadth` inches."""
    how: Any = {"size": style.TEXT_SIZE, "transform": axes.transAxes}
    letter(axes, [across], [(0.5, 0.0)], valign="top", shift=(0.0, -6.0 - 72 * depth), **how)
    if up:
        letter(axes, [up], [(0.0, 0.5)], angle=90.0, shift=(-11.0 - 72 * breadth, 0.0), **how)


def counted(count: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {word}{'s' * (count != 1)}"
