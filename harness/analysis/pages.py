"""Lines and tables in the forms that people read: plain text, Markdown, LaTeX, HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from harness.errors import RequestError, suggestion
from harness.text import markdown, markdown_page

USUAL_WIDTH = 100


@dataclass(frozen=True)
class Table:
    """Cells below their `header`, under a `title`.

    `columns` has a letter for each column, `l` for text and `r` for numbers; those that it lacks are numbers. A line
    parts the rows before each place in `parted` from the rest.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    columns: str = ""
    parted: Collection[int] = ()

    @property
    def kinds(self) -> str:
        """A letter for every column."""
        return self.columns.ljust(len(self.header), "r")


@dataclass(frozen=True)
class Page:
    """What stands `above` and `below` some tables, a paragraph each; the first of `above` is the headline."""

    above: Sequence[str]
    tables: Sequence[Table]
    below: Sequence[str]

    def plain(self) -> str:
        """As text, lines of prose broken at the usual width."""
        lines = [*wrapped(self.above), ""]
        for table in self.tables:
            numbers = [kind == "r" for kind in table.kinds]
            rows = aligned([table.header, *table.rows], numbers)
            for place in sorted(table.parted, reverse=True):
                rows.insert(place + 2, "┄" * len(rows[1]))
            lines += [*wrapped([table.title]), *rows, ""]
        return "\n".join([*lines, *wrapped(self.below)]) + "\n"

    def markdown(self) -> str:
        """As Markdown, prose unbroken."""
        first, *rest = self.above
        parts = [f"**{first}**", *rest]
        for table in self.tables:
            rule = ["---" if kind == "l" else "---:" for kind in table.kinds]
            parts += [f"{table.title}:"] if table.title else []
            parts.append("\n".join(map(markdown_row, (table.header, rule, *table.rows))))
        return markdown_page("\n\n".join([*parts, *self.below]) + "\n")

    def latex(self) -> str:
        r"""As LaTeX to be read with `\input`: a float for each table. It needs the package booktabs."""
        headline, *above = map(_latex_text, self.above)
        lines: list[str] = []
        for place, table in enumerate(self.tables):
            caption = f"{headline}. {_latex_text(table.title)}" if table.title else headline
            lines += [r"\begin{table}[htbp]", r"  \centering", rf"  \caption{{{caption.rstrip('. ')}.}}"]
            lines += [rf"  \begin{{tabular}}{{{table.kinds}}}", r"    \toprule", _latex_row(table.header)]
            for number, row in enumerate(table.rows):
                lines += [r"    \midrule"] if number == 0 or number in table.parted else []
                lines.append(_latex_row(row))
            lines += [r"    \bottomrule", r"  \end{tabular}"]
            notes = above * (place == 0) + [_latex_text(line) for line in self.below] * (place == len(self.tables) - 1)
            if notes:
                lines += [r"  \par\medskip", r"  \begin{minipage}{\linewidth}\footnotesize"]
                lines += ["    " + note + r"\par" for note in notes]
                lines.append(r"  \end{minipage}")
            lines += [r"\end{table}"]
        fallbacks = [
            _LATEX_FALLBACK.format(mark, ord(mark)) for mark in sorted(set("".join(lines))) if not mark.isascii()
        ]
        return "\n".join([r"% Needs \usepackage{booktabs}.", *fallbacks, *lines]) + "\n"

    def html(self) -> str:
        """As an HTML page that needs nothing else."""
        headline, *above = map(escape, self.above)
        lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">']
        lines += [f"<title>{headline}</title>", f"<style>{_STYLE}</style>", "</head>", "<body>", f"<h1>{headline}</h1>"]
        lines += [f"<p>{line}</p>" for line in above]
        for table in self.tables:
            lines += ['<div class="wide">', "<table>"]
            lines += [f"<caption>{escape(table.title)}</caption>"] if table.title else []
            lines += ["<thead>", _html_row("th", table.header, table.kinds), "</thead>", "<tbody>"]
            for number, row in enumerate(table.rows):
                lines += ["</tbody>", "<tbody>"] if number in table.parted else []
                lines.append(_html_row("td", row, table.kinds))
            lines += ["</tbody>", "</table>", "</div>"]
        lines += [f'<p class="note">{escape(line)}</p>' for line in self.below]
        return "\n".join([*lines, "</body>", "</html>"]) + "\n"


FORMATS = ("table", "json", "csv", "markdown", "latex", "html")


def rendered(form: str, page: Callable[[], Page], files: Mapping[str, Callable[[], str]]) -> str:
    """In one of `FORMATS`: what `files` has for it, else the page.

    Raises:
        RequestError: another `form`.
    """
    if form not in FORMATS:
        raise RequestError(f"Unknown format '{form}'.{suggestion(form, FORMATS)} Choose from {', '.join(FORMATS)}.")
    if form in files:
        return files[form]()
    whole = page()
    return {"table": whole.plain, "markdown": whole.markdown, "latex": whole.latex, "html": whole.html}[form]()


def aligned(cells: Sequence[Sequence[str]], numbers: Sequence[bool]) -> list[str]:
    """The lines of a table whose first row is its heading, with a rule below; `numbers` stand at the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    ]
    return [lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def wrapped(lines: Sequence[str]) -> list[str]:
    """Lines broken where they are longer than a usual terminal is wide."""
    return [part for line in lines for part in wrap(line, USUAL_WIDTH, subsequent_indent="  ", break_long_words=False)]


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(_PIPE.sub(r"\1\1\\|", markdown(cell)) for cell in cells) + " |"


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
# pdfLaTeX stops at a letter that it has no font for; where nothing else is set up for it, it prints the number.
_LATEX_FALLBACK = (
    r"\ifcsname u8:\detokenize{{{0}}}\endcsname\else"
    r"\expandafter\gdef\csname u8:\detokenize{{{0}}}\endcsname{{U+{1:04X}}}\fi"
)
_LATEX_MARKS = re.compile(
    r"(?<![\w.])-(?=\d)|-(?=-)|" + "|".join(map(re.escape, _LATEX))
)  # a minus, and what would become a dash


def _latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands."""

    def in_latex(match: re.Match[str]) -> str:
        mark, follows = match[0], text[match.end() : match.end() + 1]
        return _LATEX.get(mark) or (r"-\kern0pt{}" if follows == "-" else "$-$")

    return _LATEX_MARKS.sub(in_latex, " ".join(text.split()))


def _latex_row(cells: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex_text, cells)) + r" \\"


def _html_row(tag: str, cells: Sequence[str], kinds: str) -> str:
    marks = {"l": "", "r": ' class="number"'}
    row = "".join(f"<{tag}{marks[kind]}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
    return f"<tr>{row}</tr>"


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; }
caption { text-align: left; white-space: nowrap; padding-bottom: 0.4rem; }
th, td { padding: 0.25rem 0.6rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 1px solid; }
tbody + tbody { border-top: 1px dashed; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.note { font-size: 0.85rem; margin: 0.3rem 0; opacity: 0.85; }
"""
