"""Markdown descriptions of a finished run and of a sweep for the MLflow UI: settings, result, command to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.comparison_table import render
from harness.analysis.measures import amount, unit
from harness.analysis.selection_bias import HELD_OUT, selects_by
from harness.analysis.settings import FIRST, SEED, headings, is_setting
from harness.config.schema import Config, flatten
from harness.records import RunRecord, RunState
from harness.tabular import Table
from harness.text import clean, markdown_page, shell

LONGEST = 4_800
"""The longest description in characters: the limit of the UI minus room for a last line."""
FAILURES_NAMED = 5
REUSED_NAMED = 20
_CONFIRMING = "Rows of another comparison under fresh seeds, trained by `harness compare --confirm`.\n"


def run_note(parameters: Mapping[str, Any], scores: Mapping[str, float], overrides: Sequence[str]) -> str:
    """The description of a run: settings that differ from the defaults, gaps, command.

    `parameters` are those of the run by dotted name, `scores` its scalars (`final/gap_val_accuracy`, fractions).
    """
    selected = [split for split in HELD_OUT if selects_by(parameters, split)]
    rows = [
        [
            f"{name}{'†' if split in selected else ''}", f"{100 * scores[f'final/{split}_accuracy']:.1f} %",
            _gap(scores, f"gap_{split}_accuracy"), _gap(scores, f"gap_{split}_loss"),
        ]
        for split, name in (("train", "training"), ("val", "validation"), ("test", "test"))
        if f"final/{split}_accuracy" in scores
    ]  # fmt: skip
    table = Table("", ["", "accuracy", "gap", "gap in loss"], rows, "l")
    lines = [f"**{_differing(parameters, overrides)}**", "", table.markdown()]
    lines += ["", "A gap is positive where the model does better on its training images.", ""]
    if selected:
        lines += ["† chose the epoch or the learning rates of this run, so its figures look too good.", ""]
    return markdown_page("\n".join(lines)) + "\n" + _again("train", overrides)


def _gap(scores: Mapping[str, float], name: str) -> str:
    value = scores.get(f"final/{name}")
    return "" if value is None else f"{amount(name, value, fine=False)} {unit(name)}"


def sweep_note(
    comparison: Comparison,
    errors: Mapping[str, str],
    overrides: Sequence[str] | None,
    reported: bool = False,
    reused: Sequence[RunRecord] = (),
) -> str:
    """The description of a sweep: the ranked table, cut if too long; reasons of failures (`errors` by run id); command.

    `overrides` are None for a sweep of `harness compare --confirm`, which has none. `reported`: the sweep has a report;
    `reused`: its runs that earlier commands have trained.
    """
    failed = [run for row in comparison.rows for run in row.runs if run.state is not RunState.FINISHED]
    lines = [f"- `{run.name}`: {run.state.lower()}{_first_line(errors.get(run.run_id, ''))}" for run in failed]
    if len(lines) > FAILURES_NAMED:
        lines = [*lines[:FAILURES_NAMED], f"- and {len(lines) - FAILURES_NAMED} more"]
    unfinished = ["**Not finished**", "", *lines, ""] if lines else []
    shared = _shared(reused, sum(row.n for row in comparison.rows))
    report = ["Findings, tests and figures: `report.html` under Artifacts.", ""] if reported else []
    again = _CONFIRMING if overrides is None else _again("sweep", overrides)
    below = markdown_page("\n".join([*unfinished, *shared, *report, ""])) + again
    return _cut(render(comparison, "markdown"), LONGEST - len(below)) + "\n" + below


def _shared(reused: Sequence[RunRecord], runs: int) -> list[str]:
    if not reused:
        return []
    named = ", ".join(f"`{run.name}` ({run.run_id[:8]})" for run in reused[:REUSED_NAMED])
    more = f", and {len(reused) - REUSED_NAMED} more: tags `harness.reused.…`" if len(reused) > REUSED_NAMED else ""
    return [
        f"**{len(reused)} of {runs} runs reused.** Earlier commands trained them; the list of runs does not show them "
        f"below this one: {named}{more}.",
        "",
    ]


def _differing(parameters: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """`dataset mnist, model cnn, optimizer adam, learning_rate 0.001, dropout 0.3, seed 1`.

    The settings in run names come first, then overrides and other values that are no defaults. Settings that follow
    from the named model or optimizer are left out.
    """
    defaults = {key: str(value) for key, value in flatten(Config()).items()}
    typed = {item.lstrip("+~").partition("=")[0] for item in overrides}
    keys = [key for key in (*FIRST, "optimizer.learning_rate") if key in parameters]
    for key, value in parameters.items():
        brought = key.startswith(("model.", "optimizer."))
        if is_setting(key) and key not in keys and (key in typed or not (brought or str(value) == defaults.get(key))):
            keys.append(key)
    short = headings([*keys, SEED])
    return ", ".join(f"{short[key]} {parameters[key]}" for key in [*keys, SEED] if key in parameters)


def _again(command: str, overrides: Sequence[str]) -> str:
    return f"The same again:\n```\n{shell(['harness', command, *overrides])}\n```\n"


def _first_line(reason: str) -> str:
    line = reason.partition("\n")[0]
    return f": {clean(line[:200])}" if line else ""


def _cut(text: str, length: int) -> str:
    """A text with a table, shortened to `length` by removing the last rows of the table."""
    if len(text) <= length:
        return text
    lines = text.split("\n")
    rows = [place for place, line in enumerate(lines) if line.startswith("|")][2:]
    kept = len(rows)
    more = "| and {} more: `comparison.csv` |"
    while kept and sum(len(lines[place]) + 1 for place in rows[:kept]) > length - len(more) - sum(
        len(line) + 1 for place, line in enumerate(lines) if place not in rows
    ):
        kept -= 1
    left_out = set(rows[kept:])
    done = [line for place, line in enumerate(lines) if place not in left_out]
    done.insert(rows[0] + kept, more.format(len(left_out)))
    return "\n".join(done)
