"""A run that is killed with `kill -9` is resumed in itself and ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter

import numpy as np
import pytest
from mlflow.entities import Run

from harness.errors import StoreError
from harness.models import KERAS_FILE, load_model
from harness.records import RunState
from harness.tracking.models import find_trained, model_folder
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from harness.training.state import read_state
from tests.integration.conftest import SMALL, NewProject, Project, waited

pytestmark = pytest.mark.slow

SETTINGS = (
    *SMALL, "regime.epochs=150", "model.dropout=0.1", "figures=few", "threads=1", "tracking.checkpoint_seconds=0",
    "regime.validation.strategy=first", "regime.validation.size=100",
    "regime.schedule.name=plateau", "regime.schedule.patience=15",
    # Stops nothing, but restores weights at the end: the last, the best and the final ones are all to be right.
    "regime.early_stopping.enabled=true", "regime.early_stopping.patience=150",
    "regime.early_stopping.monitor=val/accuracy",
)  # fmt: skip
DRIVER = """
import sys
from harness.composing import compose_config
from harness.run.execute import RunContext, execute
from harness.sweeps.progress import RunDisplay
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store

run_id, *overrides = sys.argv[1:]
earlier = read_runs(open_store(), run_ids=[run_id]) if run_id else []
execute(compose_config(overrides), RunContext("a run", overrides, earlier=earlier), RunDisplay())
"""


def start(project: Project, run_id: str = "") -> subprocess.Popen[str]:
    driver = project.folder / "driver.py"
    driver.write_text(DRIVER)
    return project.start(run_id, *SETTINGS, script=str(driver), stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def undisturbed(new_project: NewProject) -> tuple[Project, Run]:
    project = new_project()
    assert waited(start(project)).returncode == 0
    (run,) = project.runs()
    return project, run


@pytest.fixture(scope="module")
def disturbed(new_project: NewProject) -> tuple[Project, Run, list[int]]:
    """Killed three times, at moments drawn at random; and the epochs that the store had by then."""
    project, draw, reached = new_project(), random.Random(4), []
    run_id = ""
    for _ in range(3):
        process = start(project, run_id)
        wait_for_more_epochs(project, reached[-1] if reached else 0)
        time.sleep(draw.uniform(0.0, 1.0))
        process.kill()
        waited(process)
        (run,) = project.runs()
        run_id = run.info.run_id
        reached.append(len(project.client().get_metric_history(run_id, "fit/loss")))
    assert run.info.status == RunState.RUNNING  # nobody was there to say otherwise
    assert waited(start(project, run_id)).returncode == 0
    (run,) = project.runs()
    return project, run, reached


def wait_for_more_epochs(project: Project, than: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):  # it is only being made
            if any(run.epochs > than for run in read_runs(open_store(project.store))):
                return
        time.sleep(0.1)
    raise AssertionError("training did not come further")


def test_it_was_really_cut_off_in_the_middle(disturbed: tuple[Project, Run, list[int]]) -> None:
    _, run, reached = disturbed
    assert 0 < reached[0] < reached[1] < reached[2] < 150
    assert run.info.status == RunState.FINISHED
    assert run.data.tags["harness.tries"] == "4"


def test_every_series_is_that_of_an_undisturbed_run_with_no_value_twice(
    undisturbed: tuple[Project, Run], disturbed: tuple[Project, Run, list[int]]
) -> None:
    (project, run), (other, broken, _) = undisturbed, disturbed
    assert run.data.metrics.keys() == broken.data.metrics.keys()
    for name in run.data.metrics:
        ours, theirs = (
            where.client().get_metric_history(each.info.run_id, name)
            for where, each in ((project, run), (other, broken))
        )
        assert max(Counter(point.step for point in theirs).values()) == 1, name
        assert [point.step for point in theirs] == [point.step for point in ours], name
        if not name.startswith("time/"):
            assert [point.value for point in theirs] == [point.value for point in ours], name


def test_the_last_the_best_and_the_final_weights_were_three(disturbed: tuple[Project, Run, list[int]]) -> None:
    """So that their figures, which are among those compared above, tell something."""
    metrics = disturbed[1].data.metrics
    assert metrics["best/epoch"] < metrics["last/epoch"] == 150
    assert len({metrics[f"{stage}/test_loss"] for stage in ("last", "best", "final")}) == 3


def test_the_weights_are_the_same_to_the_last_bit(
    undisturbed: tuple[Project, Run], disturbed: tuple[Project, Run, list[int]]
) -> None:
    states = [read_state(project.artifact(run, "training/state.npz")) for project, run in (undisturbed, disturbed[:2])]
    for ours, theirs in zip(states[0].weights, states[1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_has_one_model_and_leaves_no_checkpoint(disturbed: tuple[Project, Run, list[int]]) -> None:
    project, run, _ = disturbed
    assert len(run.outputs.model_outputs) == 1
    with model_folder(open_store(project.store), find_trained(open_store(project.store), run.info.run_id)) as folder:
        assert load_model(folder / KERAS_FILE).count_params() == int(run.data.metrics["model/parameters"])
    assert list((project.root / "checkpoints").iterdir()) == []
