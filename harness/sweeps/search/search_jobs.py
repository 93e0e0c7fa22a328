"""Hands out the jobs of a search on demand: further seeds of begun trials, and trials that are suggested just then.

A worker that is free never waits for a trial of another one, unless the search has nothing left to give.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum, auto

from harness.config.search import combinations
from harness.errors import StoreError
from harness.records import RunRecord, RunState
from harness.sweeps.claims import LOOK_SECONDS, Claim, Claims, has_lapsed, last_claims
from harness.sweeps.contract import Choose
from harness.sweeps.job import JOB_SETTING, PARENT_SETTING, PAUSE_TAG
from harness.sweeps.owners import StillnessWatch, jittered
from harness.sweeps.plan import one_a_job
from harness.sweeps.search.objective import Objective
from harness.sweeps.search.pruning import Pruner, paused_after
from harness.sweeps.search.samplers import Sampler, untried
from harness.sweeps.search.trials import Trial, Trials, as_text
from harness.sweeps.worker import Job
from harness.tracking.reading import read_runs
from harness.tracking.selection import TRIES_TAG, recorded_number
from harness.tracking.shared_writes import tag_run, write_once

log = logging.getLogger(__name__)


class State(Enum):
    """What becomes of a job."""

    DUE = auto()
    RUNNING = auto()
    ELSEWHERE = auto()
    PAUSED = auto()
    DONE = auto()
    FAILED = auto()


class SearchJobs:
    """The jobs of a search (a `JobSource`). `jobs` has one job as a template; `until` is a time of `time.monotonic`
    after which no trial begins. `retries`: how often a failed job is tried again by its owner. `again`: failed trials
    of earlier commands are trained again. `waits`: whether to wait for jobs of other processes. `say` tells the user.
    """

    def __init__(
        self, trials: Trials, sampler: Sampler, pruner: Pruner, claims: Claims, until: float, retries: int, again: bool,
        waits: Callable[[RunRecord], bool], say: Callable[[str], None], jobs: Sequence[Job],
    ) -> None:  # fmt: skip
        self._trials, self._sampler, self._pruner, self._claims = trials, sampler, pruner, claims
        self._until, self._retries, self._again, self._waits, self._say = until, retries, again, waits, say
        self._template = jobs[0]
        self._held: set[int] = set()
        self._out: set[int] = set()
        self._last: dict[int, Claim] = {}
        self._lapsed: set[int] = set()
        self._is_exhausted, self._is_waiting = False, True
        self._still = StillnessWatch()
        self._lock, self._over = threading.RLock(), threading.Event()

    def next(self, choose: Choose) -> Job | None:
        while not self._over.is_set():
            with self._lock:
                try:
                    self._look()
                    number, more = self._pick()
                    if number is not None and self._take(number):
                        self._say_where_to_pause(number)
                        self._held.add(number)
                        return choose([self._job(number)])
                except StoreError as error:
                    log.warning("The store could not be used to find the next trial: %s", error)
                    number, more = None, True
            if number is None:
                if not more:
                    return None
                self._over.wait(jittered(LOOK_SECONDS, 0.5))
        return None

    def ended(self, job: Job) -> None:
        with self._lock:
            self._held.discard(job.number)

    def close(self) -> None:
        self._over.set()

    def _job(self, number: int) -> Job:
        own = [*self._trials.words_of(number), f"{PARENT_SETTING}={self._claims.parent_id}", f"{JOB_SETTING}={number}"]
        return replace(self._template, number=number, overrides=tuple(own))

    def _take(self, number: int) -> bool:
        last = self._last.get(number)
        return self._claims.take(number, last.number if last is not None else 0)

    def _say_where_to_pause(self, job: int) -> None:
        """Tell the worker after which epoch the first run of a trial pauses."""
        number, place = divmod(job, self._trials.seeds)
        if place or not self._pruner.rungs:
            return
        run = self._trials.by_number[number].runs.get(0)
        epochs = 0 if run is None else run.epochs if paused_after(run) is not None else run.epochs - 1
        pause = self._pruner.next_pause(epochs) or 0
        tag_run(self._claims.store, self._claims.parent_id, {f"{PAUSE_TAG}{job}": str(pause)})

    def _look(self) -> None:
        """Find out from the store what has become of the trials that have not ended."""
        parent, trials = self._claims.parent(), self._trials
        trials.read(parent)
        self._last = last_claims(parent)
        self._lapsed = {
            job for job, claim in self._last.items()
            if claim.owner != self._claims.owner and self._is_open(job) and has_lapsed(parent, claim, self._still)
        }  # fmt: skip
        self._is_waiting = self._waits(parent)
        for job in [job for job in self._last if self._is_open(job)]:
            found = read_runs(self._claims.store, parent_id=self._claims.parent_id, job=job)
            trials.set_runs(one_a_job(found))
        for trial in self._open_trials():
            trial.failed = any(self._state(job) is State.FAILED for job in self._jobs_of(trial))

    def _open_trials(self) -> list[Trial]:
        """The trials that have not failed, nor ended under all seeds."""
        seeds = self._trials.seeds
        return [one for one in self._trials.by_number.values() if not (one.failed or one.outcome(seeds).whole)]

    def _jobs_of(self, trial: Trial) -> range:
        return range(trial.number * self._trials.seeds, (trial.number + 1) * self._trials.seeds)

    def _is_open(self, job: int) -> bool:
        """Whether the run of a job may still change."""
        number, place = divmod(job, self._trials.seeds)
        trial = self._trials.by_number.get(number)
        if trial is None or trial.failed:
            return False
        run, claim = trial.runs.get(place), self._last.get(job)
        if paused_after(run) is not None and not (claim is not None and _has_resumed(run, claim)):
            return False
        return run is None or run.state is not RunState.FINISHED

    def _state(self, job: int) -> State:
        number, place = divmod(job, self._trials.seeds)
        trial = self._trials.by_number[number]
        run, claim = trial.runs.get(place), self._last.get(job)
        if run is not None and run.state is RunState.FINISHED:
            return State.DONE if len(trial.outcome(self._trials.seeds).seeds) else State.FAILED
        if job in self._held:
            return State.RUNNING
        if paused_after(run) is not None:
            theirs = claim is not None and claim.owner != self._claims.owner and job not in self._lapsed
            return State.ELSEWHERE if theirs and claim is not None and _has_resumed(run, claim) else State.PAUSED
        if job in self._claims.taken:
            return State.FAILED  # its worker has come back without a finished run
        has_failed = run is not None and run.state is RunState.FAILED
        if claim is not None and claim.owner != self._claims.owner and job not in self._lapsed:
            settled = run is not None and (not self._retries or self._still.is_still(run.run_id, run.ended))
            return State.FAILED if has_failed and settled else State.ELSEWHERE
        return State.FAILED if has_failed and not self._again else State.DUE

    def _pick(self) -> tuple[int | None, bool]:
        """The number of the next job, if there is one; else whether one may come later."""
        objective = self._trials.objective()
        due, paused, is_busy, elsewhere = list[int](), list[int](), False, False
        for trial in self._open_trials():
            states = {job: self._state(job) for job in self._jobs_of(trial)}
            elsewhere = elsewhere or State.ELSEWHERE in states.values()
            is_busy = is_busy or State.RUNNING in states.values()
            waiting = [job for job, state in states.items() if state is State.DUE]
            first = trial.number * self._trials.seeds
            if self._pruner.rungs and states[first] is not State.DONE:
                paused += [first] if states[first] is State.PAUSED else []
                waiting = [job for job in waiting if job == first]
            if not waiting or self._is_behind(trial, objective):
                continue
            if not {State.RUNNING, State.ELSEWHERE} & set(states.values()):
                return waiting[0], True  # its seeds one after the other: after each it may turn out to be behind
            due.append(waiting[0])
        if (promoted := self._promoted(paused)) is not None:
            return promoted, True
        if self._may_begin() and (number := self._begin(objective)) is not None:
            return number * self._trials.seeds, True
        if due:
            return due[0], True
        if paused and not objective.winners and not is_busy and not elsewhere:
            return self._best_paused(paused), True  # of few trials none is among the best third
        return None, elsewhere and self._is_waiting

    def _promoted(self, paused: Sequence[int]) -> int | None:
        """The paused job that continues next: the most promising of those with the most epochs."""
        by_id = {run.run_id: job for job in paused if (run := self._first_run(job)) is not None}
        for rung in reversed(self._pruner.rungs):
            there = {run_id for run_id, job in by_id.items()
                     if (run := self._first_run(job)) is not None and self._pruner.rung_of(run) == rung}  # fmt: skip
            if there:
                for run_id in self._pruner.promising(self._first_runs(), rung):
                    if run_id in there:
                        return by_id[run_id]
        return None

    def _best_paused(self, paused: Sequence[int]) -> int:
        runs = {job: run for job in paused if (run := self._first_run(job)) is not None}
        furthest = max(map(self._pruner.rung_of, runs.values()))
        there = [run for run in runs.values() if self._pruner.rung_of(run) == furthest]
        ranked = self._pruner.ranked(self._pruner.scores(there, furthest))
        return next(job for job, run in runs.items() if run.run_id in (ranked[:1] or [there[0].run_id]))

    def _first_run(self, job: int) -> RunRecord | None:
        return self._trials.by_number[job // self._trials.seeds].runs.get(0)

    def _first_runs(self) -> list[RunRecord]:
        trials = [trial for trial in self._trials.by_number.values() if not trial.failed]
        return [run for trial in trials if (run := trial.runs.get(0)) is not None]

    def _is_behind(self, trial: Trial, objective: Objective) -> bool:
        """Whether a trial cannot win any more, so that no further seed of it is trained."""
        if not self._trials.settings.racing:
            return False
        reason = objective.cannot_win(trial.outcome(self._trials.seeds))
        if reason and trial.number not in self._out:
            self._say(f"Trial {trial.number} stops: {reason}.")
        (self._out.add if reason else self._out.discard)(trial.number)
        return bool(reason)

    def _may_begin(self) -> bool:
        most, size = self._trials.settings.most_trials, combinations(self._trials.space)
        number = self._trials.next_number
        return (
            not self._is_exhausted
            and (most is None or number < most)
            and (size is None or number < size)
            and time.monotonic() < self._until
        )

    def _begin(self, objective: Objective) -> int | None:
        """Suggest a trial and write it to the store; None if all configurations are tried. Another process may have
        written one of this number first: that one is taken."""
        trials, number = self._trials, self._trials.next_number
        ended = list[int]()
        for trial in trials.by_number.values():
            told = trials.told(trial, objective, self._is_behind(trial, objective))
            run = trial.runs.get(0)
            if run is not None and self._state(trial.number * trials.seeds) is State.PAUSED:
                values, violation = self._pruner.worth(self._first_runs(), run) or (None, 0.0)
                told = replace(told, values=values, violation=violation, epochs=self._pruner.rung_of(run))
            if told.values is not None or told.failed:
                ended.append(trial.number)
            self._sampler.tell(told)
        settings = self._sampler.suggest(number)
        tried = [trial.settings for trial in trials.by_number.values()]
        if settings in tried and combinations(trials.space) is not None:
            fresh = untried(trials.space, tried, trials.settings.study_seed, number)
            if fresh is None:
                self._is_exhausted = True
                return None
            settings = fresh
        text = as_text(settings, ended)
        key = f"trial.{number}"
        if not write_once(self._claims.store, self._claims.parent_id, key, text):
            text = self._claims.parent().parameters[key]
        trials.add(number, text)
        return number


def _has_resumed(run: RunRecord | None, claim: Claim) -> bool:
    """Whether a job was claimed again after its run had paused: it has as many tries as claims before."""
    return run is not None and claim.number > recorded_number(run, TRIES_TAG, 1)


def seconds_trained(runs: Iterable[RunRecord]) -> float:
    """How long at least one of the runs was being trained: the time that a search has used so far."""
    total, end = 0.0, None
    for began, ended in sorted((run.started, run.ended) for run in runs if run.ended is not None):
        start = began if end is None else max(began, end)
        if ended > start:
            total, end = total + (ended - start).total_seconds(), ended
    return total
