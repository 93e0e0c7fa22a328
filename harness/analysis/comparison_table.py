"""The table of `harness compare` in each format: terminal, JSON, CSV, Markdown, LaTeX and HTML.

JSON and CSV have the fractions of the store with all digits. The other formats are for people: accuracies in percent
and gaps in points, with one decimal, because 10,000 test images alone give a standard error of about 0.3 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.analysis.comparison import Comparison
from harness.analysis.legend import context, headline, legend, warnings
from harness.analysis.measures import amount, is_gap
from harness.analysis.ranking import COUNT
from harness.analysis.rows import SCORES, IntervalOver, MeanScore, Row, heading_of
from harness.analysis.settings import SEED, headings
from harness.analysis.statistics import LEVEL, Interval, bca_intervals
from harness.records import Place, RunState
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text

_UNKNOWN = (None, None)
_UNFINISHED, _PLACE = "state", "place"


@dataclass(frozen=True)
class ShownColumn:
    """A column of the tables for people; `name` is the name for sorting."""

    name: str
    heading: str
    is_number: bool
    cell: Callable[[Row], str]


def render(comparison: Comparison, form: str) -> str:
    """The comparison in one of `tabular.FORMATS`, ending with a line break.

    Raises:
        RequestError: another `form`.
    """
    files = {"json": _json, "csv": _csv, "markdown": _markdown, "table": plain_table}
    made = {name: partial(make, comparison) for name, make in files.items()}
    return rendered(form, lambda: _page(comparison, legend(comparison)[:-1]), made)


def print_table(comparison: Comparison, console: Console) -> None:
    """Print title, constants, table and legend in the width of the console.

    Long settings are folded, not cut. If the table is still too wide, the columns that matter least for the ranking are
    left out, and a line names them.
    """
    columns = table_columns(comparison)
    names = [column.name for column in columns]
    whole = _table(comparison, columns)
    table, left_out = whole.fitted(console.width, [*map(names.index, _expendable(comparison, columns))])
    ranked_by = whole.header[names.index(comparison.sorted_by)] if comparison.sorted_by in names else None
    underfit = {place: "dim" for place, row in enumerate(comparison.rows) if row.underfit}
    console.print(Text(headline(comparison), style="bold"))
    for line in context(comparison):
        console.print(Text(line))
    console.print()
    console.print(table.grid(ranked_by, underfit))
    console.print()
    for line in legend(comparison):
        console.print(Text(line, style="dim"))
    for line in warnings(comparison):
        console.print(Text(line, style="yellow"))
    if left_out:
        without = ", ".join(names[place] for place in left_out)
        console.print(Text(f"Left out for want of room: {without}; --format csv has them.", style="dim"))


def plain_table(comparison: Comparison) -> str:
    """Title, constants, table and legend as text, as wide as the table needs."""
    return _page(comparison, legend(comparison)).plain()


def _markdown(comparison: Comparison) -> str:
    order = "ascending" if comparison.ascending else "descending"
    read = f"Sorted by `{comparison.sorted_by}`, {order}. " + " ".join(legend(comparison)[:-1])
    return _page(comparison, [read], marked=False).markdown()


def _page(comparison: Comparison, read: Sequence[str], marked: bool = True) -> Page:
    """The complete page; `read` are the lines of the legend."""
    table = _table(comparison, table_columns(comparison), marked)
    return Page([headline(comparison), *context(comparison)], [table], [*read, *warnings(comparison)])


def _table(comparison: Comparison, columns: Sequence[ShownColumn], marked: bool = True) -> Table:
    """The table; `marked`: an arrow marks the column by which the rows are sorted."""
    mark = {comparison.sorted_by: f" {'▲' if comparison.ascending else '▼'}"} if marked else {}
    header = [column.heading + mark.get(column.name, "") for column in columns]
    rows = [[column.cell(row) for column in columns] for row in comparison.rows]
    kinds = "".join("r" if column.is_number else "l" for column in columns)
    return Table("", header, rows, kinds, _parted_at(comparison))


def _parted_at(comparison: Comparison) -> list[int]:
    """The rows before which a line is drawn: between ranked and underfit rows, and between groups of other images."""
    if not comparison.ranked:
        return []
    marks = [(row.scored_on, row.underfit) for row in comparison.rows]
    return [
        place
        for place, ((images, was_underfit), (others, is_underfit)) in enumerate(pairwise(marks), 1)
        if images != others or (is_underfit and not was_underfit)
    ]


def _heading(comparison: Comparison, name: str) -> str:
    """A score's heading; with † if its split was used for a selection, with ‡ if it is a running average."""
    selected = any(split in comparison.selected_on for split in name.split("_"))
    running = comparison.reading.running and name.startswith(("train_", "gap_"))
    return heading_of(name) + ("†" if selected else "") + ("‡" if running else "")


def table_columns(comparison: Comparison) -> list[ShownColumn]:
    """The columns of the tables for people: all except the gap in loss of the split that is not ranked."""
    short = headings(comparison.settings)
    columns = [ShownColumn(key, short[key], False, partial(_setting, key)) for key in comparison.settings]
    columns.append(ShownColumn(COUNT, COUNT, True, _count))
    if any(row.incomplete for row in comparison.rows):
        columns.append(ShownColumn(_UNFINISHED, _UNFINISHED, False, _states))
    losses = [name for name in comparison.scores if name.startswith("gap_") and name.endswith("_loss")]
    kept = {f"gap_{comparison.held_out}_loss", comparison.sorted_by}
    for name in comparison.scores:
        if name not in losses or name in kept:
            heading = _heading(comparison, name)
            if name in losses and kept.issuperset(losses) and len(losses) > 1:
                heading += f" {name.split('_')[1]}"
            columns.append(ShownColumn(name, heading, True, partial(_score, name, comparison.interval)))
    if comparison.configurations > 1:
        columns.append(ShownColumn(_PLACE, _PLACE, False, _place))
    return columns


