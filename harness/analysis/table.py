"""A comparison as a table for people, on a terminal or as plain text.

Accuracies and their gaps are percentages and points here, with one decimal: on 10,000 test images the standard
error alone is about 0.3 points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.comparison import COUNT, Comparison, Row
from harness.analysis.settings import ABSENT, headings
from harness.config import Config, flatten

USUAL_WIDTH = 100
_ALWAYS_NAMED = (
    "dataset.name", "model.name", "optimizer.name", "optimizer.learning_rate", "regime.epochs", "regime.batch_size",
)  # fmt: skip
_NAMED_OPTIONS = ("optimizer.momentum", "optimizer.weight_decay")
_SCORE_HEADINGS = {
    "train_accuracy": "train %",
    "val_accuracy": "val %",
    "test_accuracy": "test %",
    "gap_val_accuracy": "gap val",
    "gap_test_accuracy": "gap test",
    "gap_val_loss": "loss gap",
    "gap_test_loss": "loss gap",
}
_UNFINISHED = "state"


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
    console.print(_table(comparison, columns))
    console.print()
    for line in legend(comparison):
        console.print(Text(line, style="dim"))
    for line in warnings(comparison):
        console.print(Text(line, style="yellow"))
    if left_out:
        console.print(Text(f"Left out for want of room: {', '.join(left_out)}; --format csv has them.", style="dim"))


def plain_table(comparison: Comparison) -> str:
    """Title, constants, table and legend as text, as wide as the table needs; nothing is folded or left out.

    Made by hand: laying out thousands of rows takes rich seconds.
    """
    columns = table_columns(comparison)
    cells = [[_marked(comparison, column) for column in columns]]
    cells += [[column.cell(row) for column in columns] for row in comparison.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in cells
    ]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    above = [headline(comparison), *context(comparison)]
    below = [*legend(comparison), *warnings(comparison)]
    return "\n".join([*_wrapped(above), "", lines[0], rule, *lines[1:], "", *_wrapped(below)]) + "\n"


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in wrap(line, USUAL_WIDTH, subsequent_indent="  ", break_long_words=False)]


def _table(comparison: Comparison, columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(_marked(comparison, column)),
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number,
            overflow="fold",
            style="bold" if column.name == comparison.sorted_by else None,
        )
    for row in comparison.rows:
        table.add_row(*(Text(column.cell(row)) for column in columns))
    return table


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


def table_columns(comparison: Comparison) -> list[Column]:
    """The columns that people are shown: all but the gap in loss of the split that is not ranked."""
    short = headings(comparison.settings)
    columns = [Column(key, short[key], False, partial(_setting, key)) for key in comparison.settings]
    columns.append(Column(COUNT, COUNT, True, _count))
    if comparison.finished < comparison.runs:
        columns.append(Column(_UNFINISHED, _UNFINISHED, False, _states))
    losses = [name for name in comparison.scores if name.endswith("_loss")]
    kept = {f"gap_{comparison.held_out}_loss", comparison.sorted_by}
    for name in comparison.scores:
        if name not in losses or name in kept:
            heading = _SCORE_HEADINGS[name]
            if name in losses and kept.issuperset(losses) and len(losses) > 1:
                heading += f" {name.split('_')[1]}"
            columns.append(Column(name, heading, True, partial(_score, name)))
    return columns


def _expendable(comparison: Comparison, columns: Sequence[Column]) -> list[str]:
    other = "test" if comparison.held_out == "val" else "val"
    order = [f"gap_{other}_loss", f"gap_{comparison.held_out}_loss", f"gap_{other}_accuracy", f"{other}_accuracy"]
    present = {column.name for column in columns} - {comparison.sorted_by}
    return [name for name in order if name in present]


def _setting(key: str, row: Row) -> str:
    return row.settings[key]


def _count(row: Row) -> str:
    return str(row.n) if row.finished == row.n else f"{row.finished}/{row.n}"


def _states(row: Row) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in row.unfinished.items())


def _score(name: str, row: Row) -> str:
    score = row.scores.get(name)
    if score is None:
        return "-"
    scale, decimals = (1, 3) if name.endswith("_loss") else (100, 1)
    sign = "+" if name.startswith("gap_") else ""
    text = f"{scale * score.mean:{sign}.{decimals}f}"
    if score.deviation is not None:
        text += f" ± {scale * score.deviation:.{decimals}f}"
    return text if score.n == row.finished else f"{text} (n={score.n})"


def headline(comparison: Comparison) -> str:
    """What is compared, and how much of it."""
    runs = _counted(comparison.runs, "run")
    return f"{comparison.title or 'Comparison'}: {runs}, {_counted(len(comparison.rows), 'configuration')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def context(comparison: Comparison) -> list[str]:
    """The constant settings that a reader wants named, and how the important ones follow from what is shown."""
    defaults = {key: str(value) for key, value in flatten(Config()).items()}
    named = [key for key in comparison.constants if _is_named(key, comparison.constants[key], defaults)]
    short = headings([*comparison.settings, *comparison.follows, *named])
    lines = []
    if named:
        lines.append("All: " + ", ".join(f"{short[key]} {comparison.constants[key]}" for key in named))
    for key, source in comparison.follows.items():
        if key in _ALWAYS_NAMED:
            lines.append(f"By {short[source]}: {short[key]} {_by_value(comparison, key, source)}")
    return lines


def _by_value(comparison: Comparison, key: str, source: str) -> str:
    """The values of a setting that follows from another: `0.001 for adam, rmsprop; 0.01 for sgd`."""
    sources: dict[str, set[str]] = {}
    for row in comparison.rows:
        for run in row.runs:
            sources.setdefault(run.parameters.get(key, ABSENT), set()).add(run.parameters.get(source, ABSENT))
    return "; ".join(f"{value} for {', '.join(sorted(of))}" for value, of in sorted(sources.items()))


def _is_named(key: str, value: str, defaults: Mapping[str, str]) -> bool:
    if key in _ALWAYS_NAMED:
        return True
    if key.startswith("optimizer."):  # the schema's defaults are null; the rest is Keras's own default as a rule
        return key in _NAMED_OPTIONS and value not in ("None", "0.0")
    return key in defaults and value != defaults[key]


def legend(comparison: Comparison) -> list[str]:
    """How to read the numbers, and where the runs can be seen."""
    lines = ["Gaps: accuracy train - held-out in points, loss held-out - train. Positive means overfitting."]
    if any(row.finished > 1 for row in comparison.rows):
        lines.append("Mean ± sample standard deviation over the n finished runs of a row, which differ in seed only.")
    lines.append("The runs in MLflow's own pages: harness ui")
    return lines


def warnings(comparison: Comparison) -> list[str]:
    """What weakens the comparison: unfinished runs and repeated ones."""
    lines = []
    if unfinished := comparison.runs - comparison.finished:
        lines.append(f"{_counted(unfinished, 'run')} did not finish: counted in n as finished/all, in no mean.")
    if comparison.repeats:
        lines.append(
            f"{_counted(comparison.repeats, 'run')} repeat a configuration and seed that another has too: "
            "equal numbers counted again make ± too small."
        )
    return lines
