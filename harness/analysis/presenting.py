"""A comparison in the form that is asked for: a table, JSON, CSV or Markdown.

The table and Markdown are for people, in percent and points; JSON and CSV keep the fractions of the store, in full.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.analysis.comparison import COUNT, Comparison, Row, Score
from harness.analysis.settings import SEED
from harness.analysis.table import context, headline, legend, plain_table, table_columns, warnings
from harness.errors import RequestError, suggestion
from harness.records import RunState


def render(comparison: Comparison, form: str) -> str:
    """The comparison as `table` (plain text), `json`, `csv` or `markdown`, ending with a line break.

    Raises:
        RequestError: another `form`.
    """
    if form not in FORMATS:
        raise RequestError(f"Unknown format '{form}'.{suggestion(form, FORMATS)} Choose from {', '.join(FORMATS)}.")
    return FORMATS[form](comparison)


def _markdown(comparison: Comparison) -> str:
    columns = table_columns(comparison)
    lines = [f"**{headline(comparison)}**", ""]
    for line in context(comparison):
        lines += [line, ""]
    lines.append(_markdown_row([column.heading for column in columns]))
    lines.append(_markdown_row(["---:" if column.is_number else "---" for column in columns]))
    lines += [_markdown_row([column.cell(row) for column in columns]) for row in comparison.rows]
    order = "ascending" if comparison.ascending else "descending"
    lines += ["", f"Sorted by `{comparison.sorted_by}`, {order}. " + " ".join(legend(comparison)[:-1])]
    for line in warnings(comparison):
        lines += ["", line]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _csv(comparison: Comparison) -> str:
    states = [state for state in RunState if state is not RunState.FINISHED]
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    scores = [heading for name in comparison.scores for heading in (name, f"{name}_sd", f"{name}_n")]
    counts = [COUNT, "finished", *(state.lower() for state in states)]
    writer.writerow([*comparison.settings, *counts, *scores, "seeds", "run_ids"])
    for row in comparison.rows:
        values: list[object] = [row.settings[key] for key in comparison.settings]
        values += [row.n, row.finished, *(row.unfinished.get(state, 0) for state in states)]
        for name in comparison.scores:
            score = row.scores.get(name)
            values += ["", "", 0] if score is None else [score.mean, score.deviation, score.n]
        writer.writerow([*values, " ".join(row.seeds), " ".join(run.run_id for run in row.runs)])
    return target.getvalue()


def _json(comparison: Comparison) -> str:
    document = {
        "title": comparison.title,
        "held_out": comparison.held_out,
        "sorted_by": comparison.sorted_by,
        "ascending": comparison.ascending,
        "runs": comparison.runs,
        "finished": comparison.finished,
        "repeats": comparison.repeats,
        "settings": comparison.settings,
        "constants": dict(comparison.constants),
        "follows": dict(comparison.follows),
        "rows": [_json_row(row) for row in comparison.rows],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "settings": dict(row.settings),
        "n": row.n,
        "finished": row.finished,
        "unfinished": {state.lower(): count for state, count in row.unfinished.items()},
        "repeats": row.repeats,
        "scores": {name: _json_score(score) for name, score in row.scores.items()},
        "runs": [{"run_id": run.run_id, "name": run.name, "state": run.state, "seed": run.parameters.get(SEED)}
                 for run in row.runs],
    }  # fmt: skip


def _json_score(score: Score) -> dict[str, float | int | None]:
    mean = score.mean if math.isfinite(score.mean) else None  # JSON has no NaN
    return {"mean": mean, "sd": score.deviation, "n": score.n}


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "table": plain_table,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}
