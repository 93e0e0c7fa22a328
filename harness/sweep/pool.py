"""A Hydra launcher that trains the jobs of a sweep in worker processes on this machine.

On a CPU two processes of one thread train faster than one process of two threads: the products of a small model are too
short to be shared out. Each worker is a pebble pool of one process, so that one that dies takes its own job with it and
is replaced.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from pebble import ProcessFuture, ProcessPool

from harness.errors import ConfigError
from harness.machine import available_cpus, available_memory, gpus
from harness.run import load_libraries
from harness.sweep.worker import Job, Slot, carry_out, start_worker

log = logging.getLogger(__name__)

ADDRESS = "hydra_plugins.harness.PoolLauncher"
"""Where Hydra finds `PoolLauncher`."""

ATTEMPTS = 3
"""How often a worker is replaced that dies before it has taken a job."""

WORKER_MEMORY = 2 * 2**30
"""Bytes that a worker may come to need: TensorFlow, a dataset, the programs of some models."""


def plan_slots(workers: int | None, jobs: int, threads: int | None = None) -> list[Slot]:
    """The workers for `jobs` jobs: as many as asked for; else one for each GPU, or for each core that memory allows.

    The cores are shared out evenly where the number of `threads` is not given. Raises `ConfigError` if fewer than one
    worker is asked for.
    """
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ConfigError(f"hydra.launcher.workers={workers}: must be a whole number, at least 1, or null.")
    devices = gpus()
    fitting = len(devices) or min(available_cpus(), available_memory() // WORKER_MEMORY)
    count = max(1, min(jobs, workers or fitting))
    share = threads or max(1, available_cpus() // count)
    return [Slot(number, share, devices[number % len(devices)] if devices else None) for number in range(count)]


class PoolLauncher(Launcher):
    """`hydra/launcher=pool`. Jobs start in their order, but for those that a worker is already warm for.

    Ctrl-C (or SIGTERM) once: running jobs stop at the end of their epoch, no further job starts. Twice: at once.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None
        self.task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        assert self.config is not None
        assert self.context is not None
        assert self.task is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [
            Job(initial_job_idx + offset, tuple(overrides), self.config, self.context, self.task)
            for offset, overrides in enumerate(job_overrides)
        ]
        if _crew is not None:
            return _crew.work(jobs)
        with crew_at_hand(plan_slots(self.workers, len(jobs))) as crew:
            return crew.work(jobs)


