"""What a report says, as plain data in the order in which it is read. How it looks is up to
rendering.py."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from harness.tabular import Table

Key = float | str | None
"""What a cell is sorted by; None comes last whichever way."""


@dataclass(frozen=True)
class Column:
    """A column of a table. Columns that follow each other under the same `group` stand under one heading; the cells of
    one that `wraps` may take several lines."""

    heading: str
    is_number: bool = False
    group: str = ""
    wraps: bool = False


@dataclass(frozen=True)
class Cell:
    """What is read, and what it is sorted by."""

    text: str
    key: Key = None


@dataclass(frozen=True)
class ReportRow:
    """A row of a table; the first cell names it. `muted` ones stand back: they are not ranked by their gap."""

    cells: tuple[Cell, ...]
    muted: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table with what is said above (`caption`) and below it (`notes`)."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[ReportRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The upper headings and how many columns each spans; none where no column is in a group."""
        spans = [(group, len(list(of))) for group, of in groupby(self.columns, key=lambda column: column.group)]
        single = [[(group, span)] if group else [("", 1)] * span for group, span in spans]
        return [each for of in single for each in of] if any(group for group, _ in spans) else []

    @property
    def plain(self) -> Table:
        """With one row of headings: that of a group stands before its columns' own."""
        headings = [f"{column.group}: {column.heading}" if column.group else column.heading for column in self.columns]
        rows = [[cell.text for cell in line.cells] for line in self.lines]
        return Table("", headings, rows, "".join("r" if column.is_number else "l" for column in self.columns))


@dataclass(frozen=True)
class ReportFigure:
    """A figure as PNG of `width` x `height` dots, twice as many as it is meant to be shown at.

    `name` is that of a file without its suffix; `alt` says in words what the figure shows to whoever cannot see it.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    width: int
    height: int


Facts = tuple[tuple[str, str], ...]
"""What is known of the runs: names and values."""


@dataclass(frozen=True)
class Again:
    """How the same runs are made again: commands with what each does, then what to mind."""

    commands: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a report says, in reading order.

    `answer` is one line. `expected` is what the study said beforehand, `corrected` for how many tests p-values are
    corrected; both are empty where there is nothing to say. `tests`, `stages` and `failures`
    are None where there is nothing to test, where no run finished, and where every run did.
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
    again: Again
    method: tuple[str, ...]
    made: str
    figures: tuple[ReportFigure, ...] = ()
