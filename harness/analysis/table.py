"""A comparison as a table for people, on a terminal or as plain text.

Accuracies and their gaps are percentages and points here, with one decimal: the standard error that 10,000 test images
alone make is about 0.3 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

from harness.analysis.comparison import Comparison
from harness.analysis.legend import context, headline, legend, warnings
from harness.analysis.ordering import COUNT
from harness.analysis.pages import Page, Table
from harness.analysis.rows import SCORES, IntervalOver, Row, Score
from harness.analysis.settings import headings
from harness.records import Place

_UNFINISHED, _PLACE = "state", "place"


@dataclass(frozen=True)
class Column:
    """A column as people read it; `name` is what the comparison can be sorted by."""

    name: str
    heading: str
    is_number: bool
    cell: Callable[[Row], str]


def print_table(comparison: Comparison, console: Console) -> None:
    """Print title, constants, table and legend in the console's width.

    Settings are folded rather than cut. Where that does not make enough room, the columns that matter least for the
    ranking are left out, and a line says which.
    """
    columns, left_out = table_columns(comparison), []
    for name in _expendable(comparison, columns):
        if _width(comparison, columns) <= console.width:
            break
        columns = [column for column in columns if column.name != name]
        left_out.append(name)
    console.print(Text(headline(comparison), style="bold"))
    for line in context(comparison):
        console.print(Text(line))
    console.print()
    console.print(_rich_table(comparison, columns))
    console.print()
    for line in legend(comparison):
        console.print(Text(line, style="dim"))
    for line in warnings(comparison):
        console.print(Text(line, style="yellow"))
    if left_out:
        console.print(Text(f"Left out for want of room: {', '.join(left_out)}; --format csv has them.", style="dim"))


def plain_table(comparison: Comparison) -> str:
    """Title, constants, table and legend as text, as wide as the table needs.

    Made by hand: laying out thousands of rows takes rich seconds.
    """
    return page(comparison).plain()


def page(comparison: Comparison, where: bool = True) -> Page:
    """Title, constants, table and legend: nothing is folded or left out. `where`: say where the runs can be seen."""
    columns = table_columns(comparison)
    header = [_marked(comparison, column) for column in columns]
    rows = [[column.cell(row) for column in columns] for row in comparison.rows]
    kinds = "".join("r" if column.is_number else "l" for column in columns)
    above = [headline(comparison), *context(comparison)]
    read = legend(comparison)
    below = [*(read if where else read[:-1]), *warnings(comparison)]
    return Page(above, [Table("", header, rows, kinds, _parted_at(comparison))], below)


def _rich_table(comparison: Comparison, columns: Sequence[Column]) -> rich.table.Table:
    table = rich.table.Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(_marked(comparison, column)),
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number,
            overflow="fold",
            style="bold" if column.name == comparison.sorted_by else None,
        )
    parted = set(_parted_at(comparison))
    for place, row in enumerate(comparison.rows):
        if place in parted:
            table.add_section()
        table.add_row(*(Text(column.cell(row)) for column in columns), style="dim" if row.underfit else None)
    return table


def _parted_at(comparison: Comparison) -> list[int]:
    """Before which rows a line parts those that are ranked from those that are not, or those of other images."""
    if not comparison.ranked:
        return []
    marks = [(row.judged_on, row.underfit) for row in comparison.rows]
    return [
        place
        for place in range(1, len(marks))
        if marks[place][0] != marks[place - 1][0] or (marks[place][1] and not marks[place - 1][1])
    ]


def _width(comparison: Comparison, columns: Sequence[Column]) -> int:
    """What the table takes if nothing is folded: its longest cells, and two spaces between columns."""
    longest = (
        max([len(_marked(comparison, column)), *(len(column.cell(row)) for row in comparison.rows)])
        for column in columns
    )
    return sum(longest) + 2 * (len(columns) - 1)


def _marked(comparison: Comparison, column: Column) -> str:
    if column.name != comparison.sorted_by:
        return column.heading
    return f"{column.heading} {'▲' if comparison.ascending else '▼'}"


def _heading(comparison: Comparison, name: str) -> str:
    """A score's heading; † where its split was used to select something, ‡ where it rests on running averages."""
    selected = any(split in comparison.selected_on for split in name.split("_"))
    running = comparison.reading.running and name.startswith(("train_", "gap_"))
    return SCORES[name] + ("†" if selected else "") + ("‡" if running else "")


def table_columns(comparison: Comparison) -> list[Column]:
    """The columns that people are shown: all but the gap in loss of the split that is not ranked."""
    short = headings(comparison.settings)
    columns = [Column(key, short[key], False, partial(_setting, key)) for key in comparison.settings]
    columns.append(Column(COUNT, COUNT, True, _count))
    if any(row.incomplete for row in comparison.rows):
        columns.append(Column(_UNFINISHED, _UNFINISHED, False, _states))
    losses = [name for name in comparison.scores if name.startswith("gap_") and name.endswith("_loss")]
    kept = {f"gap_{comparison.held_out}_loss", comparison.sorted_by}
    for name in comparison.scores:
        if name not in losses or name in kept:
            heading = _heading(comparison, name)
            if name in losses and kept.issuperset(losses) and len(losses) > 1:
                heading += f" {name.split('_')[1]}"
            columns.append(Column(name, heading, True, partial(_score, name, comparison.interval)))
    if comparison.configurations > 1:
        columns.append(Column(_PLACE, _PLACE, False, _place))
    return columns


def _expendable(comparison: Comparison, columns: Sequence[Column]) -> list[str]:
    other = "test" if comparison.held_out == "val" else "val"
    order = [f"gap_{other}_loss", f"gap_{comparison.held_out}_loss", _PLACE]
    order += [f"gap_{other}_accuracy", f"{other}_accuracy", _UNFINISHED, "train_accuracy"]
    present = {column.name for column in columns} - {comparison.sorted_by}
    return [name for name in order if name in present]


def _setting(key: str, row: Row) -> str:
    return row.settings[key]


def _count(row: Row) -> str:
    return f"{row.finished}/{row.expected}" if row.incomplete else str(row.replicates)


def _states(row: Row) -> str:
    states = [f"{count} {state.lower()}" for state, count in row.unfinished.items()]
    return ", ".join(states + ([f"{len(row.missing)} missing"] if row.missing else []))


def _place(row: Row) -> str:
    known = row.place is Place.FRONT and not math.isnan(row.front_share)
    return f"{row.place} {100 * row.front_share:.0f} %" if known else row.place.value


def _score(name: str, over: IntervalOver, row: Row) -> str:
    score = row.scores.get(name)
    if score is None:
        return "-"
    text = _value(name, over, score)
    return text if score.n == row.replicates else f"{text} (n={score.n})"


def _value(name: str, over: IntervalOver, score: Score) -> str:
    scale, decimals = (1, 3) if name.endswith("_loss") else (100, 1)
    sign = "+z" if name.startswith("gap_") else ""
    text, interval = f"{scale * score.mean:{sign}.{decimals}f}", score.interval_over(over)
    return text if interval is None else f"{text} ± {scale * interval.half_width:.{decimals}f}"
