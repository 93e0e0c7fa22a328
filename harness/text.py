"""Makes text from others safe to show: names, settings, tags, file names, messages of servers.

The content of a store may come from a stranger. `clean` is for every output: tables, logs, errors, figures, pages. The
other functions are for one kind of output each: CSV, Markdown, LaTeX, a shell.
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
"""Control characters, direction marks, other invisible characters and surrogates. The two joiners U+200C and U+200D are
allowed, because Persian, Hindi and many emoji need them."""
_STYLE = re.compile(r"\x1b\[(?:[0-9;]{0,32}m|[0-9;]{0,8}[A-HJK]|\?25[hl])")
"""Escape sequences for colours, and for the cursor of a progress display."""
_LINES = ("\n", "\t")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a formula in a spreadsheet, also in their full-width forms."""
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])[(:]")
_PIPE = re.compile(r"(\\*)\|")
"""A pipe with the backslashes before it: these must be doubled, or they would cancel the escape of the pipe."""
_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "<": "$<$", ">": "$>$", "|": "$|$", '"': r"\char34{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after the end of a row, LaTeX would read them as options
    "±": r"$\pm$", "×": r"$\times$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "▲": r"$\uparrow$", "▼": r"$\downarrow$",
    "…": r"\dots{}", "\u2212": "$-$",
}  # fmt: skip
_LATEX_MARKS = re.compile(r"(?<![\w.])-(?=\d)|-(?=-)|" + "|".join(map(re.escape, _LATEX)))
"""The keys of `_LATEX`, a minus sign, and hyphens that LaTeX would join to a dash."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def clean(text: str, lines: bool = False) -> str:
    r"""`text` on one line, with every invisible character as an escape.

    `lines`: keep line breaks and tabs, for texts that may have several lines (a message, a note).

        >>> clean("cnn\x1b]52;c;cm0=\x07 \u202egnp.exe\n")
        'cnn\\x1b]52;c;cm0=\\x07 \\u202egnp.exe\\n'
    """
    if text.isprintable():
        return text
    return _INVISIBLE.sub(lambda found: found[0] if lines and found[0] in _LINES else _escape(found[0]), text)


def markdown(text: str) -> str:
    r"""A line of Markdown that contains text from others, with their HTML, links and pictures disabled.

    >>> markdown("<img onerror=x> [a](javascript:b)")
    '&lt;img onerror=x> [a]\\(javascript:b)'
    """
    return _MARKUP.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", clean(text))


def markdown_page(text: str) -> str:
    """Apply `markdown` to every line of a page. Each text from others in it must be on one line already."""
    return "\n".join(map(markdown, text.split("\n")))


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(_PIPE.sub(r"\1\1\\|", markdown(cell)) for cell in cells) + " |"


def latex(text: str) -> str:
    r"""Text for LaTeX, which prints exactly these characters.

    >>> latex("val_loss: -0.5 %")
    'val\\_loss: $-$0.5 \\%'
    """

    def in_latex(match: re.Match[str]) -> str:
        mark, follows = match[0], text[match.end() : match.end() + 1]
        return _LATEX.get(mark) or (r"-\kern0pt{}" if follows == "-" else "$-$")

    return _LATEX_MARKS.sub(in_latex, " ".join(text.split()))


def latex_fallbacks(text: str) -> list[str]:
    """LaTeX lines that must come before `text`. They print the code of a character that pdfLaTeX has no font for.

    Without them, pdfLaTeX stops at such a character.
    """
    return [
        rf"\ifcsname u8:\detokenize{{{mark}}}\endcsname\else"
        rf"\expandafter\gdef\csname u8:\detokenize{{{mark}}}\endcsname{{U+{ord(mark):04X}}}\fi"
        for mark in sorted(set(text)) if not mark.isascii()
    ]  # fmt: skip


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV that is safe to open in a spreadsheet.

    A text that begins like a formula, and is not a number, gets an apostrophe before it: spreadsheets then read it as
    text, and do not show the apostrophe. None, NaN and infinity become empty cells.

        >>> csv_text(["name", "gap"], [["=cmd|'/c calc'!A1", -0.5]])
        "name,gap\\n'=cmd|'/c calc'!A1,-0.5\\n"
    """
    import pandas

    cells = [[*map(_cell, row)] for row in rows]
    frame = pandas.DataFrame(cells, columns=[*map(_cell, header)], dtype=object)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def shell(words: Iterable[str]) -> str:
    """Words quoted for a shell, on one line."""
    return clean(shlex.join(words))


def requoted(command: str) -> str:
    """A recorded command line with each word quoted, so that a shell cannot run anything else in it."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unclosed quote: the command was cut when it was recorded
        words = command.split()
    return shell(words)


def commit(text: str) -> str:
    """`text` if it looks like a commit hash, otherwise the empty string."""
    return text if _COMMIT.fullmatch(text) else ""


class CleanStream:
    """A wrapper of `stream` that cleans all text, but keeps colours and the cursor movements of a progress display.

    It is a second defence: text from records should be clean before it is printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the cleaned text. Returns its length."""
        if not text.isprintable():
            pieces = _STYLE.split(text)
            marks = [*_STYLE.findall(text), ""]
            text = "".join(_on_screen(piece) + mark for piece, mark in zip(pieces, marks, strict=True))
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _on_screen(text: str) -> str:
    return text if text.isprintable() else _INVISIBLE.sub(_shown_on_screen, text)


def _shown_on_screen(found: re.Match[str]) -> str:
    """Escape an invisible character. Surrogates (bytes of a file name that were not text) are left to `terminal`."""
    return found[0] if found[0] in "\n\t\r" or "\ud800" <= found[0] <= "\udfff" else _escape(found[0])


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    text = clean(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    """Whether `text` is a number, or the dash for a missing value."""
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
