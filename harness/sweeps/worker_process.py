"""Controls one worker process from the command: gives it jobs, enforces the timeout, replaces it if it dies."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import SpawnContext
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from harness.run.execute import load_libraries
from harness.sweeps.contract import Worker
from harness.sweeps.worker import (
    DUMP,
    Failure,
    Job,
    Shared,
    WorkerSpec,
    carry_out,
    compose_job,
    job_folder,
    start_worker,
)

log = logging.getLogger(__name__)

DIED = "ProcessDied"
TIMED_OUT = "TimedOut"

ATTEMPTS = 3
"""How often a worker is replaced that dies before it has started its job."""

_COMPOSING = threading.Lock()
"""Each worker has its own thread, and several may die at the same time; but the composer is not thread-safe."""

LOOK = 0.2
"""Seconds between two checks of a job with a timeout."""
DUMPING = 1.0
"""Seconds that a worker has to write its traceback before it is killed."""

MEANINGS = {
    signal.SIGKILL: "the system sends it when memory runs out",
    signal.SIGSEGV: "a fault in compiled code: traceback.txt says where",
    signal.SIGBUS: "memory or a mapped file was gone, usually because a disk or /dev/shm is full",
    signal.SIGABRT: "compiled code gave up: the end of the job's log says why",
    signal.SIGILL: "compiled code for another kind of processor",
    signal.SIGFPE: "an arithmetic fault in compiled code",
    signal.SIGXCPU: "a limit on processor time",
    signal.SIGTERM: "somebody asked it to end",
}
"""What it usually means when a signal ends a process."""


class WorkerProcess(Worker):
    """A worker on this machine: a pebble pool with one process, so that one that dies affects only its own job."""

    def __init__(self, spec: WorkerSpec, stop: Shared, processes: SpawnContext) -> None:
        self.spec = spec
        self._stop = stop
        self._processes = processes
        self._pid: Shared = processes.Value("i", 0, lock=False)
        self._future: ProcessFuture[Failure | None] | None = None
        self._pool = self._open_pool()

    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        """Run one job in the worker, for at most `timeout` seconds. Returns the reason of a failure, or None.

        A worker that dies, or is killed after the timeout, is replaced. Raises `CancelledError` after `cancel`.
        """
        for _ in range(ATTEMPTS):
            try:
                self._future = self._pool.schedule(carry_out, args=[job])
                return self._outcome(self._future, timeout)
            except ProcessExpired as death:
                self._replace()
                return Failure(cause_of_death(death.exitcode), DIED, folder=_folder(job))
            except _TimeUp:
                self._replace()
                reason = f"It took longer than timeout={timeout:g} s and was ended; traceback.txt says where it was."
                return Failure(reason, TIMED_OUT, folder=_folder(job))
            except (BrokenProcessPool, RuntimeError) as error:  # it died before it took the job
                self._replace()
                failure = Failure(f"No process could take it up ({type(error).__name__}: {error}).", DIED)
            finally:
                self._future = None
        return failure

    def stop(self) -> None:
        self._stop.value = 1

    def cancel(self) -> None:
        """Stop the running job at once, if there is one."""
        if (future := self._future) is not None:
            future.cancel()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """End the process; a job that still runs is stopped at once."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _outcome(self, future: ProcessFuture[Failure | None], timeout: float | None) -> Failure | None:
        """Wait for the result of the job; its time is counted from when the worker starts it."""
        if timeout is None:
            return future.result()
        began: float | None = None
        while True:
            try:
                return future.result(LOOK)
            except TimeoutError:
                if began is None and future.running():
                    began = time.monotonic()
                if began is not None and time.monotonic() - began > timeout:
                    break
        self._end_with_traceback()
        try:
            return future.result()  # it may have ended at the last moment
        except ProcessExpired:
            raise _TimeUp from None

    def _end_with_traceback(self) -> None:
        with suppress(ProcessLookupError):  # it has just died by itself
            os.kill(self._pid.value, DUMP)
            os.kill(self._pid.value, signal.SIGCONT)  # a process that was stopped hears nothing else
            time.sleep(DUMPING)
            os.kill(self._pid.value, signal.SIGKILL)

    def _replace(self) -> None:
        self.end()
        self._pool = self._open_pool()

    def _open_pool(self) -> ProcessPool:
        initargs = (self.spec, self._stop, self._pid)
        pool = ProcessPool(max_workers=1, context=self._processes, initializer=start_worker, initargs=initargs)
        pool.schedule(load_libraries, args=[self.spec.threads])
        return pool


class _TimeUp(Exception):
    """A job was killed because it took too long."""


def cause_of_death(exit_code: int) -> str:
    """A message for the exit code of a process that died; a negative code is the number of a signal."""
    if exit_code >= 0:
        return f"Its process ended before the job did, with exit code {exit_code}."
    number = signal.Signals(-exit_code)
    meaning = f" ({MEANINGS[number]})" if number in MEANINGS else ""
    return f"Its process was ended by {number.name}{meaning}."


def _folder(job: Job) -> Path | None:
    """The folder with the job's log; None if the job's configuration cannot be composed."""
    try:
        with _COMPOSING:
            return job_folder(compose_job(job))
    except (HydraException, OmegaConfBaseException) as error:
        log.warning("The folder of job %d is not known, so its log is not saved: %s", job.number, error)
        return None
