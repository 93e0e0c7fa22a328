"""The worker pool of a sweep: assigns jobs to workers, retries failed jobs, and gives up after too many failures."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial

from hydra.core.utils import JobReturn, JobStatus

from harness.config.schema import Config
from harness.errors import StoreError, SweepFailed
from harness.machine import mark_children
from harness.sweeps.contract import Choose, JobSource, Record, Worker, WorkerLost
from harness.sweeps.worker import Failure, Job, WorkerSpec
from harness.sweeps.worker_process import DIED

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2


class JobList:
    """A source of the given jobs."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = list(jobs)
        self._choosing = threading.Lock()

    def next(self, choose: Choose) -> Job | None:
        with self._choosing:
            if not self._waiting:
                return None
            job = choose(self._waiting)
            self._waiting.remove(job)
            return job

    def ended(self, job: Job) -> None:
        """Nothing depends on it."""

    def close(self) -> None:
        with self._choosing:
            self._waiting.clear()


class WorkerPool:
    """Workers, and the jobs that wait for them in a `JobSource` (a `WorkerGroup`).

    `config` is that of any job: `timeout`, `retries`, `max_failures` and `fail_fast` are the same for all.
    """

    def __init__(self, starters: Sequence[Callable[[], Worker]], config: Config) -> None:
        """Start the workers; their processes import the libraries while the command prepares the sweep."""
        self.failures: dict[int, Failure] = {}
        """Why a job failed in its last try, by its number."""
        self.record: Record | None = None
        self.value_of: Callable[[int], object] = lambda number: None
        """What a job that has ended returns to Hydra's sweeper, by its number."""
        self.grows = False
        self.source_of: Callable[[Sequence[Job]], JobSource] = JobList
        """Makes the source of the jobs that `work` gets."""
        self._config = config
        self._source: JobSource = JobList(())
        self._kinds: dict[WorkerSpec, tuple[str, ...]] = {}
        self._given_back: list[Job] = []
        self._losses: Counter[int] = Counter()
        self._out = 0
        self._exhausted: set[WorkerSpec] = set()
        self._is_stopping = False
        self._choosing = threading.Lock()
        self._recording = threading.Lock()
        self._in_a_row = 0
        self._gave_up: str | None = None
        self._errors: list[BaseException] = []
        mark_children()
        with _interrupts_blocked():
            self._workers = [start() for start in starters]

    @property
    def threads(self) -> int | None:
        """The number of threads of each worker."""
        return self._workers[0].spec.threads if self._workers else None

    def work(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Run every job; the reasons of failures are in `failures`.

        After one interrupt it waits for the end of the epoch; after two it stops at once. It returns only when no job
        is running. Raises `SweepFailed` if `max_failures` jobs in a row have failed.
        """
        self._source, self._exhausted = self.source_of(jobs), set()
        feeders = [
            threading.Thread(target=copy_context().run, args=(self._feed, worker), daemon=True)
            for worker in self._workers
        ]
        interruptions: list[KeyboardInterrupt] = []
        while True:
            try:
                with _interrupts_blocked():
                    for feeder in feeders:
                        if feeder.ident is None:
                            feeder.start()
                if len(interruptions) == 1:
                    self._call_off()
                    log.warning("Stopping at the end of the epoch. Ctrl-C again stops at once.")
                if len(interruptions) > 1:
                    for worker in self._workers:
                        worker.cancel()
                _wait(feeders)
                if len(interruptions) > 1:
                    self.end()
                break
            except KeyboardInterrupt as interruption:
                interruptions.append(interruption)
        for error in [*interruptions, *self._errors]:
            raise error
        if self._gave_up is not None:
            raise SweepFailed(self._gave_up)
        return [
            JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=self.value_of(job.number))
            for job in jobs
        ]

    def end(self) -> None:
        """End the workers; a job that still runs is stopped at once."""
        for worker in self._workers:
            worker.end()

    def _feed(self, worker: Worker) -> None:
        """Give one worker job after job, until none is left (runs in the worker's own thread)."""
        try:
            while (job := self._next(worker)) is not None:
                try:
                    self._count(self._see_through(worker, job))
                    self._source.ended(job)
                except WorkerLost as lost:
                    self._give_back(job, Failure(str(lost), DIED))
                finally:
                    self._count_out(-1)
        except CancelledError:
            pass  # stopped at once
        except BaseException as error:  # noqa: BLE001 - raised again by `work`: it would end in this thread
            self._errors.append(error)
            self._call_off()

    def _next(self, worker: Worker) -> Job | None:
        """The worker's next job, which counts as out then. If there is none, it waits for the jobs that are out:
        another worker may be lost, and its job given back."""
        while not self._is_stopping:
            if not worker.is_ready(LOOK_SECONDS):
                if self._exhausted and not self._out and not self._given_back:
                    return None
                continue
            self._count_out(1)
            with self._choosing:
                job = self._given_back.pop(0) if self._given_back else None
            if job is None and worker.spec not in self._exhausted:
                job = self._source.next(partial(self._choose, worker.spec))
            if job is not None:
                return job
            self._exhausted.add(worker.spec)  # others may still get jobs that follow from theirs
            self._count_out(-1)
            if not self._out and not self._given_back:
                return None
            time.sleep(LOOK_SECONDS)
        return None

    def _count_out(self, change: int) -> None:
        with self._choosing:
            self._out += change

    def _give_back(self, job: Job, failure: Failure) -> None:
        """The worker of a job is lost, so another one gets the job: once at least, and as often as `retries` says."""
        self.failures[job.number] = failure
        self._tell(job, failure)
        self._losses[job.number] += 1
        if self._losses[job.number] > max(1, self._config.retries):
            self._count(failure)
            self._source.ended(job)
            return
        log.warning("Job %d is trained elsewhere: %s", job.number, failure.reason)
        with self._choosing:
            self._given_back.append(replace(job, is_new=False))

    def _choose(self, spec: WorkerSpec, free: Sequence[Job]) -> Job:
        """The next job for a worker: the first of the kind that it did last (its program is compiled); else the first
        of a kind that no other worker is running; else the first."""
        with self._choosing:
            last = self._kinds.get(spec)
            others = {kind for other, kind in self._kinds.items() if other is not spec}
            job = min(free, key=lambda job: (job.kind != last, job.kind in others))
            self._kinds[spec] = job.kind
            return job

    def _see_through(self, worker: Worker, job: Job) -> Failure | None:
        """Run one job, with retries if they may help. Returns the reason of the last failure, or None."""
        for left in range(self._config.retries, -1, -1):
            failure = worker.carry_out(job, self._config.timeout)
            job = replace(job, is_new=False)
            if failure is None:
                self.failures.pop(job.number, None)
                return None
            self.failures[job.number] = failure
            self._tell(job, failure)
            if failure.lasting or not left or self._is_stopping:
                break
            log.warning("Job %d is tried again (%d more): %s", job.number, left, failure.reason)
        return failure

    def _tell(self, job: Job, failure: Failure) -> None:
        if self.record is None:
            return
        try:
            with self._recording:
                self.record(job.number, failure)
        except StoreError as error:  # the end of the sweep records it again (`lost_jobs.end_runs`)
            log.warning("Why job %d failed could not be recorded yet: %s", job.number, error)

    def _count(self, failure: Failure | None) -> None:
        """Give up after too many failures in a row."""
        limit = 1 if self._config.fail_fast else self._config.max_failures
        with self._choosing:
            self._in_a_row = self._in_a_row + 1 if failure is not None else 0
            if failure is None or self._in_a_row != limit:
                return
            setting = "fail_fast=true" if self._config.fail_fast else f"max_failures={limit}"
            failed = "A job" if limit == 1 else f"{limit} jobs in a row"
            self._gave_up = (
                f"{failed} failed, so the sweep was stopped ({setting}): running jobs ended with their epoch, and "
                f"no further job was started. The last reason: {failure.reason}"
            )
        log.warning("%s failed: stopping at the end of the epoch (%s).", failed, setting)
        self._call_off()

    def _call_off(self) -> None:
        """Start no further job and no retry; running jobs stop at the end of their epoch."""
        self._is_stopping = True
        self._source.close()
        for worker in self._workers:
            worker.stop()


def _wait(threads: Sequence[threading.Thread]) -> None:
    """Wait until all threads have ended; in short steps, because Python handles signals only between them."""
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT and SIGHUP in threads and processes that start in the block. Ctrl-C and a closed terminal signal
    every process of the command, but only the launcher may react."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
