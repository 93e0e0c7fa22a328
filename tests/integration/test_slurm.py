"""`hydra/launcher=slurm`: submitit's local executor stands in for Slurm, its tasks are processes of this machine."""

from __future__ import annotations

import signal

import psutil
import pytest

from harness.records import RunState
from harness.tracking.reading import read_sweeps
from harness.tracking.store import open_store
from tests.integration.conftest import NewProject, waited
from tests.integration.test_resume import QUICK, children, scores, until

pytest.importorskip("submitit")
pytestmark = pytest.mark.slow

GRID = (*QUICK, "seed=range(3)", "regime.epochs=100", "tracking.checkpoint_seconds=0", "tracking.upload_seconds=0")
SLURM = ("hydra/launcher=slurm", "hydra.launcher.executor=local", "hydra.launcher.tasks=2")


def test_a_task_that_is_killed_is_submitted_again_and_the_table_is_the_same(new_project: NewProject) -> None:
    alone, project = new_project(), new_project()
    undisturbed = alone.run("sweep", *GRID, "hydra.launcher.workers=2")
    command = project.start("sweep", *GRID, *SLURM)
    until(lambda: sum(run.epochs > 5 for run in children(project)) >= 2, command)
    [task, _] = [one for one in psutil.Process(command.pid).children() if "submitit" in " ".join(one.cmdline())]
    for process in [task, *task.children(recursive=True)]:
        process.kill()
    done = waited(command)
    assert (done.returncode, done.stdout) == (0, undisturbed.stdout), done.stderr
    assert "1 tasks were pre-empted or lost" in done.stderr
    assert scores(project) == scores(alone), "every job has one run, with the same numbers"


def test_a_closed_terminal_ends_no_task_and_the_last_makes_the_table(new_project: NewProject) -> None:
    project = new_project()
    command = project.start("sweep", *GRID, *SLURM)
    until(lambda: any(run.epochs > 5 for run in children(project)), command)
    command.send_signal(signal.SIGHUP)
    command.communicate()
    until(lambda: read_sweeps(open_store(project.store))[0].state is RunState.FINISHED)
    assert all(run.state is RunState.FINISHED for run in children(project))
    assert sorted(run.name for run in children(project)) == ["seed=0", "seed=1", "seed=2"]
