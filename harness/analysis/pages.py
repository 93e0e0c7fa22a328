"""Lines and tables as plain text or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.presenting import markdown_row
from harness.analysis.table import aligned, wrapped
from harness.text import markdown_page


@dataclass(frozen=True)
class Table:
    """Cells below their `header`, under a `title`; the first `labels` columns are text, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 0


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
            numbers = [place >= table.labels for place in range(len(table.header))]
            lines += [*wrapped([table.title]), *aligned([table.header, *table.rows], numbers), ""]
        return "\n".join([*lines, *wrapped(self.below)]) + "\n"

    def markdown(self) -> str:
        """As Markdown, prose unbroken."""
        first, *rest = self.above
        parts = [f"**{first}**", *rest]
        for table in self.tables:
            rule = ["---" if place < table.labels else "---:" for place in range(len(table.header))]
            parts += [f"{table.title}:", "\n".join(map(markdown_row, (table.header, rule, *table.rows)))]
        return markdown_page("\n\n".join([*parts, *self.below]) + "\n")
