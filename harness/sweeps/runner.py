"""Runs a sweep from plan to table: find its earlier runs, take the lease, train the remaining jobs, compare.

The store is the only record of what was done before. Earlier runs are found there by the fingerprints of the jobs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.composing import GRID_SWEEPER, GRID_SWEEPERS, SweepJobs, as_written
from harness.config.schema import Config
from harness.errors import HarnessError, RequestError
from harness.records import RunRecord, RunState
from harness.sweeps.claims import ClaimedJobs, Claims, jobs_elsewhere
from harness.sweeps.contract import WorkerGroup
from harness.sweeps.finalize import Report, finish_parent, naming_spools, print_result, raise_if_unfinished
from harness.sweeps.forecast import Forecast
from harness.sweeps.job import JOB_SETTING, PARENT_SETTING
from harness.sweeps.launcher import own_launcher, workers_for
from harness.sweeps.lease import Holder, Lease, holder_of, is_held, new_parent, take_lease, take_over
from harness.sweeps.lost_jobs import close_failed, end_runs, job_number, record_failure
from harness.sweeps.other_sweepers import as_it_came, recorded_objective
from harness.sweeps.plan import (
    PlannedJob,
    SweepPlan,
    choosing_jobs,
    earlier_sweeps,
    one_a_job,
    resumed,
    reusing,
)
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.recorded_jobs import FILE as JOBS_FILE
from harness.sweeps.recorded_jobs import as_text, read_jobs, recorded_jobs
from harness.sweeps.run_names import sweep_name
from harness.sweeps.watch import follow, watched
from harness.sweeps.worker import Failure
from harness.tracking.access import WHILE_TRAINING, retries, shown_uri
from harness.tracking.provenance import typed_command
from harness.tracking.reading import cached_reads, read_runs, sweep_runs
from harness.tracking.reused_tags import reused_runs, reused_tags
from harness.tracking.selection import CONFIRMS_TAG, JOBS_TAG, SWEEP_FINGERPRINT_TAG, SWEPT_TAG, recorded_settings
from harness.tracking.store import Store
from harness.tracking.writing import RunIdentity, RunWriter


@dataclass(frozen=True)
class Outlook:
    """What a sweep would do: its plan, the jobs to train by their place in it, and how long they would take."""

    plan: SweepPlan
    due: Mapping[int, PlannedJob]
    forecast: Forecast
    workers: int
    busy: Holder | None


@dataclass(frozen=True)
class SweepRequest:
    """A requested sweep.

    `work` is the plan in which all its jobs are new. `check` raises an error before anything starts if the sweep cannot
    run; `start` lets Hydra run the jobs, with additional overrides.
    """

    store: Store
    jobs: SweepJobs
    work: SweepPlan
    overrides: Sequence[str]
    check: Callable[[], None]
    start: Callable[[Sequence[str]], None]

    @property
    def config(self) -> Config:
        """The configuration of any job, for the settings that all jobs share."""
        return self.work.jobs[0].config

    @property
    def chooses_jobs(self) -> bool:
        """Whether finished jobs can be skipped: only the harness's own Hydra sweeper can do that."""
        return self.jobs.sweeper == GRID_SWEEPER

    @property
    def knows_jobs(self) -> bool:
        """Whether the jobs are those of a grid; another sweeper suggests its own, and the plan has examples of them."""
        return self.jobs.sweeper in GRID_SWEEPERS

    @property
    def fresh(self) -> bool:
        return self.config.resume == "false" or not self.chooses_jobs

    def look_up(self) -> SweepPlan:
        """The plan with the earlier runs that the store has."""
        if self.fresh:
            return self.work
        with cached_reads(self.store):
            earlier = earlier_sweeps(self.work, self.store)
            return self.resuming(earlier[-1]) if earlier else reusing(self.work, self.store)

    def resuming(self, parent: RunRecord) -> SweepPlan:
        """The plan that resumes the sweep `parent`."""
        recorded = read_jobs(self.store, parent)
        listed = () if recorded is None else recorded.jobs
        return resumed(self.work, self.store, parent, recorded_settings(parent), listed)

    def identity(self, plan: SweepPlan) -> RunIdentity:
        """The name and the tags of the parent run."""
        name = self.config.tracking.run_name or sweep_name(plan.swept, self.overrides)
        tags = {
            "harness.kind": "sweep",
            SWEPT_TAG: json.dumps(plan.swept),
            SWEEP_FINGERPRINT_TAG: self.work.fingerprint,
            JOBS_TAG: str(len(plan.jobs)),
            **({CONFIRMS_TAG: plan.confirms} if plan.confirms else {}),
            **reused_tags(plan.reused, plan.parent.tags if plan.parent is not None else {}),
        }
        experiment = self.config.tracking.experiment
        return RunIdentity(plan.parent.name if plan.parent else name, experiment, overrides=self.overrides, tags=tags)

    def outlook(self) -> Outlook:
        """What `run_sweep` would do now; nothing is written. Raises as it does."""
        with cached_reads(self.store):
            plan = self.look_up()
            known = [] if self.store.is_missing else read_runs(self.store)
        due = plan.due(self.config.resume)
        threads = self.config.threads or plan.threads
        launcher = own_launcher(self.jobs.launcher)
        workers = 1 if launcher is None else launcher.count(max(len(due), 1), threads)
        busy = holder_of(plan.parent) if plan.parent is not None and is_held(plan.parent) else None
        return Outlook(plan, due, Forecast(known), workers, busy)


