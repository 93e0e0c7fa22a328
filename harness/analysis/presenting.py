"""A comparison in the form that is asked for: a table, JSON, CSV, Markdown, LaTeX or HTML.

JSON and CSV keep the fractions of the store, in full; the others are for people, in percent and points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.legend import context, headline, legend, warnings
from harness.analysis.ordering import COUNT
from harness.analysis.pages import markdown_row, rendered
from harness.analysis.rows import Row, Score
from harness.analysis.settings import SEED
from harness.analysis.statistics import LEVEL, Interval, bca_intervals
from harness.analysis.table import page, plain_table, table_columns
from harness.records import RunState
from harness.text import csv_text, markdown_page


def render(comparison: Comparison, form: str) -> str:
    """The comparison in one of `pages.FORMATS`, ending with a line break.

    Raises:
        RequestError: another `form`.
    """
    files = {"json": _json, "csv": _csv, "markdown": _markdown, "table": plain_table}
    return rendered(
        form, lambda: page(comparison, where=False), {name: partial(make, comparison) for name, make in files.items()}
    )


def _markdown(comparison: Comparison) -> str:
    columns = table_columns(comparison)
    lines = [f"**{headline(comparison)}**", ""]
    for line in context(comparison):
        lines += [line, ""]
    lines.append(markdown_row([column.heading for column in columns]))
    lines.append(markdown_row(["---:" if column.is_number else "---" for column in columns]))
    lines += [markdown_row([column.cell(row) for column in columns]) for row in comparison.rows]
    order = "ascending" if comparison.ascending else "descending"
    lines += ["", f"Sorted by `{comparison.sorted_by}`, {order}. " + " ".join(legend(comparison)[:-1])]
    for line in warnings(comparison):
        lines += ["", line]
    return markdown_page("\n".join(lines) + "\n")


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
        values += [str(row.on_front).lower(), _known(row.front_share), row.replicates]
        for name in comparison.scores:
            score = row.scores.get(name)
            values += ["", "", 0] if score is None else [score.mean, score.deviation, score.n]
            for interval in (None if score is None else score.interval, resampled.get(name)):
                values += ["", ""] if interval is None else [interval.low, interval.high]
            values.append(None if score is None else score.image_error)
            wider = None if score is None else score.wider
            values += ["", ""] if wider is None else [wider.low, wider.high]
        ids = " ".join(run.run_id for run in row.runs)
        rows.append([*values, " ".join(row.seeds), ids, " ".join(row.collapsed), row.judged_on])
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
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_row(row: Row, resampled: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {
        "settings": dict(row.settings),
        "n": row.n,
        "finished": row.finished,
        "unfinished": {state.lower(): count for state, count in row.unfinished.items()},
        "incomplete": row.incomplete,
        "missing_seeds": list(row.missing),
        "judged_on": row.judged_on,
        "repeats": row.repeats,
        "replicates": row.replicates,
        "over_draws": row.over_draws,
        "underfit": row.underfit,
        "underfit_shown": row.underfit_shown,
        "front": row.on_front,
        "front_share": _known(row.front_share),
        "collapsed": list(row.collapsed),
        "scores": {name: _json_score(score, resampled.get(name)) for name, score in row.scores.items()},
        "runs": [{"run_id": run.run_id, "name": run.name, "state": run.state, "seed": run.parameters.get(SEED)}
                 for run in row.runs],
    }  # fmt: skip


def _json_score(score: Score, resampled: Interval | None) -> dict[str, Any]:
    return {
        "mean": _known(score.mean),
        "sd": score.deviation,
        "n": score.n,
        "interval": json_interval(score.interval),
        "bca": json_interval(resampled),
        "image_error": _known(score.image_error),
        "interval_seeds_images": json_interval(score.wider),
    }


def _known(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def json_interval(interval: Interval | None) -> list[float] | None:
    """`[low, high]`."""
    return None if interval is None else [interval.low, interval.high]


def _resampled(comparison: Comparison) -> list[dict[str, Interval | None]]:
    """The bootstrap intervals of each row's scores, of all rows at once."""
    wanted = [(place, name) for place, row in enumerate(comparison.rows) for name in row.scores]
    intervals = bca_intervals([comparison.rows[place].values(name) for place, name in wanted])
    found: list[dict[str, Interval | None]] = [{} for _ in comparison.rows]
    for (place, name), interval in zip(wanted, intervals, strict=True):
        found[place][name] = interval
    return found
