"""`harness delete`: deletes runs and sweeps, with all their files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from harness.commands.asking import DECLINED, agreed
from harness.commands.store_option import store_option
from harness.errors import RequestError
from harness.machine import is_gone, process_host
from harness.records import RunRecord, RunState
from harness.tabular import text_table
from harness.tracking.deleting import delete_runs, registered_models
from harness.tracking.disk import shown_size, take_inventory
from harness.tracking.models import find_run
from harness.tracking.reading import cached_reads, read_runs
from harness.tracking.relocation import check_in_place
from harness.tracking.reused_tags import reused_runs
from harness.tracking.selection import CONTINUED_FROM, PROCESS_TAG, is_sweep
from harness.tracking.store import Store

_AGE = re.compile(r"(?=.)(?:(?P<weeks>\d+)w)?(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?")
_LINES = 20


@dataclass(frozen=True)
class Doomed:
    """What is to go: `runs`, a sweep's own run after those of its jobs. `kept` says why runs that were asked for stay,
    by their ids; `others` are all that stay."""

    runs: tuple[RunRecord, ...]
    kept: Mapping[str, str]
    others: tuple[RunRecord, ...]


@click.command(name="delete")
@click.argument("runs", nargs=-1)
@click.option("--experiment", metavar="NAME", help="The runs of this experiment.")
@click.option("--failed", is_flag=True, help="Only runs that FAILED: of RUNS or --experiment, else of all.")
@click.option(
    "--older-than", "age", metavar="AGE", help="Only runs that ended at least this long ago: 30d, 2w, 12h, 1d12h."
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@store_option
def command(
    runs: tuple[str, ...], experiment: str | None, failed: bool, age: str | None, dry_run: bool, yes: bool, store: Store
) -> int | None:
    """Delete runs, with their artifacts, models, training state and checkpoint. This cannot be undone.

    RUNS are run ids, beginnings of ids, names, latest, or best. A sweep means all of its runs, except those that it
    reuses from others. The command first shows what it would delete and how much space that frees, and asks. With
    --failed and --older-than a sweep's own run is not deleted as long as one of its runs exists. A run that is still
    running, or whose model is registered, is refused.
    """
    if not (runs or experiment or failed or age):
        raise RequestError("Say what to delete: RUNS, --experiment NAME, --failed or --older-than 30d.")
    if runs and experiment:
        raise RequestError("RUNS and --experiment were given together. Each says what to delete: use one of them.")
    before = None if age is None else datetime.now(UTC) - _age(age)
    if store.database is not None and not store.is_missing:
        check_in_place(store.database)

    def find() -> Doomed:
        return _doomed(store, runs, experiment, failed, before)

    doomed = find()
    for line in _shown(store, doomed):
        click.echo(line)
    if dry_run:
        click.echo("Nothing was deleted: this was a dry run.")
    if dry_run or not doomed.runs:
        return None
    if not agreed(f"Delete {_counted(doomed.runs)} for good?", yes):
        return DECLINED
    with store.exclusive():
        now = find()
        if {run.run_id for run in now.runs} != {run.run_id for run in doomed.runs}:
            raise RequestError(
                "Runs have started or ended in the meantime, so nothing was deleted. Give the command again."
            )
        left = delete_runs(store, now.runs)
    click.echo(f"Deleted {_counted(doomed.runs)}.")
    if store.database is None:
        click.echo("Their records are marked as deleted; `mlflow gc`, where the server runs, deletes those too.")
    for location in left:
        click.echo(f"These files as well: {location}")
    return None


def _doomed(
    store: Store, named: Sequence[str], experiment: str | None, failed: bool, before: datetime | None
) -> Doomed:
    """Raises `RequestError` where a run that was named cannot go."""
    with cached_reads(store):
        every = read_runs(store, include_parents=True)
        if named:
            given = {run.run_id for text in named for run in [find_run(store, text)]}
        else:
            given = {run.run_id for run in read_runs(store, experiment=experiment, include_parents=True)}
    below: defaultdict[str | None, list[str]] = defaultdict(list)
    for run in every:
        below[run.parent_id].append(run.run_id)
    pending = list(given)
    while pending:
        fresh = set(below[pending.pop()]) - given
        given |= fresh
        pending += fresh

    def wanted(run: RunRecord) -> bool:
        ended = run.ended or run.started
        return (not failed or run.state is RunState.FAILED) and (before is None or ended < before)

    chosen = [run for run in every if run.run_id in given and wanted(run)]
    reasons = _reasons(store, chosen, every)
    if reasons and not (failed or before):
        raise RequestError("\n".join(["Nothing was deleted.", *dict.fromkeys(reasons.values())]))
    left = _whole_sweeps([run for run in chosen if run.run_id not in reasons], below)
    gone = {run.run_id for run in left}
    return Doomed(
        tuple(sorted(left, key=lambda run: (is_sweep(run), run.started))),
        reasons,
        tuple(run for run in every if run.run_id not in gone),
    )


def _whole_sweeps(chosen: list[RunRecord], below: Mapping[str | None, Collection[str]]) -> list[RunRecord]:
    """Without the runs that have others below them which stay."""
    while True:
        ids = {run.run_id for run in chosen}
        whole = [run for run in chosen if ids.issuperset(below.get(run.run_id, ()))]
        if len(whole) == len(chosen):
            return whole
        chosen = whole


def _reasons(store: Store, chosen: Sequence[RunRecord], every: Iterable[RunRecord]) -> dict[str, str]:
    """Why runs cannot go, by their ids."""
    found = {}
    at_work = {run.run_id: run for run in every if _at_work(run)}
    users: defaultdict[str, list[str]] = defaultdict(list)
    for run_id, run in at_work.items():
        for one in (run_id, *reused_runs(run.tags, run.run_id)):
            users[one].append(run_id)
    for run in chosen:
        busy = [*users.get(run.parent_id or "", ()), *users.get(run.run_id, ())]  # one line for a whole sweep
        if busy:
            found[run.run_id] = _busy(at_work[busy[0]])
    for run_id, version in registered_models(store, [run.run_id for run in chosen]).items():
        run = next(run for run in chosen if run.run_id == run_id)
        found.setdefault(
            run_id,
            f"The model of {run.name} ({run_id}) is registered as {version}. Delete that version in the UI first, or "
            "leave the run.",
        )
    return found


def _at_work(run: RunRecord) -> bool:
    """Whether a run is, or may be, written by a process that lives."""
    process = run.tags.get(PROCESS_TAG)
    return run.state is RunState.RUNNING and not (process and is_gone(process))


def _busy(run: RunRecord) -> str:
    process = run.tags.get(PROCESS_TAG)
    where = f" on {process_host(process)}" if process else ""
    return (
        f"{run.name} ({run.run_id}) is still running{where}. Stop it first. If its machine is gone for good, end it in "
        f"the store: MlflowClient().set_terminated('{run.run_id}', 'KILLED')"
    )


def _shown(store: Store, doomed: Doomed) -> list[str]:
    """What is to go, what that frees, and whom it concerns."""
    reasons = list(dict.fromkeys(doomed.kept.values()))
    kept = [f"kept: {reason}" for reason in reasons[:_LINES]]
    if not doomed.runs:
        return [*kept, "Nothing to delete: no run matches."]
    inventory = None if store.database is None else take_inventory(store.database)
    sizes = {run.run_id: 0 if inventory is None else inventory.size(run.run_id) for run in doomed.runs}
    below: defaultdict[str | None, list[RunRecord]] = defaultdict(list)
    for run in doomed.runs:
        below[run.parent_id].append(run)
    rows = []
    for run in reversed(doomed.runs):
        if run.parent_id in sizes:
            continue
        size = sizes[run.run_id] + sum(sizes[one.run_id] for one in below[run.run_id])
        what = f"sweep of {_counted(below[run.run_id])}" if is_sweep(run) else str(run.state)
        started = f"{run.started.astimezone():%Y-%m-%d %H:%M}"
        rows.append([run.run_id[:8], run.name, run.experiment, started, what, shown_size(size) if inventory else ""])
    more = [f"and {len(rows) - _LINES} more"] if len(rows) > _LINES else []
    table = text_table(("id", "name", "experiment", "started", "what", "size"), rows[:_LINES], ("size",), "name")
    total = f"{_counted(doomed.runs)}, {shown_size(sum(sizes.values()))} on disk." if inventory else ""
    return [*kept, *table, *more, *filter(None, [total]), *_concerned(doomed)]


def _concerned(doomed: Doomed) -> list[str]:
    """Whoever uses what is to go."""
    gone = {run.run_id for run in doomed.runs}
    lines = []
    for other in doomed.others:
        if used := gone.intersection(reused_runs(other.tags, other.run_id)):
            lines.append(
                f"The sweep {other.name} ({other.run_id[:8]}) reuses {len(used)} of these runs: its table will lack "
                "them, and the same command trains them again."
            )
        if other.parameters.get(CONTINUED_FROM, "").removeprefix("runs:/") in gone:
            lines.append(f"The run {other.name} ({other.run_id[:8]}) was continued from one of these.")
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"and {len(lines) - _LINES} more"]


def _counted(runs: Collection[RunRecord]) -> str:
    sweeps = sum(map(is_sweep, runs))
    counts = ((sweeps, "sweep"), (len(runs) - sweeps, "run"))
    return " and ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts if n) or "0 runs"


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"--older-than {text}: write weeks, days, hours and minutes as 30d, 2w, 12h or 1d12h.")
    return timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()})