def run_sweep(sweep: SweepRequest, display: SweepDisplay, report: Report) -> str:
    """Train the remaining jobs of a sweep, or watch another command train them; `report` prints the comparison. Returns
    the id of the parent run.

    Raises `SweepFailed` if not every run finished, `RequestError` if there is nothing to resume.
    """
    if not sweep.chooses_jobs:
        display.say(f"Every job runs: {sweep.jobs.sweeper} cannot skip finished jobs.")
    while True:
        with cached_reads(sweep.store):
            with display.doing("Looking for earlier runs of these jobs"):
                plan = sweep.look_up()
            parent = plan.parent
            held = parent is not None and is_held(parent)
            if not held and _nothing_to_do(sweep, plan, display):
                assert parent is not None
                print_result(sweep.store, plan, report, display)
                return parent.run_id
        holder = holder_of(parent) if parent is not None else None
        if parent is not None and held:
            display.say(f"This sweep is already running in {holder}. Watching it; Ctrl-C ends only the watching.")
            done = [run for run in plan.runs if run.state is RunState.FINISHED]
            with display.live(parent.name, len(plan.jobs), done, reused=len(plan.reused)):
                ended = follow(sweep.store, parent.run_id, display.show)
            if ended:
                print_result(sweep.store, plan, report, display)
                return parent.run_id
            display.say("The command that ran this sweep has gone. Resuming the sweep.")
            plan = sweep.resuming(parent)
        if parent_id := _work(sweep, plan, holder.number if holder is not None else 0, display, report):
            return parent_id


def _nothing_to_do(sweep: SweepRequest, plan: SweepPlan, display: SweepDisplay) -> bool:
    resume, parent = sweep.config.resume, plan.parent
    if resume == "only_failed" and parent is None:
        raise RequestError(
            f"resume=only_failed: the experiment {sweep.config.tracking.experiment} has no earlier sweep of these "
            "jobs. Leave the setting out to start one."
        )
    if parent is None or plan.due(resume):
        return False
    if resume == "only_failed" and _reused_before(plan) == plan.reused:
        display.say("No job has failed: nothing to do.")
        return True
    if parent.state is not RunState.FINISHED or _reused_before(plan) != plan.reused:
        return False  # it was interrupted before its table was made, or other runs are reused in place of deleted ones
    for remark in plan.remarks():
        display.say(remark)
    more = "" if plan.confirms else " resume=false would train them again."
    display.say(f"All {len(plan.jobs)} jobs are finished already.{more}")
    return True


