"""The runs of a sweep whose jobs are over are all brought to an end, and every job that was begun has a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.composing import SweepJobs
from harness.config import Config
from harness.records import RunRecord, RunState
from harness.sweep.naming import run_name
from harness.tracking.closing import close_abandoned
from harness.tracking.reading import read_runs
from harness.tracking.selection import ERROR_TAG, JOB_TAG
from harness.tracking.writing import RunIdentity, RunWriter

DIED = "ProcessDied"
STOPPED = "KeyboardInterrupt"
UNRECORDED = "It ended before its run was recorded. Its log: outputs/sweeps, in the newest folder, JOB/run.log."


def close_dead(uri: str, runs: Iterable[RunRecord], deaths: Mapping[int, str]) -> None:
    """End the runs of jobs whose process has died."""
    for run in runs:
        if run.state is RunState.RUNNING and (reason := deaths.get(job_number(run))):
            close_abandoned(uri, run, RunState.FAILED, reason, DIED)


def end_runs(
    parent: RunWriter, jobs: SweepJobs, config: Config, failures: Mapping[int, str], interrupted: bool
) -> None:
    """Now that every job is over: end what is left RUNNING, and give a job without a run one that says why.

    `config` is that of any job; `failures` are reasons by the jobs' numbers. Jobs that an interruption kept from being
    begun have no run.
    """
    recorded = set()
    for run in read_runs(parent.uri, parent_id=parent.run_id):
        recorded.add(job_number(run))
        if run.state is not RunState.RUNNING:
            continue
        if interrupted:
            close_abandoned(parent.uri, run, RunState.KILLED, "It was stopped at once.", STOPPED)
        else:
            reason = failures.get(job_number(run), "Its process ended before the job did.")
            close_abandoned(parent.uri, run, RunState.FAILED, reason, DIED)
    if interrupted:
        return
    for number, overrides in enumerate(jobs.jobs):
        if number not in recorded:
            name = run_name(config, list(overrides), jobs.swept)
            tags = {JOB_TAG: str(number), ERROR_TAG: failures.get(number, UNRECORDED)}
            identity = RunIdentity(name, config.tracking.experiment, parent.run_id, overrides, tags)
            RunWriter(parent.uri, identity).end(RunState.FAILED)


def job_number(run: RunRecord) -> int:
    """Which job of its sweep a run is of; -1 where that is not known."""
    return int(run.tags.get(JOB_TAG, -1))
