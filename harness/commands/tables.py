"""Tables of plain text: as wide as they need, the same on a terminal and in a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence

_SHORTEST = 12


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> list[str]:
    """The lines of a table under its `header`; the columns named in `numbers` are aligned at their right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for heading, cell, width in zip(header, row, widths, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]
    return [lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def fitted_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), shorten: str = "name"
) -> list[str]:
    """As `text_table`; on a terminal that is too narrow, the longest cells of the column `shorten` are cut."""
    place = header.index(shorten)
    over = len(text_table(header, rows, numbers)[1]) - shutil.get_terminal_size().columns
    if sys.stdout.isatty() and over > 0 and rows:
        room = max(_SHORTEST, max(len(row[place]) for row in rows) - over)
        cut = [row[place] if len(row[place]) <= room else f"{row[place][: room - 1]}…" for row in rows]
        rows = [[*row[:place], cell, *row[place + 1 :]] for row, cell in zip(rows, cut, strict=True)]
    return text_table(header, rows, numbers)
