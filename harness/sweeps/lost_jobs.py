"""Records jobs whose process died: ends their runs in the store, and creates a run for a started job without one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.composing import SweepJobs
from harness.config.schema import Config
from harness.records import RunRecord, RunState
from harness.sweeps.run_names import group_name, run_name
from harness.sweeps.worker import LOG, TRACEBACK, Failure
from harness.sweeps.worker_process import DIED
from harness.tracking.reading import read_runs
from harness.tracking.selection import GROUP_TAG, JOB_TAG, recorded_number
from harness.tracking.store import Store
from harness.tracking.unfinished import close_abandoned
from harness.tracking.writing import RunIdentity, RunWriter

STOPPED = "KeyboardInterrupt"
UNRECORDED = Failure(
    "It ended before its run was recorded. Its log: outputs/sweeps, in the newest folder, JOB/run.log.", DIED
)
VANISHED = Failure("Its process ended before the job did.", DIED)

NO_TRACEBACK = "The process was ended without time to write down where it was. The end of its log:\n\n"
LOG_LINES = 20
"""How many of the log's last lines are used if there is no traceback."""


def record_failure(parent: RunWriter, jobs: SweepJobs, config: Config, number: int, failure: Failure) -> None:
    """Make sure that the store has a job's failed try: its run ends FAILED, with the reason, log and traceback.

    A job whose process survived has recorded all this itself, unless it failed before it had a run. `config` is that
    of any job. Raises `StoreError`.
    """
    if not read_runs(parent.store, parent_id=parent.run_id, job=number):
        overrides = jobs.jobs[number] if number < len(jobs.jobs) else ()  # another sweeper may suggest more
        name = run_name(config, list(overrides), jobs.swept)
        tags = {JOB_TAG: str(number), GROUP_TAG: group_name(config, list(overrides), jobs.swept)}
        RunWriter(parent.store, RunIdentity(name, config.tracking.experiment, parent.run_id, overrides, tags))
    for run in read_runs(parent.store, parent_id=parent.run_id, job=number):
        if run.state is RunState.RUNNING:
            close_failed(parent.store, run, failure)


def close_failed(store: Store, run: RunRecord, failure: Failure) -> None:
    """End a run as FAILED because its own process could not, with the reason, and the log and traceback if they exist.
    Raises `StoreError`."""
    log, traceback = _remains(failure)
    close_abandoned(store, run, RunState.FAILED, failure.reason, failure.kind, log, traceback)


def end_runs(
    parent: RunWriter,
    runs: Sequence[RunRecord],
    jobs: SweepJobs,
    config: Config,
    failures: Mapping[int, Failure] | None,
    interrupted: bool,
) -> None:
    """After all jobs: end the runs that are still RUNNING, and create a FAILED run for each failed job without a run.

    `runs` are the sweep's runs in the store, `config` is that of any job, `failures` are by job number, None if the
    launcher does not report them: then a job without a run counts as failed. Jobs that never started get no run.
    """
    recorded = set()
    for run in runs:
        recorded.add(job_number(run))
        if run.state is not RunState.RUNNING or run.parent_id != parent.run_id:
            continue
        if interrupted:
            close_abandoned(parent.store, run, RunState.KILLED, "It was stopped at once.", STOPPED)
        else:
            close_failed(parent.store, run, (failures or {}).get(job_number(run), VANISHED))
    if interrupted:
        return
    unrecorded = dict.fromkeys(range(len(jobs.jobs)), UNRECORDED) if failures is None else failures
    for number in sorted(unrecorded.keys() - recorded):
        record_failure(parent, jobs, config, number, unrecorded[number])


def job_number(run: RunRecord) -> int:
    """The number of a run's job in its sweep; -1 if it is not known."""
    return recorded_number(run, JOB_TAG, -1)


def _remains(failure: Failure) -> tuple[Path | None, str | None]:
    """The log of a process that died, with the last line of a failure added, and its traceback if there is one."""
    if failure.folder is None or not (log := failure.folder / LOG).is_file():
        return None, None
    dump = failure.folder / TRACEBACK
    traceback = dump.read_text(errors="replace") if dump.is_file() else ""
    with log.open("a") as file:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"{traceback}{stamp} INFO    {__name__}: {RunState.FAILED}: {failure.kind}: {failure.reason}\n")
    if not traceback:
        lines = log.read_text(errors="replace").splitlines(keepends=True)
        traceback = NO_TRACEBACK + "".join(lines[-LOG_LINES:])
    return log, traceback
