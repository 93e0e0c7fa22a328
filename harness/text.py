"""Text that others wrote - names, settings, tags, file names, messages of servers - made safe to show.

What a store holds may come from a stranger. `clean` is for every printing: tables, logs, errors, figures, pages. The
others are for one reader each: a spreadsheet, a Markdown page, LaTeX, a shell.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
"""Control characters, marks of the direction of writing, other marks that do not show, and halves of characters. The
two joiners of Persian, Hindi and of many an emoji are none of them."""
_STYLE = re.compile(r"\x1b\[(?:[0-9;]{0,32}m|[0-9;]{0,8}[A-HJK]|\?25[hl])")
"""Colours, and what a progress display moves the cursor with."""
_LINES = ("\n", "\t")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes the beginning of a cell for a formula by, in both widths."""
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])[(:]")
_PIPE = re.compile(r"(\\*)\|")
"""With the backslashes before it, which would otherwise undo the one that is put there."""
_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "<": "$<$", ">": "$>$", "|": "$|$", '"': r"\char34{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after a row's end they would be read as options
    "±": r"$\pm$", "×": r"$\times$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "▲": r"$\uparrow$", "▼": r"$\downarrow$",
    "…": r"\dots{}", "\u2212": "$-$",
}  # fmt: skip
_LATEX_MARKS = re.compile(r"(?<![\w.])-(?=\d)|-(?=-)|" + "|".join(map(re.escape, _LATEX)))
"""These, a minus, and what would become a dash."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def clean(text: str, lines: bool = False) -> str:
    r"""`text` on one line, with every character that does not show as its escape.

    `lines`: keep line breaks and tabs, for what may have several lines (a message, a note).

        >>> clean("cnn\x1b]52;c;cm0=\x07 \u202egnp.exe\n")
        'cnn\\x1b]52;c;cm0=\\x07 \\u202egnp.exe\\n'
    """
    if text.isprintable():
        return text
    return _INVISIBLE.sub(lambda found: found[0] if lines and found[0] in _LINES else _escape(found[0]), text)


def markdown(text: str) -> str:
    r"""A line of Markdown, put together from names of anybody's: without the HTML, links and pictures of theirs.

    >>> markdown("<img onerror=x> [a](javascript:b)")
    '&lt;img onerror=x> [a]\\(javascript:b)'
    """
    return _MARKUP.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", clean(text))


def markdown_page(text: str) -> str:
    """Every line of a page as `markdown`; what it was put together from must have been on one line each."""
    return "\n".join(map(markdown, text.split("\n")))


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(_PIPE.sub(r"\1\1\\|", markdown(cell)) for cell in cells) + " |"


def latex(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    >>> latex("val_loss: -0.5 %")
    'val\\_loss: $-$0.5 \\%'
    """

    def in_latex(match: re.Match[str]) -> str:
        mark, follows = match[0], text[match.end() : match.end() + 1]
        return _LATEX.get(mark) or (r"-\kern0pt{}" if follows == "-" else "$-$")

    return _LATEX_MARKS.sub(in_latex, " ".join(text.split()))


def latex_fallbacks(text: str) -> list[str]:
    """What must stand before `text` in LaTeX: pdfLaTeX stops at a letter that it has no font for. Where nothing else is
    set up for it, its number is printed."""
    return [
        rf"\ifcsname u8:\detokenize{{{mark}}}\endcsname\else"
        rf"\expandafter\gdef\csname u8:\detokenize{{{mark}}}\endcsname{{U+{ord(mark):04X}}}\fi"
        for mark in sorted(set(text)) if not mark.isascii()
    ]  # fmt: skip


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV whose cells no spreadsheet takes for formulas: one that begins like a formula, and is no number,
    has an apostrophe before it, which spreadsheets do not show.

    What is not known, and no finite number, is empty.

        >>> csv_text(["name", "gap"], [["=cmd|'/c calc'!A1", -0.5]])
        "name,gap\\n'=cmd|'/c calc'!A1,-0.5\\n"
    """
    import pandas

    cells = [[*map(_cell, row)] for row in rows]
    frame = pandas.DataFrame(cells, columns=[*map(_cell, header)], dtype=object)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def shell(words: Iterable[str]) -> str:
    """Words as a shell takes them, on one line."""
    return clean(shlex.join(words))


def requoted(command: str) -> str:
    """A recorded command line with each of its words quoted, so that a shell makes no more of it than words."""
    try:
        words = shlex.split(command)
    except ValueError:  # it was cut, or is none
        words = command.split()
    return shell(words)


def commit(text: str) -> str:
    """A recorded commit, empty where the text is none."""
    return text if _COMMIT.fullmatch(text) else ""


class CleanStream:
    """A stream whose text is clean, but for colours and for what a progress display needs; else it is `stream`.

    It stands behind every printing: what is printed from records is clean already.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text; how long it was."""
        if not text.isprintable():
            pieces = _STYLE.split(text)
            marks = [*_STYLE.findall(text), ""]
            text = "".join(_on_screen(piece) + mark for piece, mark in zip(pieces, marks, strict=True))
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _on_screen(text: str) -> str:
    return text if text.isprintable() else _INVISIBLE.sub(_shown_on_screen, text)


def _shown_on_screen(found: re.Match[str]) -> str:
    """The byte of a file's name that was no text is the encoding's to show: see `terminal`."""
    return found[0] if found[0] in "\n\t\r" or "\ud800" <= found[0] <= "\udfff" else _escape(found[0])


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    text = clean(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    """Or the dash that stands for nothing."""
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
