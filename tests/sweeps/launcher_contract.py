"""What every worker of a launcher must do, and how to test your own: docs/scaling.md, "A launcher of your own".

In a module of tests, make a subclass with a name that begins with `Test`, and a fixture `opened` (scope="module") that
returns a function: it gets a `WorkerSpec` and opens a worker. None of the jobs trains.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import psutil
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from harness.composing import CONFIG_NAME, config_loader
from harness.config.schema import Config
from harness.sweeps.contract import Choose, Worker
from harness.sweeps.worker import Failure, Job, WorkerSpec, stop_requested
from harness.sweeps.worker_pool import WorkerPool
from harness.sweeps.worker_process import DIED, TIMED_OUT

Opened = Callable[[WorkerSpec], Worker]
PATIENCE = 60.0


def write_down(config: DictConfig) -> None:
    """A job that leaves its number and its process id."""
    with Path(config.dataset.file).open("a") as done:
        done.write(f"{config.seed} {os.getpid()}\n")


def fail(config: DictConfig) -> None:
    raise MemoryError("no room for it")


def die(config: DictConfig) -> None:
    os._exit(3)


def sleep(config: DictConfig) -> None:
    write_down(config)
    time.sleep(PATIENCE)


def train_until_stopped(config: DictConfig) -> None:
    write_down(config)
    while not stop_requested():
        time.sleep(0.05)
    write_down(config)


class WorkerContract:
    """The tests. The last two open workers of their own, the others share one."""

    @pytest.fixture(scope="class")
    @classmethod
    def worker(cls, opened: Opened) -> Iterator[Worker]:
        worker = opened(WorkerSpec(0, 1, None))
        deadline = time.monotonic() + PATIENCE
        while not worker.is_ready(1.0):
            assert time.monotonic() < deadline
        yield worker
        worker.end()

    @pytest.fixture
    def job(self, project: Path) -> Callable[..., Job]:
        """Makes a job that does a task."""
        loader = config_loader(None)
        fixed = [f"dataset.file={project / 'done'}", f"hydra.sweep.dir={project}"]
        config = loader.load_configuration(CONFIG_NAME, fixed, RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks(config))

        def made(task: Callable[[DictConfig], None], number: int = 0) -> Job:
            return Job(number, (f"seed={number}", *fixed, f"hydra.sweep.subdir={number}"), config, context, task)

        return made

    def test_a_job_is_carried_out_once_in_a_process_that_stays_warm(
        self, worker: Worker, job: Callable[..., Job], project: Path
    ) -> None:
        assert [worker.carry_out(job(write_down, number), None) for number in (3, 4)] == [None, None]
        [(one, first), (two, second)] = (line.split() for line in (project / "done").read_text().splitlines())
        assert (one, two) == ("3", "4")
        assert first == second != str(os.getpid())

    def test_a_failure_a_death_and_a_timeout_say_why_and_the_next_job_is_carried_out(
        self, worker: Worker, job: Callable[..., Job]
    ) -> None:
        ends = [worker.carry_out(job(fail), None), worker.carry_out(job(die), None), worker.carry_out(job(sleep), 0.5)]
        assert [end and end.kind for end in ends] == ["MemoryError", DIED, TIMED_OUT]
        assert "no room for it" in ends[0].reason if ends[0] else False
        assert "exit code 3" in ends[1].reason if ends[1] else False
        assert worker.carry_out(job(write_down), None) is None

    def test_the_next_job_is_asked_for_only_when_a_worker_is_free(
        self, worker: Worker, job: Callable[..., Job]
    ) -> None:
        finished: list[int] = []

        class Suggesting:
            """Makes up each job from what is finished, as a search does."""

            def next(self, choose: Choose) -> Job | None:
                number = len(finished)
                finished.append(number)
                return choose([job(write_down, number)]) if number < 2 else None

            def ended(self, job: Job) -> None: ...

            def close(self) -> None: ...

        pool = WorkerPool([lambda: worker], Config())
        pool.source_of = lambda jobs: Suggesting()
        pool.work([])
        assert finished == [0, 1, 2]
        assert pool.failures == {}

    def test_a_job_is_cancelled_at_once(self, worker: Worker, job: Callable[..., Job], project: Path) -> None:
        ends = carried_out(worker, job(sleep))
        until((project / "done").exists)
        worker.cancel()
        assert isinstance(ends(), CancelledError)
        [number] = {int(line.split()[1]) for line in (project / "done").read_text().splitlines()}
        until(lambda: not psutil.pid_exists(number))

    def test_stop_ends_a_job_with_its_epoch_and_end_ends_the_process(
        self, opened: Opened, job: Callable[..., Job], project: Path
    ) -> None:
        worker = opened(WorkerSpec(1, 1, None))
        until(lambda: worker.is_ready(1.0))
        ends = carried_out(worker, job(train_until_stopped))
        until((project / "done").exists)
        worker.stop()
        assert ends() is None
        lines = (project / "done").read_text().splitlines()
        assert len(lines) == 2, "it ended its epoch"
        assert worker.carry_out(job(write_down), None) is None
        assert (project / "done").read_text().splitlines() == lines, "no job starts after it"
        worker.end()
        until(lambda: not psutil.pid_exists(int(lines[0].split()[1])))

    def test_a_pool_of_them_trains_each_job_once(self, opened: Opened, job: Callable[..., Job], project: Path) -> None:
        pool = WorkerPool([lambda number=number: opened(WorkerSpec(number, 1, None)) for number in (0, 1)], Config())
        done = pool.work([job(write_down, number) for number in range(6)])
        pool.end()
        assert len(done) == 6
        assert sorted(int(line.split()[0]) for line in (project / "done").read_text().splitlines()) == list(range(6))


def carried_out(worker: Worker, job: Job) -> Callable[[], object]:
    """Carries out a job in a thread; the returned function waits for what came of it."""
    ends: list[Failure | BaseException | None] = []

    def run() -> None:
        try:
            ends.append(worker.carry_out(job, None))
        except CancelledError as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> object:
        thread.join(PATIENCE)
        return ends[0]

    return wait


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
