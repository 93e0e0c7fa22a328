"""The content of a report as plain data, in reading order. `rendering` turns it into HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from harness.tabular import Table

SortKey = float | str | None
"""The sort key of a cell. None is last in both directions."""


@dataclass(frozen=True)
class Column:
    """A column of a table. Adjacent columns with the same `group` share an upper heading; `wraps`: cells may wrap."""

    heading: str
    is_number: bool = False
    group: str = ""
    wraps: bool = False


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and its sort key."""

    text: str
    key: SortKey = None


@dataclass(frozen=True)
class ReportRow:
    """A row of a table; its first cell names it. A `muted` row is not ranked by its gap, and shown in grey."""

    cells: tuple[Cell, ...]
    muted: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table with a `caption` above and `notes` below it."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[ReportRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The upper headings with the number of columns that each spans; empty if no column has a group."""
        spans = [(group, len(list(of))) for group, of in groupby(self.columns, key=lambda column: column.group)]
        single = [[(group, span)] if group else [("", 1)] * span for group, span in spans]
        return [each for of in single for each in of] if any(group for group, _ in spans) else []

    @property
    def plain(self) -> Table:
        """The table with one row of headings: the group's heading is put before that of the column."""
        headings = [f"{column.group}: {column.heading}" if column.group else column.heading for column in self.columns]
        rows = [[cell.text for cell in line.cells] for line in self.lines]
        return Table("", headings, rows, "".join("r" if column.is_number else "l" for column in self.columns))


@dataclass(frozen=True)
class ReportFigure:
    """A figure as PNG of `width` x `height` pixels, to be shown at half that size.

    `name` is a file name without suffix. `alt` is the text for readers who cannot see the figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    width: int
    height: int


Facts = tuple[tuple[str, str], ...]
"""Facts about the runs, such as `("seed", "0, 1, 2")`."""


@dataclass(frozen=True)
class Rerun:
    """How to reproduce the runs: commands, each with what it makes, and notes."""

    commands: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The content of a report, in reading order.

    `answer` is one line. `expected` is what the study expected beforehand, `corrected` says for how many tests the
    p-values are corrected; both may be empty. `tests` is None without a test, `stages` if no run finished, `failures`
    if every run finished.
    """

    title: str
    answer: str
    question: str
    expected: str
    varied: Facts
    shared: Facts
    origin: Facts
    findings: tuple[str, ...]
    corrected: str
    warnings: tuple[str, ...]
    ranking: ReportTable
    tests: ReportTable | None
    stages: ReportTable | None
    failures: ReportTable | None
    rerun: Rerun
    method: tuple[str, ...]
    made: str
    figures: tuple[ReportFigure, ...] = ()