class Crew:
    """Worker processes, and the jobs that wait for them."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        """Start the workers: they load what every job needs while the command prepares the sweep."""
        self.failures: dict[int, str] = {}
        """Why a job failed, by its number."""
        self.deaths: dict[int, str] = {}
        """The same for those that could not record it themselves, since their process had gone."""
        self._waiting: list[Job] = []
        self._kinds: dict[Slot, tuple[str, ...]] = {}
        self._choosing = threading.Lock()
        self._running: dict[int, ProcessFuture[str | None]] = {}
        self._processes = multiprocessing.get_context("spawn")
        self._stop = self._processes.Event()
        with _interrupts_blocked():
            self._pools = {slot: self._open_pool(slot) for slot in slots}

    def work(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Carry out every job; how each ended is in `failures`.

        Interrupted once, it waits for the end of the epoch; twice, it stops at once. It leaves only when no job runs.
        """
        self._waiting.extend(jobs)
        feeders = [threading.Thread(target=self._feed, args=(slot,), daemon=True) for slot in self._pools]
        interruptions: list[KeyboardInterrupt] = []
        while True:
            try:
                with _interrupts_blocked():
                    for feeder in feeders:
                        if feeder.ident is None:
                            feeder.start()
                if interruptions and not self._stop.is_set():
                    with self._choosing:
                        self._waiting.clear()
                    self._stop.set()
                    log.warning("Stopping at the end of the epoch. Ctrl-C again stops at once.")
                if len(interruptions) > 1:
                    for future in list(self._running.values()):
                        future.cancel()  # type: ignore[no-untyped-call]
                _wait(feeders)
                break
            except KeyboardInterrupt as interruption:
                interruptions.append(interruption)
        if interruptions:
            raise interruptions[0]
        return [JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED) for job in jobs]

    def end(self) -> None:
        """Let the workers go; a job that still runs is stopped at once."""
        for pool in self._pools.values():
            _end(pool)

    def _feed(self, slot: Slot) -> None:
        """Give one worker a job after the other. Whatever goes wrong with a job is the failure of that job."""
        while (job := self._next(slot)) is not None:
            try:
                failure = self._give(slot, job)
            except CancelledError:
                return  # stopped at once
            except BaseException as error:  # noqa: BLE001 - the worker's: no signal reaches this thread
                failure = self.deaths[job.number] = _cause_of_death(error)
            if failure is not None:
                self.failures[job.number] = failure

    def _next(self, slot: Slot) -> Job | None:
        """The first job of the kind that the worker did last, for which it has compiled; else of a kind that no other
        worker is at; else any."""
        with self._choosing:
            last = self._kinds.get(slot)
            others = {kind for other, kind in self._kinds.items() if other is not slot}
            ranked = [(job.kind != last, job.kind in others, place) for place, job in enumerate(self._waiting)]
            if not ranked:
                return None
            job = self._waiting.pop(min(ranked)[2])
            self._kinds[slot] = job.kind
            return job

    def _give(self, slot: Slot, job: Job) -> str | None:
        """Have a worker do one job; why it failed, or None. A worker that died before it took the job is replaced."""
        for attempt in range(ATTEMPTS):
            try:
                future = self._running[job.number] = self._pools[slot].schedule(carry_out, args=[job])
                return future.result()
            except (BrokenProcessPool, RuntimeError):
                _end(self._pools[slot])
                self._pools[slot] = self._open_pool(slot)
                if attempt + 1 == ATTEMPTS:
                    raise
            finally:
                self._running.pop(job.number, None)
        raise AssertionError("unreachable")

    def _open_pool(self, slot: Slot) -> ProcessPool:
        pool = ProcessPool(
            max_workers=1, context=self._processes, initializer=start_worker, initargs=(slot, self._stop)
        )
        pool.schedule(load_libraries, args=[slot.threads])
        return pool


_crew: Crew | None = None


@contextmanager
def crew_for(launcher: Mapping[str, Any], jobs: int, threads: int | None) -> Iterator[Crew | None]:
    """The pool's workers, started early, if that is the launcher which the configuration asks for; else None.

    Raises `ConfigError` for a setting that the pool does not have.
    """
    if launcher.get("_target_") != ADDRESS:
        yield None
        return
    if unknown := set(launcher) - {"_target_", "workers"}:
        raise ConfigError(f"hydra.launcher.{min(unknown)}: the pool has no such setting; it has workers.")
    with crew_at_hand(plan_slots(launcher.get("workers"), jobs, threads)) as crew:
        yield crew


@contextmanager
def crew_at_hand(slots: Sequence[Slot]) -> Iterator[Crew]:
    """Workers that serve every launch in the block: those of a sweep in batches too."""
    global _crew
    _crew = Crew(slots)
    try:
        yield _crew
    finally:
        _crew.end()
        _crew = None


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _cause_of_death(error: BaseException) -> str:
    code = getattr(error, "exitcode", None)
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the system sends it when memory runs out)" if name == "SIGKILL" else ""
        return f"Its process was ended by {name}{hint}."
    if code is not None:
        return f"Its process ended before the job did, with exit code {code}."
    return f"No process could take it up ({type(error).__name__}: {error})."


def _wait(threads: Sequence[threading.Thread]) -> None:
    """Until all have ended; in short steps, since Python looks at signals only between them."""
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Threads and processes that start here never see Ctrl-C: a terminal sends it to every process of the command, and
    the launcher alone decides what follows."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
