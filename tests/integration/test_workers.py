"""Worker processes of a sweep that die, and workers whose sweep dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.integration.conftest import HARNESS, SMALL, NewProject, Outcome, Project, waited, workers

pytestmark = pytest.mark.slow

PATIENCE = 300
ENDLESS = (*SMALL, "engine=keras", "figures=none", "tracking.log_model=false", "hydra.launcher.workers=2")


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def training(project: Project, count: int) -> bool:
    """Whether so many endless runs have ended an epoch."""
    if not any(project.root.glob("mlruns/*/*/artifacts/config")):
        return False  # the store is being made
    runs = read_runs(open_store(project.store))
    return sum(run.parameters.get("regime.epochs") == "100000" and run.epochs > 0 for run in runs) == count


@pytest.fixture(scope="module")
def killed(new_project: NewProject) -> dict[str, Outcome]:
    """A sweep of which both workers are killed in their endless jobs, one that is killed itself, and one with a job
    that fails before it has a run: a file lies where its folder should be. The first is no fork."""
    bereft, orphaned, obstructed = new_project(), new_project(), new_project()
    (obstructed.folder / "jobs").mkdir()
    (obstructed.folder / "jobs" / "1").touch()
    losing = bereft.start("sweep", *ENDLESS, "seed=0,1", "regime.epochs=100000,1", program=(HARNESS,))
    dying = orphaned.start("sweep", *ENDLESS, "seed=0,1", "regime.epochs=100000")
    failing = obstructed.start(
        "sweep", *ENDLESS, "seed=0,1,2", "regime.epochs=1", f"hydra.sweep.dir={obstructed.folder / 'jobs'}"
    )
    try:
        until(lambda: training(bereft, 2), losing)
        for worker in workers(losing.pid):
            worker.send_signal(signal.SIGKILL)
        until(lambda: training(orphaned, 2), dying)
        left = workers(dying.pid)
        os.kill(dying.pid, signal.SIGKILL)
        psutil.wait_procs(left, timeout=PATIENCE)
        assert not any(worker.is_running() for worker in left), "the workers of a killed sweep end too"
        return {
            "bereft": Outcome(bereft, waited(losing)),
            "orphaned": Outcome(orphaned, waited(dying)),
            "obstructed": Outcome(obstructed, waited(failing)),
        }
    finally:
        for process in (losing, dying, failing):
            process.kill()


def test_a_killed_worker_fails_its_own_job_with_the_reason_and_the_rest_go_on(killed: dict[str, Outcome]) -> None:
    bereft = killed["bereft"]
    assert bereft.done.returncode == 1
    assert "Traceback" not in bereft.done.stderr
    assert [child.info.status for child in bereft.children] == ["FAILED", "FINISHED", "FAILED", "FINISHED"]
    dead = bereft.children[0]
    assert "SIGKILL" in dead.data.tags["harness.error"]
    assert dead.info.end_time is not None
    assert "seed=0 epochs=100000  failed: Its process was ended by SIGKILL" in bereft.done.stderr
    assert bereft.parent.info.status == "FAILED"


def test_the_workers_of_a_killed_sweep_close_their_runs(killed: dict[str, Outcome]) -> None:
    orphaned = killed["orphaned"]
    assert orphaned.done.returncode == -signal.SIGKILL
    assert [child.info.status for child in orphaned.children] == ["KILLED", "KILLED"]


def test_a_job_that_fails_before_it_has_a_run_is_recorded_with_the_reason_and_the_rest_go_on(
    killed: dict[str, Outcome],
) -> None:
    obstructed = killed["obstructed"]
    assert [(child.info.run_name, child.info.status) for child in obstructed.children] == [
        ("seed=0", "FINISHED"),
        ("seed=1", "FAILED"),
        ("seed=2", "FINISHED"),
    ]
    assert "FileExistsError" in obstructed.children[1].data.tags["harness.error"]
    assert "seed=1  failed: FileExistsError" in obstructed.done.stderr
    assert obstructed.done.returncode == 1
    assert "Traceback" not in obstructed.done.stderr
