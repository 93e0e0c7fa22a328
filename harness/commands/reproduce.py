"""`harness reproduce`: a recorded run trained again, and its results compared with the recorded ones."""

from __future__ import annotations

import math
from typing import Any

import click

from harness.analysis.reproducibility import Deviation, Repetition
from harness.commands.store_option import import_option, store_option
from harness.errors import HarnessError, RequestError
from harness.tabular import json_text, text_table
from harness.tracking.store import Store

SHOWN = 15


@click.command(name="reproduce")
@click.argument("run")
@click.argument("named", nargs=-1, metavar="[KEY=PATH]...")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@import_option
@store_option
def command(run: str, named: tuple[str, ...], form: str, store: Store) -> None:
    """Train a recorded run again and compare every metric, bit for bit.

    RUN is a run's id, the beginning of it, or its name; latest; best; or a registered model (NAME, NAME/3, NAME@alias).
    Configuration, data and number of threads are those that the run recorded; code and libraries are the installed
    ones. The result is a new run of the same experiment.

    If the run was continued from a file, name the file: regime.continue_from=FILE. If the images have moved:
    dataset.directory=DIR or dataset.file=FILE.

    Exit code 0 if all metrics of every epoch are identical (except times), 1 if not.
    """
    from harness.run.reproduce import CONTINUED, DATA, find_recorded
    from harness.run.reproduce import reproduce as run_again
    from harness.sweeps.lease import close_dead
    from harness.sweeps.progress import RunDisplay

    given = dict(word.partition("=")[::2] for word in named)
    if wrong := [key for key, path in given.items() if key not in (CONTINUED, *DATA) or not path]:
        raise RequestError(
            f"{wrong[0]}: a run is reproduced as it was. Only {CONTINUED}=FILE and {DATA[0]}=DIR, or {DATA[1]}=FILE, "
            "can be named."
        )
    recorded = find_recorded(store, run, given)
    close_dead(store)
    record, display = recorded.record, RunDisplay()
    click.echo(f"Again: {record.name} ({record.run_id}) of {record.started:%Y-%m-%d %H:%M} UTC", err=True)
    display.show_configuration(recorded.config)
    display.run_started(recorded.name)
    with display.live():
        result, repetition = run_again(store, recorded, display)
    display.run_finished(result)
    click.echo(_as_json(repetition) if form == "json" else "\n".join(report(repetition)))
    if not repetition.identical:
        worst, count = repetition.deviations[0], len(repetition.deviations)
        raise HarnessError(
            f"Not reproduced: {count} of {repetition.metrics} metrics differ, {worst.metric} most "
            f"({_number(worst.recorded)}, then {_number(worst.again)})."
        )


def report(repetition: Repetition) -> list[str]:
    """The comparison in lines: that all is identical, or what differs and what could explain it."""
    original, again = repetition.original, repetition.again
    lines = []
    if repetition.identical:
        lines.append(
            f"Identical: {repetition.metrics} metrics over {repetition.epochs} epochs have the same bits in "
            f"{original.run_id[:8]} and {again.run_id[:8]}."
        )
    else:
        lines += [f"{len(repetition.deviations)} of {repetition.metrics} metrics differ; where each differs most:", ""]
        header = ["metric", "epoch", "recorded", "again", "difference", "differs in"]
        lines += [*text_table(header, [*map(_cells, repetition.deviations[:SHOWN])], header[1:]), ""]
        if (more := len(repetition.deviations) - SHOWN) > 0:
            lines.append(f"and {more} more; --format json has them.")
        if repetition.reasons:
            lines += ["What could explain it:", *(f"- {reason}" for reason in repetition.reasons)]
        else:
            lines.append(
                "Nothing that is recorded explains it: threads, engine, versions, commit, data and machine are the "
                "same. That is a bug of the harness or of a library below it."
            )
    if repetition.identical and repetition.reasons:
        lines += ["Although these were not the same:", *(f"- {reason}" for reason in repetition.reasons)]
    if repetition.added:
        lines.append(f"Not recorded then: {', '.join(repetition.added)}.")
    return lines


def _cells(one: Deviation) -> list[str]:
    difference = "-" if math.isinf(one.difference) else f"{one.difference:+.2g}"
    epoch = str(one.step) if one.step else "-"
    return [
        one.metric, epoch, _number(one.recorded), _number(one.again), difference, f"{one.differing} of {one.of}"
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.9g}"


def _as_json(repetition: Repetition) -> str:
    document: dict[str, Any] = {
        "original": repetition.original.run_id,
        "again": repetition.again.run_id,
        "identical": repetition.identical,
        "metrics": repetition.metrics,
        "epochs": repetition.epochs,
        "deviations": [
            {
                "metric": one.metric, "step": one.step, "recorded": one.recorded, "again": one.again,
                "difference": one.difference, "differing": one.differing, "of": one.of,
            }
            for one in repetition.deviations
        ],
        "reasons": list(repetition.reasons),
        "added": list(repetition.added),
    }  # fmt: skip
    return json_text(document).rstrip()
