"""What a report says, as plain data in the order in which it is read. How it looks is up to html.py and markdown.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
class Line:
    """A row of a table; the first cell names it. `muted` ones stand back: they are not ranked by their gap."""

    cells: tuple[Cell, ...]
    muted: bool = False


@dataclass(frozen=True)
class Table:
    """A table with what is said above (`caption`) and below it (`notes`)."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The upper headings and how many columns each spans; none where no column is in a group."""
        found: list[tuple[str, int]] = []
        if not any(column.group for column in self.columns):
            return found
        for column in self.columns:
            if found and found[-1][0] == column.group and column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found


@dataclass(frozen=True)
class Picture:
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


@dataclass(frozen=True)
class Failure:
    """A run that did not finish: its name and id, its state in a word, why, and where the log says more."""

    run: str
    run_id: str
    state: str
    reason: str
    log: str


@dataclass(frozen=True)
class Fact:
    """One thing that is known of the runs: what it is called, and what it is."""

    name: str
    value: str


@dataclass(frozen=True)
class Again:
    """How the same runs are made again: commands with what each does, then what to mind."""

    commands: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a report says, in reading order.

    `answer` is one line. `expected` is what the study said beforehand, `corrected` for how many tests p-values are
    corrected; both are empty where there is nothing to say. `tests` and `stages` are None where
    there is nothing to test, or where no run finished.
    """

    title: str
    answer: str
    question: str
    expected: str
    varied: tuple[Fact, ...]
    shared: tuple[Fact, ...]
    origin: tuple[Fact, ...]
    findings: tuple[str, ...]
    corrected: str
    warnings: tuple[str, ...]
    ranking: Table
    tests: Table | None
    stages: Table | None
    failures: tuple[Failure, ...]
    failures_left_out: int
    again: Again
    method: tuple[str, ...]
    made: str
    pictures: tuple[Picture, ...] = field(default=())


def shortened(items: Sequence[str], most: int, parted: str = ", ") -> str:
    """The items parted by commas; of more than `most` only the first, and how many more there are."""
    if len(items) <= most:
        return parted.join(items)
    return f"{parted.join(items[:most])} and {len(items) - most:,} more"
