"""`kill -9` at moments drawn at random, of a whole sweep and of single workers: nothing is lost or doubled in the end.

`make test-long` kills 20 times, the usual tests three times.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from mlflow.entities import Run

from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from harness.training.state import read_state
from tests.integration.conftest import SMALL, NewProject, Outcome, Project, waited, workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("HARNESS_KILLS", "3"))
SEED = 7
EPOCHS = 30 + 10 * KILLS
PATIENCE = 300.0 + 60.0 * KILLS
GRID = (
    *SMALL, "optimizer=adam,sgd", "seed=range(2)", f"regime.epochs={EPOCHS}", "model.dropout=0.1", "figures=none",
    "threads=1", "tracking.checkpoint_seconds=0", "tracking.log_state=true",
)  # fmt: skip


def kill_something(command: int, draw: random.Random) -> str:
    """Kill the sweep's command with all of its processes, or one of its workers."""
    with suppress(psutil.NoSuchProcess):  # a zombie too
        processes = psutil.Process(command).children(recursive=True)
        busy = workers(command)
        if busy and draw.random() < 0.5:
            draw.choice(busy).kill()
            return "worker"
        for process in [psutil.Process(command), *processes]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    return "command"


@pytest.fixture(scope="module")
def undisturbed(new_project: NewProject) -> Outcome:
    project = new_project()
    return Outcome(project, waited(project.start("sweep", *GRID), PATIENCE))


@pytest.fixture(scope="module")
def disturbed(new_project: NewProject) -> tuple[Outcome, list[str]]:
    """The same sweep, and what was killed of it: it is started again whenever its command is gone, until it is done."""
    project, draw, killed = new_project(), random.Random(SEED), []
    process = project.start("sweep", *GRID, stderr=subprocess.DEVNULL)
    while len(killed) < KILLS:
        if came_further(project, process):
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.0, 1.5))
        if process.poll() is not None:  # done, or every job that was left has lost its worker
            if waited(process, PATIENCE).returncode == 0:
                break
            process = project.start("sweep", *GRID, stderr=subprocess.DEVNULL)
            continue
        killed.append(kill_something(process.pid, draw))
        if killed[-1] == "command":
            waited(process, PATIENCE)
            process = project.start("sweep", *GRID, stderr=subprocess.DEVNULL)
    waited(process, PATIENCE)
    for _ in range(3):  # what a killed worker left FAILED is tried again by the next command
        if (done := waited(project.start("sweep", *GRID), PATIENCE)).returncode == 0:
            break
    return Outcome(project, done), killed


def came_further(project: Project, process: subprocess.Popen[str]) -> bool:
    """Wait until the sweep has trained more than it had; whether it has, rather than ended."""
    before, deadline = epochs(project), time.monotonic() + 180
    while epochs(project) <= before:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "the sweep does not come further"
        time.sleep(0.1)
    return True


def epochs(project: Project) -> int:
    """What all runs together have trained."""
    with suppress(StoreError):  # it is only being made
        return sum(run.epochs for run in read_runs(open_store(project.store)))
    return 0


def test_the_kills_met_a_sweep_at_work(disturbed: tuple[Outcome, list[str]]) -> None:
    outcome, killed = disturbed
    assert len(killed) == KILLS
    tries = [int(run.data.tags.get("harness.tries", "1")) for run in outcome.children]
    assert max(tries) > 1, "no run was ever cut off"


def test_the_table_is_that_of_an_undisturbed_sweep(undisturbed: Outcome, disturbed: tuple[Outcome, list[str]]) -> None:
    outcome, _ = disturbed
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert outcome.done.stdout == undisturbed.done.stdout
    assert outcome.parent.info.status == RunState.FINISHED


def test_no_run_is_lost_or_there_twice(undisturbed: Outcome, disturbed: tuple[Outcome, list[str]]) -> None:
    names = [[run.info.run_name for run in each.children] for each in (undisturbed, disturbed[0])]
    assert names[0] == names[1]
    assert {run.info.status for run in disturbed[0].children} == {RunState.FINISHED}
    assert list((disturbed[0].project.root / "checkpoints").glob("*")) == []


def test_every_value_of_every_run_is_there_once_and_the_same_to_the_last_bit(
    undisturbed: Outcome, disturbed: tuple[Outcome, list[str]]
) -> None:
    for whole, broken in zip(undisturbed.children, disturbed[0].children, strict=True):
        assert values(undisturbed.project, whole) == values(disturbed[0].project, broken)
        weights = [
            read_state(project.artifact(run, "training/state.npz")).weights
            for project, run in ((undisturbed.project, whole), (disturbed[0].project, broken))
        ]
        for ours, theirs in zip(*weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def values(project: Project, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric but the measured times, of which only the steps are kept."""
    client, found = project.client(), {}
    for name in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, name)
        found[name] = [(point.step, 0.0 if name.startswith("time/") else point.value) for point in points]
    return found
