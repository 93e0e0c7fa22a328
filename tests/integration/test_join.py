"""Several machines train one sweep: `harness join`. Each has a root of its own, and all have one store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from harness.records import RunState
from harness.tracking.reading import read_sweeps
from harness.tracking.store import open_store
from tests.integration.conftest import NewProject, Project, waited
from tests.integration.test_resume import SHORT, children, scores, until
from tests.pauses import Pauses

pytestmark = pytest.mark.slow

GRID = (*SHORT, "seed=range(4)", "regime.epochs=3", "hydra.launcher.workers=1")


def joined(project: Project, name: str, environment: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[str]:
    root = project.folder / name
    root.mkdir(exist_ok=True)
    words = ("join", "latest", "--wait", "--store", project.store, "hydra.launcher.workers=1")
    return project.start(*words, environment={"HARNESS_ROOT": str(root), **environment})


def trained_by(project: Project, process: subprocess.Popen[str]) -> list[str]:
    return [
        run.run_id for run in children(project) if f" {process.pid} " in last_owner(project, run.tags["harness.job"])
    ]


def last_owner(project: Project, job: str) -> str:
    [parent] = read_sweeps(open_store(project.store))
    claims = {
        int(key.split(".")[2]): value for key, value in parent.parameters.items() if key.startswith(f"job.{job}.")
    }
    return claims[max(claims)]


def test_killed_joiner_and_killed_command_lose_nothing_and_the_last_joiner_makes_the_table(
    new_project: NewProject,
) -> None:
    alone = new_project()
    undisturbed = alone.run("sweep", *GRID)
    project = new_project()
    pauses = Pauses(project.folder)
    pauses.after(1)
    command = project.start("sweep", *GRID, environment=pauses.environment)
    until(lambda: any(run.epochs for run in children(project)), command)
    killed = joined(project, "killed", pauses.environment)
    until(lambda: len(children(project)) > 1, command, killed)
    os.kill(killed.pid, signal.SIGKILL)
    stays = joined(project, "stays")
    until(lambda: bool(trained_by(project, stays)), stays)
    os.kill(command.pid, signal.SIGKILL)
    pauses.end()
    done = waited(stays)
    killed.communicate()
    command.communicate()
    assert (done.returncode, done.stdout) == (0, undisturbed.stdout), done.stderr
    assert scores(project) == scores(alone), "every job has one run, with the same numbers"
    [parent] = read_sweeps(open_store(project.store))
    assert parent.state is RunState.FINISHED
    again = project.run("join", parent.run_id[:8])
    assert again.returncode == 0
    assert "has ended" in again.stderr


def test_a_machine_that_is_lost_leaves_its_checkpoint_in_the_store(new_project: NewProject) -> None:
    grid = (*SHORT, "seed=4", "regime.epochs=13", "model.dropout=0.2", "hydra.launcher.workers=1")
    alone, project = new_project(), new_project()
    assert alone.run("sweep", *grid).returncode == 0
    pauses = Pauses(project.folder)
    pauses.after(12)
    saved = (*grid, "tracking.checkpoint_seconds=0", "tracking.upload_seconds=0")
    command = project.start("sweep", *saved, environment=pauses.environment)
    until(lambda: any(project.root.glob("mlruns/*/*/artifacts/checkpoint/epoch_??.npz")), command)
    for process in [*psutil.Process(command.pid).children(recursive=True), psutil.Process(command.pid)]:
        process.kill()
    command.communicate()
    done = waited(joined(project, "next"))
    assert done.returncode == 0, done.stderr
    assert scores(project) == scores(alone)
    [log] = project.root.glob("mlruns/*/*/artifacts/logs/try_2/run.log")
    first = re.search(r"training resumes after epoch (\d+)", log.read_text())
    assert first is not None
    assert int(first[1]) >= 10
    assert not list(project.root.glob("mlruns/*/*/artifacts/checkpoint"))


def test_other_settings_and_other_code_are_refused_and_nothing_is_written(
    new_project: NewProject, tmp_path: Path
) -> None:
    project = new_project()
    pauses = Pauses(project.folder)
    pauses.after(1)
    grid = (*SHORT, "seed=range(2)", "regime.epochs=3", "hydra.launcher.workers=1")
    command = project.start("sweep", *grid, environment=pauses.environment)
    until(lambda: any(run.epochs for run in children(project)), command)
    [parent] = read_sweeps(open_store(project.store))
    refused = project.run("join", parent.name, "optimizer=adam")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "optimizer=adam: the jobs are those of the sweep" in refused.stderr
    list_of_jobs = next(project.root.glob(f"mlruns/*/{parent.run_id}/artifacts/jobs.json"))
    text = list_of_jobs.read_text()
    list_of_jobs.write_text(text.replace("optimizer=sgd", "optimizer=adam"))
    settings = project.run("join", parent.name)
    list_of_jobs.write_text(text.replace('"libraries": "', '"libraries": "PyTorch 2 and '))
    code = project.run("join", parent.name)
    list_of_jobs.write_text(text)
    assert (settings.returncode, code.returncode) == (2, 2)
    assert "optimizer.name: sgd there, adam here" in settings.stderr
    assert "libraries: PyTorch 2 and TensorFlow" in code.stderr
    [now] = read_sweeps(open_store(project.store))
    assert [key for key in now.parameters if key.startswith("job.")] == ["job.0.1"]
    command.send_signal(signal.SIGINT)
    pauses.end()
    waited(command)
