"""Runs a search from its request to its winner: find its trials in the store, take the lease, train, confirm."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import inf, isinf

from harness.composing import as_written
from harness.config.search import combinations
from harness.errors import HarnessError, SweepFailed
from harness.records import RunRecord, RunState
from harness.sweeps.bars import clock
from harness.sweeps.claims import Claims, jobs_elsewhere
from harness.sweeps.contract import WorkerGroup
from harness.sweeps.forecast import Forecast
from harness.sweeps.job import JOB_SETTING, PARENT_SETTING
from harness.sweeps.launcher import own_launcher, workers_for
from harness.sweeps.lease import Lease, holder_of, is_held, new_parent, take_lease, take_over
from harness.sweeps.lost_jobs import end_runs, job_number, record_failure
from harness.sweeps.plan import choosing_jobs, earlier_sweeps, one_a_job
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.recorded_jobs import FILE as JOBS_FILE
from harness.sweeps.recorded_jobs import as_text, recorded_jobs
from harness.sweeps.search.ending import finish, show_result
from harness.sweeps.search.objective import Objective
from harness.sweeps.search.pruning import Pruner, rungs
from harness.sweeps.search.request import SEARCH_FILE, SearchRequest
from harness.sweeps.search.samplers import make_sampler
from harness.sweeps.search.search_jobs import SearchJobs, seconds_trained
from harness.sweeps.search.trials import Trials
from harness.sweeps.watch import follow, watched
from harness.tracking.access import WHILE_TRAINING, retries, shown_uri
from harness.tracking.provenance import typed_command
from harness.tracking.reading import cached_reads, read_runs, sweep_runs
from harness.tracking.selection import THREADS_TAG
from harness.tracking.writing import RunWriter

ENDLESS = 10_000
"""The number of jobs for which workers are planned if only time ends the search."""


def run_search(search: SearchRequest, display: SweepDisplay) -> str:
    """Train trials until the budget is spent, or watch another command do it; then confirm the winner. Returns the id
    of the parent run.

    Raises `SweepFailed` if no trial has ended, or every one has failed.
    """
    while True:
        with display.doing("Looking for earlier trials of this search"):
            parent = find_parent(search)
        holder = holder_of(parent) if parent is not None else None
        if parent is not None and is_held(parent):
            display.say(f"This search is already running in {holder}. Watching it; Ctrl-C ends only the watching.")
            with display.live(parent.name, search.most_jobs, told=budget(search)):
                ended = follow(search.store, parent.run_id, display.show)
            if ended:
                show_result(search, trials_of(search, parent), parent, display)
                return parent.run_id
            display.say("The command that ran this search has gone. Resuming the search.")
        trials = trials_of(search, parent)
        if parent is not None and parent.state is RunState.FINISHED and is_spent(search, trials):
            display.say("The budget of this search is spent already. More search.trials or search.time extend it.")
            show_result(search, trials, parent, display)
            return parent.run_id
        if parent_id := _work(search, parent, holder.number if holder is not None else 0, display):
            return parent_id


def is_spent(search: SearchRequest, trials: Trials) -> bool:
    """Whether no trial may begin any more: there are as many as wanted, or their training took the whole time."""
    most, seconds = search.most_jobs, search.settings.seconds
    runs = [run for trial in trials.by_number.values() for run in trial.runs.values()]
    return (most is not None and trials.next_number * trials.seeds >= most) or (
        seconds is not None and seconds_trained(runs) >= seconds
    )


def find_parent(search: SearchRequest) -> RunRecord | None:
    """The parent run of this search, if it was begun before. Raises `StoreError`."""
    if search.config.resume == "false":
        return None
    with cached_reads(search.store):
        earlier = earlier_sweeps(search.examples, search.store)
    return earlier[-1] if earlier else None


def trials_of(search: SearchRequest, parent: RunRecord | None) -> Trials:
    """The trials that the store has. Raises `StoreError`."""
    trials = search.trials()
    if parent is not None:
        trials.read(parent)
        trials.set_runs(one_a_job(sweep_runs(search.store, parent.run_id)))
        if search.config.resume != "only_failed":
            for trial in trials.by_number.values():
                trial.failed = any(run.state is RunState.FAILED for run in trial.runs.values())
    return trials


def _work(search: SearchRequest, parent: RunRecord | None, over: int, display: SweepDisplay) -> str | None:
    """Take the lease and train. Returns the id of the parent run, or None if another command was faster."""
    store = search.store
    with cached_reads(store):
        earlier = [] if parent is None else read_runs(store, parent_id=parent.run_id)
    config = replace(search.config, threads=search.config.threads or threads_of(earlier))
    with workers_for(search.given.launcher, search.most_jobs or ENDLESS, config) as pool:
        assert pool is not None
        with display.doing("Starting workers, checking the data and the store"):
            search.check()
            writer: RunWriter | None = None
            if parent is None:
                identity = search.identity(None)
                fresh = config.resume == "false"
                writer = RunWriter(store, identity) if fresh else new_parent(store, search.examples, identity)
                if writer is None:
                    return None
            parent_id = writer.run_id if writer is not None else parent.run_id if parent is not None else ""
            lease = take_lease(store, parent_id, over)
        if lease is None:
            return None
        with lease:
            if writer is None:
                [record] = read_runs(store, run_ids=[parent_id], include_parents=True)
                take_over(store, record, display.say, config.timeout, [*map(str, jobs_elsewhere(record))])
                writer = RunWriter(store, search.identity(record), parent_id)
            writer.log_text(JOBS_FILE, as_text(recorded_jobs(search.examples, pool.threads)))
            writer.log_text(SEARCH_FILE, search.as_text())
            trials = trials_of(search, record_of(search, parent_id))
            state = RunState.FAILED
            try:
                with Claims(store, parent_id, lease.number, joined=False) as claims:
                    lease.beside = claims.beat
                    train_trials(search, trials, writer, pool, claims, display, is_lost=lease.is_lost)
                state = RunState.FINISHED
            except KeyboardInterrupt:
                state = RunState.KILLED
                display.say(f"Interrupted. The same command resumes this search:\n{shown_uri(typed_command())}")
                raise
            finally:
                _refuse_lost(lease)
                trials = trials_of(search, record_of(search, parent_id))
                finish(search, trials, writer, state, display)
    if not trials.objective().winners:
        if any(trial.outcome(trials.seeds).whole for trial in trials.by_number.values()):
            show_result(search, trials, record_of(search, parent_id), display)
            raise SweepFailed(
                f"No trial is accurate enough: search.min_accuracy={search.settings.min_accuracy:g}. Ask for less, or "
                "give more search.trials."
            )
        raise SweepFailed(
            f"No trial has ended under all of its {trials.seeds} seeds ({_failed(trials)} failed). `harness ui` shows "
            "each failure's message (tag harness.error)."
        )
    show_result(search, trials, record_of(search, parent_id), display)
    return parent_id


def threads_of(runs: Sequence[RunRecord]) -> int | None:
    """The number of threads that most of the runs had (it affects the last digits of results)."""
    counted = Counter(run.tags[THREADS_TAG] for run in runs if run.tags.get(THREADS_TAG, "").isdecimal())
    return int(counted.most_common(1)[0][0]) if counted else None


def record_of(search: SearchRequest, parent_id: str) -> RunRecord:
    """The parent run as it is now."""
    [record] = read_runs(search.store, run_ids=[parent_id], include_parents=True)
    return record


def _failed(trials: Trials) -> int:
    return sum(trial.failed for trial in trials.by_number.values())


def _refuse_lost(lease: Lease) -> None:
    if lease.is_lost():
        raise HarnessError(
            "This command was silent for a minute, and another command has taken over the search. "
            "`harness search --watch` shows it."
        )


def train_trials(
    search: SearchRequest,
    trials: Trials,
    parent: RunWriter,
    pool: WorkerGroup,
    claims: Claims,
    display: SweepDisplay,
    waits: Callable[[RunRecord], bool] = lambda parent: True,
    is_lost: Callable[[], bool] = lambda: False,
) -> None:
    """Train trials until the budget is spent, and record jobs that failed."""
    settings, before = search.settings, [run for trial in trials.by_number.values() for run in trial.runs.values()]
    left = inf if settings.seconds is None else settings.seconds - seconds_trained(before)
    sampler = make_sampler(settings, search.space, Objective.count(settings))
    pruner = Pruner(settings, rungs(settings, search.config.regime.epochs), search.store)
    again = search.config.resume == "only_failed"
    until = time.monotonic() + left

    def listed() -> list[list[str]]:
        """The overrides of the jobs by number."""
        return [trials.words_of(job) if job // trials.seeds in trials.by_number else []
                for job in range(trials.next_number * trials.seeds)]  # fmt: skip

    pool.record = lambda number, failure: (
        None if is_lost() else record_failure(parent, search.jobs(listed()), search.config, number, failure)
    )
    pool.grows = True
    pool.source_of = partial(
        SearchJobs, trials, sampler, pruner, claims, until, search.config.retries, again, waits, display.say
    )
    total = search.most_jobs
    done = [run for run in before if run.state is RunState.FINISHED]
    interrupted = False
    with (
        display.live(parent.name, total, done, told=budget(search, left), seconds=None if isinf(left) else left),
        watched(parent.store, claims.seen_parent, display.show, lambda: claims.least_pause),
    ):
        try:
            (tie,) = as_written([f"{PARENT_SETTING}={parent.run_id}"])
            template = [*search.examples.jobs[0].overrides, tie, f"{JOB_SETTING}=0"]
            with choosing_jobs([template]), retries(WHILE_TRAINING):
                search.start([tie])
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if not is_lost():
                now = claims.parent()
                trials.read(now)  # tasks that joined may have suggested some
                elsewhere = jobs_elsewhere(now, claims.owner)
                runs = sweep_runs(parent.store, parent.run_id)
                runs = [run for run in runs if not (run.state is RunState.RUNNING and job_number(run) in elsewhere)]
                end_runs(parent, runs, search.jobs(listed()), search.config, pool.failures, interrupted)


def budget(search: SearchRequest, left: float = inf) -> str:
    """`at most 50 trials under 3 seeds, 150 runs`, `trials under 3 seeds for 2m, 1:25 left`."""
    settings, most = search.settings, search.most_jobs
    trials = "trials" if most is None else f"at most {most // settings.seeds} trials"
    text = f"{trials} under {settings.seeds} seed{'s' * (settings.seeds > 1)}"
    text += f", {most} runs" if most is not None else ""
    if settings.time is not None:
        text += f"{',' * (most is not None)} for {settings.time}"
    is_less = settings.seconds is not None and 0 < left < settings.seconds
    return f"{text}, {clock(left)} left" if is_less else text


def plan_lines(search: SearchRequest) -> list[str]:
    """What a search would do: its space, its budget, and how long it would take. Raises `StoreError`."""
    settings, parent = search.settings, find_parent(search)
    trials = trials_of(search, parent)
    with cached_reads(search.store):
        forecast = Forecast([] if search.store.is_missing else read_runs(search.store))
    lines = [f"{search.identity(parent).name}, sampler {settings.sampler}, objective {settings.objective}"]
    width = max(map(len, search.space))
    lines += [f"  {key:{width}}  {dimension}" for key, dimension in search.space.items()]
    size = combinations(search.space)
    lines.append(f"  {'configurations':{width}}  {'no end of them' if size is None else f'{size:,}'}")
    most = search.most_jobs
    again = f"then the winner again under {settings.confirm} fresh seeds" if settings.confirm else "no fresh seeds"
    lines.append(f"Budget: {budget(search)}; {again}.")
    if begun := len(trials.by_number):
        lines.append(f"{begun} trial{'s are' if begun > 1 else ' is'} in the store already.")
    launcher = own_launcher(search.given.launcher)
    workers = launcher.count(most or ENDLESS, search.config.threads) if launcher is not None else 1
    known = [seconds for job in search.examples.jobs if (seconds := forecast.job_seconds(job)) is not None]
    if most is not None and known:
        due = max(most - sum(len(trial.runs) for trial in trials.by_number.values()), 0) + settings.confirm
        lines.append(
            f"At most about {due * sum(known) / len(known) / workers / 60:.0f} minutes on {workers} "
            f"worker{'s' * (workers > 1)}, by earlier runs of this machine; trials that stop early make it less."
        )
    elif most is not None:
        lines.append("How long it takes is not known: no run of this kind was trained on this machine.")
    return lines