def _reused_before(plan: SweepPlan) -> dict[int, str]:
    """The reused runs that the parent run has recorded, in the form of `SweepPlan.reused`."""
    recorded = reused_runs(plan.parent.tags, plan.parent.run_id) if plan.parent is not None else {}
    return {number: run_id for run_id, number in recorded.items()}


def _work(sweep: SweepRequest, plan: SweepPlan, over: int, display: SweepDisplay, report: Report) -> str | None:
    """Take the lease and train the jobs that are due. Returns the id of the parent run, or None if another command got
    the lease first.

    `over` is the number of the last lease, which has ended.
    """
    due, store = plan.due(sweep.config.resume), sweep.store
    if plan.parent is not None:
        _refuse_without_claims(sweep, plan.parent)
    config = replace(sweep.config, threads=sweep.config.threads or plan.threads)
    with workers_for(sweep.jobs.launcher, max(len(due), 1), config) as pool, naming_spools(pool, len(plan.jobs)):
        with display.doing("Starting workers, checking the data and the store"):
            sweep.check()
            parent: RunWriter | None = None
            if plan.parent is None:
                identity = sweep.identity(plan)
                parent = RunWriter(store, identity) if sweep.fresh else new_parent(store, sweep.work, identity)
                if parent is None:
                    return None
            parent_id = parent.run_id if parent is not None else plan.parent.run_id if plan.parent else ""
            lease = take_lease(store, parent_id, over)
        if lease is None:
            return None
        with lease:
            if parent is None:
                [record] = read_runs(store, run_ids=[parent_id], include_parents=True)
                take_over(store, record, display.say, config.timeout, [*map(str, jobs_elsewhere(record))])
                plan = sweep.resuming(record)
                parent = RunWriter(store, sweep.identity(plan), parent_id)
            try:
                if pool is not None and sweep.chooses_jobs:
                    parent.log_text(JOBS_FILE, as_text(recorded_jobs(plan, pool.threads)))
                runs = _carry_out(sweep, plan, parent, pool, lease, display, report)
            except KeyboardInterrupt:
                display.say(_how_to_resume(sweep))
                raise
    raise_if_unfinished(store, runs, len(plan.jobs) if sweep.knows_jobs else len(one_a_job(runs)))
    return parent_id


def _how_to_resume(sweep: SweepRequest) -> str:
    if not sweep.chooses_jobs:
        return f"Interrupted. {sweep.jobs.sweeper} cannot skip finished jobs: the same command starts again."
    fresh = ", without resume=false," if sweep.config.resume == "false" else ""
    return f"Interrupted. The same command{fresh} resumes this sweep:\n{shown_uri(typed_command())}"


def _refuse_without_claims(sweep: SweepRequest, parent: RunRecord) -> None:
    """Refuse a launcher that claims no jobs while other machines train some of this sweep."""
    if own_launcher(sweep.jobs.launcher) is not None:
        return
    unfinished = {job_number(run) for run in sweep_runs(sweep.store, parent.run_id) if run.state is RunState.RUNNING}
    if elsewhere := jobs_elsewhere(parent).keys() & unfinished:
        raise RequestError(
            f"{len(elsewhere)} jobs of this sweep are being trained by processes that joined it, and only "
            "hydra/launcher=pool, ray and slurm share a sweep with others. Use one, or wait until they have ended."
        )


def _carry_out(
    sweep: SweepRequest,
    plan: SweepPlan,
    parent: RunWriter,
    pool: WorkerGroup | None,
    lease: Lease,
    display: SweepDisplay,
    report: Report,
) -> list[RunRecord]:
    """Train the jobs that are due and end the parent run; returns the sweep's runs."""
    for remark in plan.remarks():
        display.say(remark)
    state, ended = RunState.FAILED, None
    try:
        with Claims(parent.store, parent.run_id, lease.number, joined=False) as claims:
            lease.beside = claims.beat
            due = plan.due(sweep.config.resume)
            ended = train(sweep, plan, due, parent, pool, claims, display, is_lost=lease.is_lost, looked=lease.look)
        state = RunState.FINISHED
    except KeyboardInterrupt:
        state = RunState.KILLED
        raise
    finally:
        if lease.is_lost():
            raise HarnessError(
                "This command was silent for a minute, and another command has taken over the sweep. "
                "`harness sweep --watch` shows it."
            )
        with cached_reads(parent.store):  # all jobs have ended: their runs do not change any more
            if not sweep.knows_jobs:
                plan = as_it_came(plan, sweep_runs(parent.store, parent.run_id))
            runs = finish_parent(parent, plan, state, report, display, ended)
    return runs


