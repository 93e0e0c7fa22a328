"""Tables of text, shown in a terminal (rich) or written as LaTeX (pandas), HTML (Jinja2), Markdown or JSON.

A table is shown with rich alone. pandas takes most of a second to import, so it is only imported to write a file.
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
"""For rich: a line below the header, a dashed line between parts, no other borders."""


@dataclass(frozen=True)
class Table:
    """Rows of cells with a `header` and a `title`.

    `columns` has a letter for each column: `l` for text, `r` for numbers. Columns beyond its length are numbers.
    `parted` has indices of rows that begin a new part, with a line above them.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    columns: str = ""
    parted: Collection[int] = ()

    @property
    def kinds(self) -> str:
        """`columns`, with a letter for every column."""
        return self.columns.ljust(len(self.header), "r")

    @property
    def parts(self) -> list[Sequence[Sequence[str]]]:
        """The rows of each part."""
        ends = [0, *sorted(self.parted), len(self.rows)]
        return [self.rows[start:end] for start, end in pairwise(ends)]

    @property
    def widths(self) -> list[int]:
        """The width of each column in terminal cells, with no cell wrapped."""
        from rich.cells import cell_len

        return [max(map(cell_len, cells)) for cells in zip(self.header, *self.rows, strict=True)]

    @property
    def width(self) -> int:
        """The width of the table in terminal cells, with no cell wrapped."""
        return sum(self.widths) + 2 * (len(self.header) - 1)

    def fitted(self, room: float, expendable: Sequence[int]) -> tuple[Table, list[int]]:
        """The table without the columns that make it wider than `room`, and the indices of these columns.

        Columns at the indices `expendable` are left out one by one, in this order, until the table fits.
        """
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
        """The table for a rich console. Text that does not fit is wrapped.

        The column with the heading `bold` is bold; `styles` has rich styles by row index.
        """
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
        """The table as lines of text at full width. If the terminal is too narrow, the column `shorten` is cut.

        rich only measures the cells here, because it needs seconds to lay out thousands of rows.
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
        """The table as Markdown, without the title."""
        rule = ["---" if kind == "l" else "---:" for kind in self.kinds]
        return "\n".join(map(markdown_row, (self.header, rule, *self.rows)))

    def latex(self) -> str:
        """The table as a LaTeX `tabular` environment with the rules of booktabs."""
        import pandas

        frame = pandas.DataFrame([[*map(latex, row)] for row in self.rows], columns=[*map(latex, self.header)])
        lines = frame.to_latex(index=False, escape=False, column_format=self.kinds).splitlines()
        for place in sorted(self.parted, reverse=True):
            lines.insert(lines.index(r"\midrule") + 1 + place, r"\midrule")
        return "\n".join(lines)


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), shorten: str = ""
) -> list[str]:
    """The lines of a table. Columns named in `numbers` are right-aligned; `shorten`: see `Table.lines`."""
    kinds = "".join("r" if heading in numbers else "l" for heading in header)
    return Table("", header, rows, kinds).lines(shorten)


@dataclass(frozen=True)
class Page:
    """Tables with paragraphs `above` and `below` them. The first paragraph of `above` is the headline."""

    above: Sequence[str]
    tables: Sequence[Table]
    below: Sequence[str]

    def plain(self) -> str:
        """The page as text, with prose wrapped at `USUAL_WIDTH`."""
        lines = [*wrapped(self.above), ""]
        for table in self.tables:
            lines += [*wrapped([table.title]), *table.lines(), ""]
        return "\n".join([*lines, *wrapped(self.below)]) + "\n"

    def markdown(self) -> str:
        """The page as Markdown, with prose not wrapped."""
        first, *rest = self.above
        parts = [f"**{first}**", *rest]
        for table in self.tables:
            parts += [f"{table.title}:"] if table.title else []
            parts.append(table.markdown())
        return markdown_page("\n\n".join([*parts, *self.below]) + "\n")

    def latex(self) -> str:
        r"""The page as LaTeX for `\input`: a float for each table. It needs the package booktabs."""
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
        RequestError: `form` is not one of `FORMATS`.
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
    """`document` as JSON. NaN and infinity become null; tuples and other iterables become lists."""
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
    """The lines, wrapped at `USUAL_WIDTH`."""
    return [part for line in lines for part in wrap(line, USUAL_WIDTH, subsequent_indent="  ", break_long_words=False)]
