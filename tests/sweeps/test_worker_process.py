"""Worker processes that die in every way there is, each doing a job that is no training."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from multiprocessing import get_context
from pathlib import Path
from threading import Timer

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from harness.composing import CONFIG_NAME, config_loader
from harness.sweeps import worker_process
from harness.sweeps.worker import LOG, TRACEBACK, Failure, Job, WorkerSpec
from harness.sweeps.worker_process import DIED, TIMED_OUT, WorkerProcess, cause_of_death
from tests.sweeps.launcher_contract import Opened, WorkerContract


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-signal.SIGKILL, "Its process was ended by SIGKILL (the system sends it when memory runs out)."),
        (-signal.SIGSEGV, "Its process was ended by SIGSEGV (a fault in compiled code: traceback.txt says where)."),
        (-signal.SIGHUP, "Its process was ended by SIGHUP."),
        (3, "Its process ended before the job did, with exit code 3."),
        (0, "Its process ended before the job did, with exit code 0."),
    ],
)
def test_an_exit_code_in_words(exit_code: int, words: str) -> None:
    assert cause_of_death(exit_code) == words


def succeed(config: DictConfig) -> None:
    time.sleep(0.1)


def fail(config: DictConfig) -> None:
    raise MemoryError("no room for it")


def read_nowhere(config: DictConfig) -> None:
    ctypes.string_at(0)


def abort(config: DictConfig) -> None:
    print("WARNING: tracing is expensive", file=sys.stderr, flush=True)
    os.write(2, b"Check failed: shape is odd\n")
    os.abort()


def leave(config: DictConfig) -> None:
    os._exit(3)


def be_killed(config: DictConfig) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_stopped(config: DictConfig) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def hang_in_compiled_code(config: DictConfig) -> None:
    system, lock = ctypes.PyDLL(None), ctypes.create_string_buffer(64)  # a PyDLL does not let go of Python's own lock
    system.pthread_mutex_lock(lock)
    system.pthread_mutex_lock(lock)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    """It does not import TensorFlow, which takes seconds: none of the tasks trains."""
    processes = get_context("spawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "load_libraries", abs)  # of the number of threads
        worker = WorkerProcess(WorkerSpec(0, 1, None), processes.Value("b", 0, lock=False), processes)
        yield worker
        worker.end()


Do = Callable[..., Failure | None]


@pytest.fixture
def do(worker: WorkerProcess, project: Path) -> Do:
    """Have the worker carry out a task; its job's folder is `job`."""
    loader = config_loader(None)
    overrides = ["seed=0", f"hydra.sweep.dir={project}", "hydra.sweep.subdir=job"]
    config = loader.load_configuration(CONFIG_NAME, overrides, RunMode.MULTIRUN)
    context = HydraContext(config_loader=loader, callbacks=Callbacks(config))

    def carry_out(task: Callable[[DictConfig], None], timeout: float | None = None) -> Failure | None:
        return worker.carry_out(Job(0, tuple(overrides), config, context, task), timeout)

    return carry_out


@pytest.mark.slow
def test_a_job_that_ends_well_leaves_its_log_and_no_traceback(do: Do, project: Path) -> None:
    assert do(succeed, timeout=60) is None
    assert (project / "job" / LOG).is_file()
    assert not (project / "job" / TRACEBACK).exists()


@pytest.mark.slow
def test_an_exception_is_a_failure_and_the_worker_stays(do: Do, worker: WorkerProcess) -> None:
    assert do(succeed) is None
    before = worker._pid.value
    failure = do(fail)
    assert failure is not None
    assert (failure.kind, failure.folder) == ("MemoryError", None)
    assert failure.reason == "MemoryError: no room for it"
    assert do(succeed) is None
    assert worker._pid.value == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "timeout", "kind", "reason", "traceback"),
    [
        (read_nowhere, None, DIED, "SIGSEGV", "in read_nowhere"),
        (abort, None, DIED, "SIGABRT", "in abort"),
        (be_killed, None, DIED, "SIGKILL", ""),
        (leave, None, DIED, "exit code 3", ""),
        (hang_in_compiled_code, 2.0, TIMED_OUT, "It took longer than timeout=2 s", "in hang_in_compiled_code"),
        (be_stopped, 2.0, TIMED_OUT, "It took longer than timeout=2 s", "in be_stopped"),
    ],
)
def test_a_death_is_told_with_its_reason_and_traceback_and_the_worker_replaced(
    do: Do,
    worker: WorkerProcess,
    project: Path,
    task: Callable[[DictConfig], None],
    timeout: float | None,
    kind: str,
    reason: str,
    traceback: str,
) -> None:
    failure = do(task, timeout)
    assert failure is not None
    assert failure.kind == kind
    assert reason in failure.reason
    assert failure.folder == project / "job"
    assert traceback in (failure.folder / TRACEBACK).read_text()
    assert do(succeed) is None, "another process is in its place"


@pytest.mark.slow
def test_what_libraries_say_goes_to_the_log_of_the_job(
    do: Do, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    do(abort)
    logged, screen = (project / "job" / LOG).read_text(), capfd.readouterr().err
    for words in ("Check failed: shape is odd", "WARNING: tracing is expensive"):
        assert words in logged
        assert words not in screen


@pytest.mark.slow
def test_a_job_that_hangs_in_compiled_code_is_stopped_at_once_by_a_cancellation(do: Do, worker: WorkerProcess) -> None:
    canceller = Timer(5, worker.cancel)
    canceller.start()
    with pytest.raises(CancelledError):
        do(hang_in_compiled_code)
    canceller.join()
    assert do(succeed) is None


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    processes = get_context("spawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "load_libraries", abs)
        yield lambda spec: WorkerProcess(spec, processes.Value("b", 0, lock=False), processes)


@pytest.mark.slow
class TestWorkerProcess(WorkerContract):
    """A worker process keeps the contract of a worker."""
