"""Runs that go on from other runs and from saved models, with the real command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Run

from harness.models import KERAS_FILE, load_model
from harness.tracking.models import find_trained, model_folder
from harness.tracking.store import open_store
from harness.training.state import read_state
from tests.integration.conftest import SMALL, NewProject, Project

pytestmark = pytest.mark.slow

SAME = (*SMALL, "engine=keras", "figures=none", "model.dropout=0.1", "threads=1", "tracking.log_state=true")


@pytest.fixture(scope="module")
def continued(new_project: NewProject) -> Project:
    """Runs of 2 epochs under two seeds, each continued for 3 by one sweep; and a run of 5 epochs at a stretch."""
    project = new_project()
    seeds = "seed=0,1"
    commands = [
        ("sweep", *SAME, seeds, "regime.epochs=2"),
        ("sweep", *SAME, seeds, "regime.epochs=3", "regime.continue_from=same:2"),
        ("train", *SAME, "seed=1", "regime.epochs=5", "tracking.run_name=whole"),
    ]
    for command in commands:
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
    return project


def find(project: Project, **parameters: str) -> Run:
    wanted = {key.replace("_", ".", 1): value for key, value in parameters.items()}
    (run,) = (run for run in project.runs() if all(run.data.params.get(key) == value for key, value in wanted.items()))
    return run


def weights(project: Project, run: Run) -> list[np.ndarray]:
    return list(read_state(project.artifact(run, "training/state.npz")).weights)


def test_a_continued_run_says_what_it_continued(continued: Project) -> None:
    source = find(continued, seed="1", regime_epochs="2")
    run = find(continued, seed="1", regime_epochs="3")
    assert run.data.params["regime.continue_from"] == "same:2"
    assert run.data.params["continued.from"] == f"runs:/{source.info.run_id}"
    assert run.data.params["continued.epochs"] == "2"
    assert run.data.tags["harness.continued_from"] == f"runs:/{source.info.run_id}"
    assert source.data.params["continued.from"] == "None"
    assert "harness.continued_from" not in source.data.tags


def test_two_epochs_and_three_more_are_five_at_a_stretch(continued: Project) -> None:
    run, whole = find(continued, seed="1", regime_epochs="3"), find(continued, regime_epochs="5")
    for ours, theirs in zip(weights(continued, run), weights(continued, whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert run.data.metrics["final/test_loss"] == whole.data.metrics["final/test_loss"]


def test_its_epochs_are_counted_on(continued: Project) -> None:
    run, whole = find(continued, seed="1", regime_epochs="3"), find(continued, regime_epochs="5")
    points = [
        [(point.step, point.value) for point in continued.client().get_metric_history(each.info.run_id, "fit/loss")]
        for each in (run, whole)
    ]
    assert [step for step, _ in points[0]] == [3, 4, 5]
    assert points[0] == points[1][2:]


def test_seeds_that_were_continued_share_a_row_of_the_comparison(continued: Project) -> None:
    done = continued.run("compare", "--experiment", "harness", "--format", "csv")
    header, *rows = [line.split(",") for line in done.stdout.splitlines()]
    epochs, runs = header.index("continued.epochs"), header.index("n")
    assert {(row[epochs], row[runs]) for row in rows} == {("2", "2"), ("0", "2"), ("0", "1")}


def test_a_saved_model_can_be_continued_too(continued: Project, tmp_path: Path) -> None:
    whole = find(continued, regime_epochs="5")
    file = tmp_path / "mine.keras"
    with model_folder(
        open_store(continued.store), find_trained(open_store(continued.store), whole.info.run_id)
    ) as folder:
        load_model(folder / KERAS_FILE).save(file)
    done = continued.run(
        "train", *SAME, f"regime.continue_from={file}", "regime.epochs=1", "tracking.run_name=from file"
    )
    assert done.returncode == 0, done.stderr
    (run,) = (run for run in continued.runs() if run.info.run_name == "from file")
    assert run.data.params["continued.from"] == str(file)
    assert run.data.metrics["final/train_accuracy"] > whole.data.metrics["final/train_accuracy"] - 0.05
    log = continued.artifact(run, "logs/run.log").read_text()
    assert "optimizer state fresh: none was saved with the weights" in log


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("regime.continue_from=nobody",), "No run in the store"),
        (("regime.continue_from=same:7",), "has no finished run of these settings with 7 epochs and seed=0"),
        (("regime.continue_from=missing.keras",), "there is no such file"),
        (("regime.continue_from=whole", "model=mlp_300_100"), "was trained with model.hidden=[128]"),
        (("regime.continue_from=whole", "regime.validation.strategy=random", "regime.validation.size=50"), "held out"),
        (("regime.continue_from=''",), "must name a run or a saved model"),
    ],
)
def test_what_cannot_be_continued_is_refused_before_anything_is_written(
    overrides: tuple[str, ...], message: str, continued: Project
) -> None:
    before = len(continued.runs())
    done = continued.run("train", *SAME, *overrides)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert len(continued.runs()) == before
