"""Tables of text: laid out for a terminal by rich; written as CSV and LaTeX by pandas, as HTML by Jinja2, as Markdown.

Only rich is imported to show a table. pandas takes most of a second: it is imported where a file is written.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, suggestion
from harness.text import latex, latex_fallbacks, markdown_page, markdown_row

if TYPE_CHECKING:
    import rich.table

USUAL_WIDTH = 100
_SHORTEST = 12
_BOX = "    \n    \n ── \n    \n ┄┄ \n    \n    \n    \n"
"""A rule below the heading, a dashed one between parts, and nothing else."""


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

    @property
    def parts(self) -> list[Sequence[Sequence[str]]]:
        """The rows, parted."""
        ends = [0, *sorted(self.parted), len(self.rows)]
        return [self.rows[start:end] for start, end in pairwise(ends)]

    @property
    def widths(self) -> list[int]:
        """What each column takes of a terminal if nothing is folded."""
        from rich.cells import cell_len

        return [max(map(cell_len, cells)) for cells in zip(self.header, *self.rows, strict=True)]

    @property
    def width(self) -> int:
        """What the table takes then."""
        return sum(self.widths) + 2 * (len(self.header) - 1)

    def fitted(self, room: float, expendable: Sequence[int]) -> tuple[Table, list[int]]:
        """The table without as many of the columns at `expendable`, in this order, as make it wider than `room`; and
        which were left out."""
        table, left_out = self, list[int]()
        for place in expendable:
            if table.width <= room:
                break
            left_out.append(place)
            kept = [place for place in range(len(self.header)) if place not in left_out]
            header, *rows = ([cells[place] for place in kept] for cells in (self.header, *self.rows))
            table = replace(self, header=header, rows=rows, columns="".join(self.kinds[place] for place in kept))
        return table, left_out

    def grid(self, bold: str | None = None, styles: Mapping[int, str] | None = None) -> rich.table.Table:
        """The table for a rich console; the column of the heading `bold` is so, rows have the `styles` at their places.
        Text that finds no room takes several lines."""
        from rich.box import Box
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=Box(_BOX), pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for heading, kind in zip(self.header, self.kinds, strict=True):
            grid.add_column(
                Text(heading), justify="right" if kind == "r" else "left", style="bold" if heading == bold else None,
                no_wrap=kind == "r", overflow="fold",
            )  # fmt: skip
        for number, row in enumerate(self.rows):
            if number in self.parted:
                grid.add_section()
            grid.add_row(*map(Text, row), style=(styles or {}).get(number))
        return grid

    def lines(self, shorten: str = "") -> list[str]:
        """As text, as wide as it needs. On a terminal that is too narrow for it the longest cells of the column
        `shorten` are cut.

        Only the sizes are rich's: to lay out thousands of rows takes it seconds.
        """
        from rich.cells import cell_len, set_cell_size

        widths, whole = self.widths, self.width
        over = whole - shutil.get_terminal_size().columns
        if shorten and over > 0 and sys.stdout.isatty():
            place = list(self.header).index(shorten)
            widths[place] = min(widths[place], max(_SHORTEST, widths[place] - over))
            whole = sum(widths) + 2 * (len(widths) - 1)

        def sized(cell: str, width: int, kind: str) -> str:
            room = width - cell_len(cell)
            if room < 0:
                return f"{set_cell_size(cell, width - 1)}…"
            return " " * room + cell if kind == "r" else cell + " " * room

        lines = ["  ".join(map(sized, cells, widths, self.kinds)).rstrip() for cells in (self.header, *self.rows)]
        for place in sorted(self.parted, reverse=True):
            lines.insert(place + 1, "┄" * whole)
        return [lines[0], "─" * whole, *lines[1:]]

    def markdown(self) -> str:
        """As Markdown, without the title."""
        rule = ["---" if kind == "l" else "---:" for kind in self.kinds]
        return "\n".join(map(markdown_row, (self.header, rule, *self.rows)))

    def latex(self) -> str:
        """As the environment `tabular` with the rules of booktabs."""
        import pandas

        frame = pandas.DataFrame([[*map(latex, row)] for row in self.rows], columns=[*map(latex, self.header)])
        lines = frame.to_latex(index=False, escape=False, column_format=self.kinds).splitlines()
        for place in sorted(self.parted, reverse=True):
            lines.insert(lines.index(r"\midrule") + 1 + place, r"\midrule")
        return "\n".join(lines)


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), shorten: str = ""
) -> list[str]:
    """The lines of a table; the columns named in `numbers` are aligned at their right. `shorten`: see `Table.lines`."""
    kinds = "".join("r" if heading in numbers else "l" for heading in header)
    return Table("", header, rows, kinds).lines(shorten)


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
            lines += [*wrapped([table.title]), *table.lines(), ""]
        return "\n".join([*lines, *wrapped(self.below)]) + "\n"

    def markdown(self) -> str:
        """As Markdown, prose unbroken."""
        first, *rest = self.above
        parts = [f"**{first}**", *rest]
        for table in self.tables:
            parts += [f"{table.title}:"] if table.title else []
            parts.append(table.markdown())
        return markdown_page("\n\n".join([*parts, *self.below]) + "\n")

    def latex(self) -> str:
        r"""As LaTeX to be read with `\input`: a float for each table. It needs the package booktabs."""
        headline, *above = map(latex, self.above)
        floats = []
        for place, table in enumerate(self.tables):
            caption = f"{headline}. {latex(table.title)}" if table.title else headline
            notes = above * (place == 0) + [latex(line) for line in self.below] * (place == len(self.tables) - 1)
            if notes:
                notes = [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize",
                         *(note + r"\par" for note in notes), r"\end{minipage}"]  # fmt: skip
            floats += [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{caption.rstrip('. ')}.}}", table.latex(),
                       *notes, r"\end{table}"]  # fmt: skip
        text = "\n".join(floats)
        return "\n".join([r"% Needs \usepackage{booktabs}.", *latex_fallbacks(text), text]) + "\n"

    def html(self) -> str:
        """As an HTML page that needs nothing else."""
        return self._filled("page.html")

    def cell(self) -> str:
        """As a part of an HTML page, for the cell of a notebook."""
        return self._filled("cell.html")

    def _filled(self, template: str) -> str:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("harness.tabular"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            keep_trailing_newline=True,
        )  # fmt: skip
        return environment.get_template(template).render(page=self)


FORMATS = ("table", "json", "csv", "markdown", "latex", "html")
CELL = "cell"
"""The format in which a notebook shows tables; no command offers it."""


def rendered(form: str, page: Callable[[], Page], files: Mapping[str, Callable[[], str]]) -> str:
    """In one of `FORMATS`, or as a `CELL`: what `files` has for it, else the page.

    Raises:
        RequestError: another `form`.
    """
    if form not in (*FORMATS, CELL):
        raise RequestError(f"Unknown format '{form}'.{suggestion(form, FORMATS)} Choose from {', '.join(FORMATS)}.")
    if form in files:
        return files[form]()
    whole = page()
    forms = {
        "table": whole.plain, "markdown": whole.markdown, "latex": whole.latex, "html": whole.html, CELL: whole.cell,
    }  # fmt: skip
    return forms[form]()


def json_text(document: object) -> str:
    """As JSON, which has no NaN and no infinity: null. A value of several, such as an interval, is a list."""
    return json.dumps(_in_json(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _in_json(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _in_json(of) for key, of in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_in_json(of) for of in value]
    return value


def wrapped(lines: Sequence[str]) -> list[str]:
    """Lines broken where they are longer than a usual terminal is wide."""
    return [part for line in lines for part in wrap(line, USUAL_WIDTH, subsequent_indent="  ", break_long_words=False)]