def train(
    sweep: SweepRequest,
    plan: SweepPlan,
    due: Mapping[int, PlannedJob],
    parent: RunWriter,
    pool: WorkerGroup | None,
    claims: Claims,
    display: SweepDisplay,
    waits: Callable[[RunRecord], bool] = lambda parent: True,
    is_lost: Callable[[], bool] = lambda: False,
    looked: Callable[[Mapping[str, str]], None] = lambda parameters: None,
) -> list[RunRecord] | None:
    """Train the jobs that are `due` and that no other process has claimed, and record those that failed.

    `waits`: whether to wait for the jobs of others, see `ClaimedJobs`. `is_lost`: whether this process may no longer
    write to the sweep; `looked` is told the parameters of the parent run as they are after the last job. Returns the
    sweep's runs, if they are known to be final.
    """
    before = plan.runs
    jobs = plan.numbered(sweep.jobs)
    if pool is not None:
        record = partial(record_failure, parent, jobs, sweep.config)
        pool.record = lambda number, failure: None if is_lost() else record(number, failure)
        if sweep.chooses_jobs:
            begun = {job.number for job in due.values() if job.run is not None}
            pool.source_of = partial(ClaimedJobs, claims, sweep.config.retries, begun, waits, display.say)
        else:  # another sweeper needs to know what a job has come to
            pool.value_of = partial(recorded_objective, parent.store, parent.run_id, sweep.config.objective)
    count, told = (len(plan.jobs), "") if sweep.knows_jobs else (None, "as many runs as the sweeper wants")
    interrupted, final = False, None
    with (
        display.live(parent.name, count, before, len(due), len(plan.reused), told=told),
        watched(parent.store, claims.seen_parent, display.show, lambda: claims.least_pause) as last_look,
    ):
        try:
            if due:
                (tie,) = as_written([f"{PARENT_SETTING}={parent.run_id}"])
                words = [[*job.overrides, tie, f"{JOB_SETTING}={job.number}"] for job in due.values()]
                with choosing_jobs(words if sweep.chooses_jobs else None), retries(WHILE_TRAINING):
                    sweep.start([tie])
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            now = claims.parent()
            looked(now.parameters)
            if not is_lost():
                failures = pool.failures if pool is not None else None
                if sweep.config.resume == "only_failed" or not sweep.knows_jobs:
                    jobs = replace(jobs, jobs=())  # those without a run were not asked for
                elsewhere = jobs_elsewhere(now, claims.owner)
                found = sweep_runs(parent.store, parent.run_id, now)
                runs = [run for run in found if not (run.state is RunState.RUNNING and job_number(run) in elsewhere)]
                end_runs(parent, runs, jobs, sweep.config, failures, interrupted)
                _record_unopened(parent, runs, before, failures or {})
                if not failures and not any(run.state is RunState.RUNNING for run in found):
                    final = found
                    last_look(found)
    return final


def _record_unopened(
    parent: RunWriter, runs: Sequence[RunRecord], before: Sequence[RunRecord], failures: Mapping[int, Failure]
) -> None:
    """Record why a run that was to be resumed could not be opened."""
    ended = {run.run_id: run.ended for run in before}
    own = [run for run in runs if run.parent_id == parent.run_id]
    for run in one_a_job(own).values():
        if (failure := failures.get(job_number(run))) and ended.get(run.run_id, ...) == run.ended:
            close_failed(parent.store, run, failure)
