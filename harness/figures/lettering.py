"""Many short texts as one artist: captions, the numbers of a scale, the cells of a table.

matplotlib hints and measures each `Text` by itself, which takes 2 ms; a sheet of captions would cost more than all
else on it. Here the outline of each character is looked up once a process, and all texts of a kind are drawn as one
collection of outlines, in about a tenth of the time. What is written is taken as it stands: a dollar sign is no
mathematics.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform, Transform

from harness.figures import style
from harness.records import FloatArray

LINE = 1.2
"""From one baseline to the next, in ems."""
_CAPITAL, _ASCENT, _DESCENT = 0.73, 0.76, 0.24  # of DejaVu Sans, in ems
_LONGEST = 1_000  # characters of a text that is shortened anyway
_SHIFTS = {"left": 0.0, "center": 0.5, "right": 1.0}


@lru_cache(maxsize=2_000)
def _glyph(character: str, bold: bool) -> tuple[FloatArray, npt.NDArray[np.uint8], float]:
    """The outline of a character (n, 2) with the codes of its points (n,), and how far it moves the pen, all in ems."""
    font = FontProperties(size=1.0, weight="bold" if bold else "normal")
    points, codes = text_to_path.get_text_path(font, character)
    advance = text_to_path.get_text_width_height_descent(character, font, False)[0]
    outline = np.asarray(points, dtype=np.float64).reshape(-1, 2) / text_to_path.FONT_SCALE
    return outline, np.asarray(codes, dtype=np.uint8), float(advance)


def width(text: str, size: float, bold: bool = False) -> float:
    """How wide the longest line of `text` is, in inches, at `size` points."""
    return max(sum(_glyph(character, bold)[2] for character in line) for line in text.split("\n")) * size / 72


def wrapped(text: str, size: float, inches: float) -> list[str]:
    """The words of `text` in lines of at most so many inches; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}", size) <= inches:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fitted(text: str, size: float, inches: float, lines: int = 2) -> str:
    """`text` in at most so many lines of at most so many inches; an ellipsis stands for what has no room.

    Words that are too long by themselves lose their middle, for the end of a setting is its value.
    """
    room = [_shortened(word, size, inches) for word in style.shortened(text, _LONGEST).split()]
    found = wrapped(" ".join(room), size, inches)
    if len(found) > lines:
        found = [*found[: lines - 1], _shortened(" ".join(found[lines - 1 :]), size, inches)]
    return "\n".join(found)


def _shortened(text: str, size: float, inches: float) -> str:
    """The longest shortening with room; a store's text may have any length, so as few as possible are measured."""
    text = style.shortened(text, _LONGEST)
    few, many = 1, len(text)
    while few < many:
        kept = (few + many + 1) // 2
        few, many = (kept, many) if width(style.shortened(text, kept), size) <= inches else (few, kept - 1)
    return style.shortened(text, few)


@lru_cache(maxsize=2_000)
def _outline(text: str, bold: bool, align: str, valign: str) -> Path:
    """All lines of `text` in ems; the point (0, 0) is where `align` and `valign` say."""
    lines = text.split("\n")
    block = (len(lines) - 1) * LINE
    first = {
        "top": -_ASCENT,
        "center": block / 2 - _CAPITAL / 2,
        "bottom": block + _DESCENT,
        "baseline": block,
    }[valign]
    points: list[FloatArray] = []
    codes: list[npt.NDArray[np.uint8]] = []
    for number, line in enumerate(lines):
        pen = -_SHIFTS[align] * width(line, 72.0, bold)
        for character in line:
            outline, kinds, advance = _glyph(character, bold)
            if len(outline):
                points.append(outline + np.array([pen, first - number * LINE]))
                codes.append(kinds)
            pen += advance
    if not points:
        return Path(np.empty((0, 2)))
    return Path(np.concatenate(points), np.concatenate(codes))


class Lettering(PathCollection):
    """`texts` at `places` (n, 2); see `letter`, which makes it."""

    def __init__(self, texts: Sequence[str], outlines: Sequence[Path], places: FloatArray, **how: Any) -> None:
        super().__init__(outlines, offsets=places, linewidths=0, **how)
        self.texts = tuple(texts)

    def boxes(self) -> list[tuple[str, Bbox]]:
        """Each text with the rectangle of pixels that it covers when the figure is drawn."""
        figure = self.get_figure(root=True)
        assert figure is not None
        scale = Affine2D().scale(float(np.sqrt(self.get_sizes()[0])) * figure.dpi / 72)
        corners = self.get_offset_transform().transform(self.get_offsets())
        return [
            (text, outline.get_extents(scale + Affine2D().translate(*corner)))
            for text, outline, corner in zip(self.texts, self.get_paths(), corners, strict=True)
            if np.size(outline.vertices)
        ]


def letter(
    onto: Axes | Figure,
    texts: Sequence[str],
    places: Sequence[tuple[float, float]] | FloatArray,
    *,
    size: float = style.SMALL_SIZE,
    colours: str | Sequence[str] = style.INK,
    bold: bool | Sequence[bool] = False,
    align: str = "center",
    valign: str = "center",
    shift: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
    transform: Transform | None = None,
    halo: bool = False,
) -> Lettering:
    """Write each of `texts` at its place, moved by `shift` points, in coordinates of the data
    (of a figure: in shares of it) or those of `transform`.

    `align` is left, center or right of the place; `valign` has the text's top, center, bottom or (last) baseline there.
    `angle` turns each text about its place, in degrees against the clock. Lines are parted by newlines. Nothing is
    clipped. `halo` keeps a white rim around the letters, for those that stand upon lines.
    """
    heavy = [bold] * len(texts) if isinstance(bold, bool) else bold
    outlines = [_outline(text, weight, align, valign) for text, weight in zip(texts, heavy, strict=True)]
    if angle or shift != (0.0, 0.0):
        moved = Affine2D().rotate_deg(angle).translate(shift[0] / size, shift[1] / size)
        outlines = [outline.transformed(moved) for outline in outlines]
    lettering = Lettering(
        texts,
        outlines,
        np.asarray(places, dtype=np.float64).reshape(-1, 2),
        sizes=[size**2],  # the collection takes areas in square points, and scales by their root
        facecolors=colours,
        offset_transform=_coordinates(onto) if transform is None else transform,
    )
    lettering.set_transform(IdentityTransform())
    lettering.set_zorder(5)
    if halo:
        lettering.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
    onto.add_artist(lettering)
    lettering.set_clip_on(False)
    return lettering


def _coordinates(onto: Axes | Figure) -> Transform:
    return onto.transData if isinstance(onto, Axes) else onto.transFigure
