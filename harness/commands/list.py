"""`harness list`: the sweeps and runs of a store, and their sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from harness.commands.store_option import finished_reads, refresh_option, store_option
from harness.errors import RequestError, StoreError
from harness.records import RunRecord, RunState
from harness.tabular import json_text, text_table
from harness.text import csv_text
from harness.tracking.disk import Inventory, disk_usage, find_garbage, shown_size, take_inventory
from harness.tracking.models import find_sweep
from harness.tracking.reading import read_runs, sweep_runs
from harness.tracking.relocation import moved
from harness.tracking.reused_tags import reused_runs
from harness.tracking.selection import JOBS_TAG, is_sweep, recorded_number
from harness.tracking.store import Store

FORMS = ("table", "json", "csv")
GAP = "final/gap_test_accuracy"
_NUMBERS = ("runs", "gap to test", "size")
_COLUMNS = (
    "id", "name", "kind", "experiment", "sweep", "started", "ended", "state", "jobs", "finished", "gap", "gap_min",
    "gap_max", "size",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A line: a run, or a sweep with its `runs`; `jobs` are those that it was asked for. `size` is in bytes, without
    what a sweep reuses of others; None where that is not known."""

    run: RunRecord
    runs: Sequence[RunRecord]
    jobs: int
    size: int | None

    @property
    def gaps(self) -> tuple[float, float] | None:
        """The least and the greatest gap to the test images, fractions; None where there is none."""
        found = [run.metrics[GAP] for run in self.runs or [self.run] if GAP in run.metrics]
        return (min(found), max(found)) if found else None

    @property
    def finished(self) -> int:
        return sum(run.state is RunState.FINISHED for run in self.runs)

    def as_values(self) -> dict[str, Any]:
        """For JSON and CSV: fractions, bytes, UTC."""
        run, sweep, gaps = self.run, is_sweep(self.run), self.gaps or (None, None)
        values = (
            run.run_id,
            run.name,
            "sweep" if sweep else "run",
            run.experiment,
            run.parent_id,
            run.started.isoformat(),
            None if run.ended is None else run.ended.isoformat(),
            str(run.state),
            self.jobs if sweep else None,
            self.finished if sweep else None,
            None if sweep else gaps[0],
            *gaps,
            self.size,
        )
        return dict(zip(_COLUMNS, values, strict=True))


@click.command(name="list")
@click.option("--experiment", metavar="NAME", help="The sweeps and runs of this experiment.")
@click.option("--sweep", metavar="RUN", help="The runs of this sweep: its id, the beginning of it, name, or latest.")
@click.option("--all", "every", is_flag=True, help="Every run, also those of sweeps.")
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@refresh_option
@store_option
def command(experiment: str | None, sweep: str | None, every: bool, form: str, refresh: bool, store: Store) -> None:
    """Show the sweeps and runs of the store, the newest first, with their sizes.

    A sweep is one line; --sweep or --all show its runs. The gap is training minus test accuracy (for a sweep the
    smallest and the largest). The size is that of artifacts, models and checkpoint on this machine's disk.
    """
    if experiment and sweep:
        raise RequestError("--experiment and --sweep were given together. Each says what to list: use one of them.")
    with finished_reads(store, refresh):
        runs = read_runs(store, experiment=experiment, include_parents=True)
        shown, part = runs, experiment
        if sweep is not None:
            found = find_sweep(store, sweep)
            shown, part = sweep_runs(store, found.run_id), found.name
        elif not every:
            ids = {run.run_id for run in runs}
            shown = [run for run in runs if run.parent_id not in ids]
    inventory = None if store.database is None else take_inventory(store.database)
    entries = _entries(shown, runs, inventory)
    if form != "table":
        click.echo(_as_data(entries, form), nl=False)
        return
    for line in _table(entries):
        click.echo(line)
    click.echo(f"\n{_summary(store, runs if sweep is None else shown, part)}")
    if store.database is not None and (message := moved(store.database)) is not None:
        click.echo(message, err=True)


def _entries(shown: Sequence[RunRecord], runs: Sequence[RunRecord], inventory: Inventory | None) -> list[Entry]:
    by_id = {run.run_id: run for run in runs}
    children: defaultdict[str | None, list[RunRecord]] = defaultdict(list)
    for run in runs:
        children[run.parent_id].append(run)

    def entry(run: RunRecord) -> Entry:
        own = children[run.run_id] if is_sweep(run) else []
        others = [by_id[one] for one in reused_runs(run.tags, run.run_id) if one in by_id]
        size = None if inventory is None else sum(inventory.size(one.run_id) for one in (run, *own))
        return Entry(run, [*own, *others], recorded_number(run, JOBS_TAG, len(own) + len(others)), size)

    return [entry(run) for run in reversed(shown)]


def _as_data(entries: Sequence[Entry], form: str) -> str:
    values = [entry.as_values() for entry in entries]
    if form == "json":
        return json_text(values)
    return csv_text(_COLUMNS, ([value[key] for key in _COLUMNS] for value in values))


def _table(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return ["There are no runs yet. Make some with `harness sweep` or `harness train`."]
    rows = [_cells(entry) for entry in entries]
    several = {
        "experiment": len({row["experiment"] for row in rows}) > 1,
        **{key: any(row[key] for row in rows) for key in ("runs", "size")},
    }
    header = [key for key in rows[0] if several.get(key, True)]
    return text_table(header, [[row[key] for key in header] for row in rows], _NUMBERS, shorten="name")


def _cells(entry: Entry) -> dict[str, str]:
    run = entry.run
    gaps = "" if entry.gaps is None else "..".join(dict.fromkeys(f"{100 * gap:+z.2f}" for gap in entry.gaps))
    return {
        "id": run.run_id[:8],
        "name": run.name,
        "experiment": run.experiment,
        "started": f"{run.started.astimezone():%Y-%m-%d %H:%M}",
        "state": f"{run.state}{', reused' if run.reused_by else ''}",
        "runs": f"{entry.finished}/{entry.jobs}" if is_sweep(run) else "",
        "gap to test": gaps,
        "size": "" if entry.size is None else shown_size(entry.size),
    }


def _summary(store: Store, runs: Sequence[RunRecord], part: str | None) -> str:
    sweeps = sum(map(is_sweep, runs))
    counted = " and ".join(
        f"{count} {what}{'' if count == 1 else 's'}"
        for count, what in ((sweeps, "sweep"), (len(runs) - sweeps, "run"))
        if count or what == "run"
    )
    where = f"{counted}{f' of {part}' if part else ''}."
    if store.database is None:
        return f"{where} The size of the store {store.shown} is known only to its server."
    parts = disk_usage(store.database)
    told = ", ".join(f"{what} {shown_size(size)}" for what, size in parts.items() if size)
    line = f"{where} The store {store.database} takes {shown_size(sum(parts.values()))}: {told}."
    try:
        garbage = find_garbage(store.database)
    except StoreError as error:  # of another store beside it
        return f"{line} What belongs to no run is not known: {error}"
    return f"{line} {shown_size(garbage.size)} belong to no run: `harness gc`." if garbage.found else line
