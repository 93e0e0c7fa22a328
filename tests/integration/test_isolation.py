"""Jobs of a sweep that crash, hang, run out of memory or are tried again; sweeps that give up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.integration.conftest import HARNESS, SMALL, NewProject, Outcome, Project, job_of, waited, workers
from tests.integration.test_workers import training, until
from tests.pauses import Pauses

pytestmark = pytest.mark.slow

ENDLESS = "regime.epochs=100000"
BARE = (*SMALL, "optimizer=sgd", "engine=keras", "figures=none", "tracking.log_model=false", "tracking.log_state=false")
HUGE = "model.hidden=[8],[40000,20000]"
"""The second network has 3.3 GB of weights."""
MEMORY = 2 * 2**30
"""Bytes for the whole command: enough for a worker and a small network."""


def worker_of(process: subprocess.Popen[str], job: int) -> psutil.Process:
    (worker,) = (worker for worker in workers(process.pid) if job_of(worker) == str(job))
    return worker


def trains(project: Project, job: int) -> bool:
    """Whether a job has ended an epoch."""
    if not any(project.root.glob("mlruns/*/*/artifacts/config")):
        return False  # the store is being made
    runs = [run for run in read_runs(open_store(project.store)) if run.tags.get("harness.job") == str(job)]
    return any(run.epochs > 0 for run in runs)


def report(outcome: Outcome) -> list[tuple[str, str]]:
    return [(child.info.run_name, child.info.status) for child in outcome.children]


@pytest.fixture(scope="module")
def perilous(new_project: NewProject) -> Outcome:
    """A sweep of two workers in which one job crashes, one hangs, and the others end well."""
    project = new_project()
    sweeping = project.start(
        "sweep", *BARE, "seed=0,1", "regime.epochs=100000,2", "timeout=30", "hydra.launcher.workers=2"
    )
    try:
        until(lambda: trains(project, 0), sweeping)
        worker_of(sweeping, 0).send_signal(signal.SIGSEGV)
        until(lambda: trains(project, 2), sweeping)
        worker_of(sweeping, 2).send_signal(signal.SIGSTOP)
        return Outcome(project, waited(sweeping))
    finally:
        sweeping.kill()


def test_a_crash_and_a_hang_fail_their_own_jobs_and_the_rest_go_on(perilous: Outcome) -> None:
    assert report(perilous) == [
        ("seed=0 epochs=100000", "FAILED"),
        ("seed=0 epochs=2", "FINISHED"),
        ("seed=1 epochs=100000", "FAILED"),
        ("seed=1 epochs=2", "FINISHED"),
    ]
    assert perilous.done.returncode == 1
    assert "Traceback" not in perilous.done.stderr
    assert "2 of 4 runs failed" in perilous.done.stderr


@pytest.mark.parametrize(
    ("job", "kind", "reason"),
    [(0, "ProcessDied", "Its process was ended by SIGSEGV"), (2, "TimedOut", "It took longer than timeout=30 s")],
)
def test_a_job_whose_process_died_has_reason_log_and_traceback_in_the_store(
    perilous: Outcome, job: int, kind: str, reason: str
) -> None:
    project, child = perilous.project, perilous.children[job]
    assert child.data.tags["harness.error"].startswith(reason)
    assert child.data.tags["harness.error_type"] == kind
    assert child.info.end_time is not None
    traceback = project.artifact(child, "traceback.txt").read_text()
    assert "in execute" in traceback
    log = project.artifact(child, "logs/run.log").read_text()
    assert "epoch 1: " in log
    assert traceback in log
    assert f"FAILED: {kind}: {reason}" in log.splitlines()[-1]


def test_each_job_has_a_log_of_its_own_with_nothing_of_another(perilous: Outcome) -> None:
    for child in perilous.children:
        log = perilous.project.artifact(child, "logs/run.log").read_text()
        assert re.findall(r"^seed: (\d+)$", log, re.MULTILINE) == [child.data.params["seed"]]
        assert re.findall(r"^  epochs: (\d+)$", log, re.MULTILINE) == [child.data.params["regime.epochs"]]


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int], tuple[str, ...]]]:
    """Makes a program start under a limit of memory for itself and all that it starts."""
    old = Path("/sys/fs/cgroup/memory")
    base, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (Path("/sys/fs/cgroup"), "memory.max")
    group = base / f"harness-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    if not (group / limit).is_file():
        group.rmdir()
        pytest.skip("control groups have no memory controller here")

    def limited(size: int) -> tuple[str, ...]:
        (group / limit).write_text(str(size))
        return ("/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")

    yield limited
    group.rmdir()


def test_a_worker_that_eats_memory_under_a_limit_fails_its_own_job(
    empty: Project, memory_limit: Callable[[int], tuple[str, ...]]
) -> None:
    done = empty.run(
        "sweep", *BARE, HUGE, "regime.epochs=1", "hydra.launcher.workers=1", program=(*memory_limit(MEMORY), HARNESS)
    )
    outcome = Outcome(empty, done)
    assert [child.info.status for child in outcome.children] == ["FINISHED", "FAILED"]
    error = outcome.children[1].data.tags["harness.error"]
    assert error == "Its process was ended by SIGKILL (the system sends it when memory runs out)."
    traceback = empty.artifact(outcome.children[1], "traceback.txt").read_text()
    assert "The end of its log:" in traceback
    assert "harness.run.log: fashion_mnist from the folder" in traceback
    assert done.returncode == 1


def test_a_killed_job_is_tried_again_and_the_sweep_is_whole(empty: Project) -> None:
    pauses = Pauses(empty.folder)
    pauses.after(1)
    grid = (*BARE, "seed=0,1", "regime.epochs=3", "retries=1", "hydra.launcher.workers=1")
    sweeping = empty.start("sweep", *grid, environment=pauses.environment)
    try:
        until(lambda: trains(empty, 0), sweeping)
        worker_of(sweeping, 0).kill()
        pauses.end()
        outcome = Outcome(empty, waited(sweeping))
    finally:
        sweeping.kill()
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert outcome.done.stderr.count("Job 0 is tried again (1 more): Its process was ended by SIGKILL") == 1
    assert "FINISHED" in [child.info.status for child in outcome.children if child.data.tags["harness.job"] == "0"]
    assert outcome.parent.info.status == "FINISHED"


@pytest.fixture(scope="module")
def given_up(new_project: NewProject) -> Outcome:
    """A sweep whose second job fails, while the first trains without end and the third waits."""
    project = new_project()
    rates = "optimizer.learning_rate=0.01,1e20,0.02"
    return Outcome(
        project,
        project.run("sweep", *BARE, rates, ENDLESS, "fail_fast=true", "retries=5", "hydra.launcher.workers=2"),
    )


def test_fail_fast_stops_what_runs_at_the_end_of_its_epoch_and_begins_nothing_further(given_up: Outcome) -> None:
    assert report(given_up) == [("learning_rate=0.01", "KILLED"), ("learning_rate=1e+20", "FAILED")]
    assert given_up.parent.info.status == "FAILED"
    assert given_up.done.returncode == 1


def test_a_sweep_that_gave_up_says_why_in_its_last_words(given_up: Outcome) -> None:
    last = given_up.done.stderr.splitlines()[-1]
    assert last.startswith("error: A job failed, so the sweep was stopped (fail_fast=true)")
    assert "The training loss became nan in epoch 1" in last
    assert "Traceback" not in given_up.done.stderr


def test_a_loss_that_became_nan_is_not_tried_again(given_up: Outcome) -> None:
    assert "tried again" not in given_up.done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_an_interruption_a_job_that_hangs_is_ended_by_its_timeout_and_not_tried_again(
    empty: Project, number: signal.Signals
) -> None:
    sweeping = empty.start("sweep", *BARE, ENDLESS, "seed=0,1", "timeout=20", "retries=5", "hydra.launcher.workers=1")
    try:
        until(lambda: training(empty, 1), sweeping)
        worker_of(sweeping, 0).send_signal(signal.SIGSTOP)
        sweeping.send_signal(number)
        outcome = Outcome(empty, waited(sweeping))
    finally:
        sweeping.kill()
    assert outcome.done.returncode == (130 if number == signal.SIGINT else 143)
    (only,) = outcome.children
    # Woken to say where it is, it may come to the end of its epoch and stop by itself before it is ended.
    assert (only.info.run_name, only.info.status) in [("seed=0", "FAILED"), ("seed=0", "KILLED")]
    assert "tried again" not in outcome.done.stderr
    assert outcome.parent.info.status == "KILLED"


def test_a_second_interruption_ends_a_job_that_hangs_at_once_and_leaves_nothing_running(empty: Project) -> None:
    sweeping = empty.start("sweep", *BARE, ENDLESS, "seed=0,1", "retries=5", "hydra.launcher.workers=2")
    try:
        until(lambda: training(empty, 2), sweeping)
        left = workers(sweeping.pid)
        for worker in left:
            worker.send_signal(signal.SIGSTOP)
        sweeping.send_signal(signal.SIGINT)
        psutil.wait_procs([psutil.Process(sweeping.pid)], timeout=2)
        assert sweeping.poll() is None, "it waits for the end of the epoch"
        sweeping.send_signal(signal.SIGINT)
        outcome = Outcome(empty, waited(sweeping))
    finally:
        sweeping.kill()
    assert outcome.done.returncode == 130
    assert report(outcome) == [("seed=0", "KILLED"), ("seed=1", "KILLED")]
    assert not any(worker.is_running() for worker in left)
