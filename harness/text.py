"""Text that others wrote - names, settings, tags, file names, messages of servers - made safe to show.

What a store holds may come from a stranger. `clean` is for every printing: tables, logs, errors, figures, pages. The
others are for one reader each: a spreadsheet, a Markdown page, a shell.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Sequence
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


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV whose cells no spreadsheet takes for formulas: one that begins like a formula, and is no number,
    has an apostrophe before it, which spreadsheets do not show.

        >>> csv_text(["name", "gap"], [["=cmd|'/c calc'!A1", -0.5]])
        "name,gap\\n'=cmd|'/c calc'!A1,-0.5\\n"
    """
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerows([map(_cell, row) for row in (header, *rows)])
    return target.getvalue()


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
        return value
    text = clean(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    """Or the dash that stands for nothing."""
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
