"""A Hydra launcher that trains the jobs of a sweep in worker processes on this machine.

On a CPU two processes of one thread train faster than one process of two threads: the products of a small model are too
short to be shared out. Each worker is a pebble pool of one process, so that one that dies takes its own job with it and
is replaced.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from types import FrameType

from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from harness.composing import register
from harness.errors import ConfigError
from harness.machine import available_cpus, available_memory, gpus
from harness.run import load_libraries

log = logging.getLogger(__name__)

WORKER_MEMORY = 2 * 2**30
"""Bytes that a worker may come to need: TensorFlow, a dataset, the programs of some models."""


@dataclass(frozen=True)
class Slot:
    """The place of one worker: its number, TensorFlow's threads inside an operation, and its GPU, if any."""

    number: int
    threads: int
    device: str | None


@dataclass(frozen=True)
class Job:
    """What a worker needs to carry out one job of a sweep."""

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    context: HydraContext
    task: TaskFunction


def plan_slots(workers: int | None, jobs: int, threads: int | None = None) -> list[Slot]:
    """The workers for `jobs` jobs: as many as asked for; else one for each GPU, or for each core that memory allows.

    The cores are shared out evenly where the number of `threads` is not given. Raises `ConfigError` if fewer than one
    worker is asked for.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ConfigError(f"hydra.launcher.workers={workers}: must be a whole number, at least 1, or null.")
    devices = gpus()
    fitting = len(devices) or min(available_cpus(), available_memory() // WORKER_MEMORY)
    count = max(1, min(jobs, workers or fitting))
    share = threads or max(1, available_cpus() // count)
    return [Slot(number, share, devices[number % len(devices)] if devices else None) for number in range(count)]


class PoolLauncher(Launcher):
    """`hydra/launcher=pool`. Jobs start in their order; results are returned in that order too.

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
        self.deaths: dict[int, str] = {}
        """Why the worker of a job died, by the job's number."""
        self._waiting: deque[Job] = deque()
        self._returns: dict[int, JobReturn] = {}
        self._running: dict[int, ProcessFuture[JobReturn]] = {}
        self._faults: list[Exception] = []
        self._processes = multiprocessing.get_context("spawn")
        self._stop = self._processes.Event()
        with _interrupts_blocked():
            self._pools = {slot: self._open_pool(slot) for slot in slots}

    def work(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Carry out every job; what each returned, in their order."""
        self._waiting.extend(jobs)
        feeders = [threading.Thread(target=self._feed, args=(slot,), daemon=True) for slot in self._pools]
        with _interrupts_blocked():
            for feeder in feeders:
                feeder.start()
        try:
            _wait(feeders)
        except KeyboardInterrupt:
            self._waiting.clear()
            self._stop.set()
            log.warning("Stopping at the end of the epoch. Ctrl-C again stops at once.")
            try:
                _wait(feeders)
            except KeyboardInterrupt:
                for future in list(self._running.values()):
                    future.cancel()  # type: ignore[no-untyped-call]
                _wait(feeders)
            raise
        for fault in self._faults:
            raise fault
        return [self._returns[job.number] for job in jobs]

    def end(self) -> None:
        """Let the workers go; a job that still runs is stopped at once."""
        for pool in self._pools.values():
            _end(pool)

    def _feed(self, slot: Slot) -> None:
        """Give one worker a job after the other, and replace it when it dies."""
        try:
            while self._waiting:
                try:
                    job = self._waiting.popleft()
                except IndexError:  # another feeder took the last one
                    break
                self._running[job.number] = self._pools[slot].schedule(_carry_out, args=[job])
                try:
                    self._returns[job.number] = self._running[job.number].result()
                except (ProcessExpired, BrokenProcessPool, CancelledError) as error:
                    self.deaths[job.number] = _cause_of_death(error)
                    self._returns[job.number] = JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
                    if isinstance(error, BrokenProcessPool):  # its worker died before it had taken the job
                        _end(self._pools[slot])
                        self._pools[slot] = self._open_pool(slot)
                finally:
                    del self._running[job.number]
        except Exception as error:  # noqa: BLE001 - raised again by `work`, in the main thread
            self._faults.append(error)

    def _open_pool(self, slot: Slot) -> ProcessPool:
        pool = ProcessPool(
            max_workers=1, context=self._processes, initializer=_start_worker, initargs=(slot, self._stop)
        )
        pool.schedule(load_libraries, args=[slot.threads])
        return pool


_crew: Crew | None = None


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


def stop_requested() -> bool:
    """Whether the sweep that this worker belongs to is to end, or has died; always false outside a worker."""
    return _worker is not None and (_worker.stop.is_set() or os.getppid() != _worker.launcher)


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    slot: Slot
    stop: Event
    launcher: int
    busy: bool = False


_worker: _Worker | None = None


def _start_worker(slot: Slot, stop: Event) -> None:
    """The first thing that a worker process does."""
    global _worker
    _worker = _Worker(slot, stop, os.getppid())
    signal.signal(signal.SIGTERM, _stop_at_once)
    if slot.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.device


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """SIGTERM in a worker: a job is told by an exception, so that its run is closed; an idle worker just ends."""
    if _worker is not None and _worker.busy:
        raise KeyboardInterrupt
    os._exit(0)


def _carry_out(job: Job) -> JobReturn:
    """One job in a worker, as Hydra's own launcher does it."""
    assert _worker is not None
    register()
    setup_globals()
    config = job.context.config_loader.load_sweep_config(job.config, list(job.overrides))
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = job.number
        if config.get("threads") is None:
            config.threads = _worker.slot.threads
        # What there is to warn of, the command has said before it started the workers; their logs repeat it.
        if (screen := OmegaConf.select(config, "hydra.job_logging.handlers.screen")) is not None:
            screen.level = "ERROR"
    _worker.busy = True
    try:
        done = run_job(
            hydra_context=job.context,
            task_function=job.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except KeyboardInterrupt:
        done = JobReturn(status=JobStatus.COMPLETED)
    finally:
        _worker.busy = False
    return JobReturn(overrides=job.overrides, status=done.status, _return_value=done._return_value)


def _cause_of_death(error: BaseException) -> str:
    code = getattr(error, "exitcode", None)
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the system sends it when memory runs out)" if name == "SIGKILL" else ""
        return f"Its process was ended by {name}{hint}."
    if code is not None:
        return f"Its process ended before the job did, with exit code {code}."
    return "It was stopped at once." if isinstance(error, CancelledError) else f"No process could take it up: {error}."


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