def _expendable(comparison: Comparison, columns: Sequence[ShownColumn]) -> list[str]:
    other = "test" if comparison.held_out == "val" else "val"
    order = [name for name in comparison.scores if name not in SCORES]
    order += [f"gap_{other}_loss", f"gap_{comparison.held_out}_loss", _PLACE]
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
    text = amount(name, score.mean, fine=False, sign="+" if is_gap(name) else "")
    if (interval := score.interval_over(over)) is not None:
        text += f" ± {amount(name, interval.half_width, fine=False, sign='')}"
    return text if score.n == row.replicates else f"{text} (n={score.n})"


def _csv(comparison: Comparison) -> str:
    states = [state for state in RunState if state is not RunState.FINISHED]
    parts = ("", "_sd", "_n", "_low", "_high", "_bca_low", "_bca_high", "_image_error", "_wider_low", "_wider_high")
    scores = [f"{name}{part}" for name in comparison.scores for part in parts]
    counts = [
        COUNT, "finished", *(state.lower() for state in states), "expected", "missing_seeds", "underfit",
        "underfit_shown", "front", "front_share", "replicates",
    ]  # fmt: skip
    header = [*comparison.settings, *counts, *scores, "seeds", "run_ids", "collapsed", "judged_on"]
    rows: list[list[object]] = []
    for row, resampled in zip(comparison.rows, _resampled(comparison), strict=True):
        values: list[object] = [row.settings[key] for key in comparison.settings]
        values += [row.n, row.finished, *(row.unfinished.get(state, 0) for state in states)]
        values += [row.expected, " ".join(row.missing), str(row.underfit).lower(), str(row.underfit_shown).lower()]
        share = row.front_share
        values += [str(row.on_front).lower(), None if math.isnan(share) else share, row.replicates]
        for name in comparison.scores:
            score = row.scores.get(name)
            values += ["", "", 0] if score is None else [score.mean, score.deviation, score.n]
            values += [*((score and score.interval) or _UNKNOWN), *(resampled.get(name) or _UNKNOWN)]
            values += [score and score.image_error, *((score and score.wider) or _UNKNOWN)]
        ids = " ".join(run.run_id for run in row.runs)
        rows.append([*values, " ".join(row.seeds), ids, " ".join(row.collapsed), row.scored_on])
    return csv_text(header, rows)


def _json(comparison: Comparison) -> str:
    resampled = _resampled(comparison)
    document = {
        "title": comparison.title,
        "stage": comparison.stage,
        "held_out": comparison.held_out,
        "sorted_by": comparison.sorted_by,
        "ascending": comparison.ascending,
        "ranked": comparison.ranked,
        "accuracy_floor": comparison.accuracy_floor,
        "selected_on": {split: list(reasons) for split, reasons in comparison.selected_on.items()},
        "running_averages": comparison.reading.running or None,
        "remarks": list(comparison.reading.remarks),
        "unrecorded_images": comparison.unrecorded,
        "level": LEVEL,
        "replicates": [SEED, *comparison.replicates],
        "interval": comparison.interval,
        "runs": comparison.runs,
        "finished": comparison.finished,
        "repeats": comparison.repeats,
        "configurations": comparison.configurations,
        "settings": comparison.settings,
        "constants": dict(comparison.constants),
        "follows": dict(comparison.follows),
        "rows": [_json_row(row, intervals) for row, intervals in zip(comparison.rows, resampled, strict=True)],
    }
    return json_text(document)


def _json_row(row: Row, resampled: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {
        "settings": dict(row.settings),
        "n": row.n,
        "finished": row.finished,
        "unfinished": {state.lower(): count for state, count in row.unfinished.items()},
        "incomplete": row.incomplete,
        "missing_seeds": list(row.missing),
        "judged_on": row.scored_on,
        "repeats": row.repeats,
        "replicates": row.replicates,
        "over_draws": row.over_draws,
        "underfit": row.underfit,
        "underfit_shown": row.underfit_shown,
        "front": row.on_front,
        "front_share": row.front_share,
        "collapsed": list(row.collapsed),
        "scores": {name: _json_score(score, resampled.get(name)) for name, score in row.scores.items()},
        "runs": [{"run_id": run.run_id, "name": run.name, "state": run.state, "seed": run.parameters.get(SEED)}
                 for run in row.runs],
    }  # fmt: skip


def _json_score(score: MeanScore, resampled: Interval | None) -> dict[str, Any]:
    return {
        "mean": score.mean,
        "sd": score.deviation,
        "n": score.n,
        "interval": score.interval,
        "bca": resampled,
        "image_error": score.image_error,
        "interval_seeds_images": score.wider,
    }


def _resampled(comparison: Comparison) -> list[dict[str, Interval | None]]:
    """The bootstrap intervals of each row's scores, computed for all rows together."""
    wanted = [(place, name) for place, row in enumerate(comparison.rows) for name in row.scores]
    intervals = bca_intervals([comparison.rows[place].values(name) for place, name in wanted])
    found: list[dict[str, Interval | None]] = [{} for _ in comparison.rows]
    for (place, name), interval in zip(wanted, intervals, strict=True):
        found[place][name] = interval
    return found
