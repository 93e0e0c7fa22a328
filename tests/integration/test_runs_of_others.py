"""`harness compare` on experiments that Keras's autologging, and a logger with Lightning's names, really wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param

from tests.conftest import REPOSITORY
from tests.integration.conftest import NewProject, Project
from tests.tracking.stores import new_study

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

SEEDS = 3
NOTEBOOK = """
import sys

import keras
import mlflow

from harness.config.schema import DatasetConfig
from harness.data import load_dataset

store, data, seeds = sys.argv[1], sys.argv[2], int(sys.argv[3])
dataset = load_dataset(DatasetConfig(name="fashion_mnist", directory=data))
train, test = ((split.images[:n] / 255, split.labels[:n]) for split, n in ((dataset.train, 600), (dataset.test, 200)))
mlflow.set_tracking_uri(store)


def fitted(optimizer, seed, **options):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    with mlflow.start_run():
        mlflow.log_params({"seed": seed, "network": model, "model_name": model.name})
        return model.fit(*train, batch_size=32, epochs=2, validation_data=test, verbose=0, **options).history


mlflow.set_experiment("callback")  # what mlflow.tensorflow.autolog, and so mlflow.autolog, gives to fit
for optimizer in (keras.optimizers.Adam, keras.optimizers.RMSprop):
    for seed in range(seeds):
        fitted(optimizer(), seed, callbacks=[mlflow.tensorflow.MlflowCallback()])
mlflow.set_experiment("notebook")
mlflow.keras.autolog(log_models=False)
for optimizer in ("sgd", "adam"):
    for seed in range(seeds):
        history = fitted(optimizer, seed)
        print(optimizer, seed, history["accuracy"][-1] - history["val_accuracy"][-1])
"""


@pytest.fixture(scope="module")
def autologged(new_project: NewProject) -> tuple[Project, dict[tuple[str, str], float]]:
    """An experiment of a notebook, and the gap of each optimizer and seed as Keras's own history has it."""
    project = new_project()
    program = [sys.executable, "-c", NOTEBOOK, project.store, str(REPOSITORY / "tests" / "data"), str(SEEDS)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=project.folder, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("sgd ", "adam "))]
    return project, {(optimizer, seed): float(gap) for optimizer, seed, gap in lines}


def as_json(project: Project, *arguments: str) -> Any:
    done = project.run("compare", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_autologged_experiment_is_compared_by_the_gaps_of_its_history(
    autologged: tuple[Project, dict[tuple[str, str], float]],
) -> None:
    project, gaps = autologged
    document = as_json(project)
    assert document["title"] == "Experiment notebook"
    assert document["settings"] == ["optimizer_name"]
    assert document["follows"]["optimizer_learning_rate"] == "optimizer_name"
    assert len(document["rows"]) == 2
    for row in document["rows"]:
        name = row["settings"]["optimizer_name"]
        mean = sum(gap for (optimizer, _), gap in gaps.items() if optimizer == name) / SEEDS
        assert row["scores"]["gap_val_accuracy"]["mean"] == pytest.approx(mean, abs=1e-6)
        assert [run["seed"] for run in row["runs"]] == [str(seed) for seed in range(SEEDS)]
    assert "running averages" in document["running_averages"]


def test_what_keras_numbers_is_one_configuration_by_whatever_name_the_optimizer_is_logged(
    autologged: tuple[Project, dict[tuple[str, str], float]],
) -> None:
    project, _ = autologged
    document = as_json(project, "--experiment", "callback")
    assert document["settings"] == ["opt_name"]
    assert document["follows"]["opt_rho"] == "opt_name"
    assert {row["settings"]["opt_name"]: row["n"] for row in document["rows"]} == {"adam": SEEDS, "rm_sprop": SEEDS}


def test_its_rows_are_held_to_each_other_and_the_gap_is_marked(
    autologged: tuple[Project, dict[tuple[str, str], float]],
) -> None:
    project, _ = autologged
    done = project.run("compare", "--experiment", "notebook", "--baseline", "adam")
    assert done.returncode == 0, done.stderr
    assert "Gap of accuracy on val, points†‡" in done.stdout
    assert f"{SEEDS} pairs" in done.stdout


def test_a_report_of_it_says_on_what_its_gaps_rest(autologged: tuple[Project, dict[tuple[str, str], float]]) -> None:
    project, _ = autologged
    page = project.elsewhere / "report.md"
    done = project.run("report", "--experiment", "notebook", "--group-by", "optimizer_name", "--output", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "Training figures (‡) rest on accuracy and loss: running averages" in text
    assert "same weights" not in text
    assert "harness report --experiment notebook --group-by optimizer_name --output" in text


def test_a_metric_that_is_not_there_is_refused_before_anything_is_shown(
    autologged: tuple[Project, dict[tuple[str, str], float]],
) -> None:
    project, _ = autologged
    done = project.run("compare", "--train-metric", "acuracy", "--held-out-metric", "val_accuracy")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'accuracy'?" in done.stderr


def test_an_experiment_with_the_names_of_lightning(empty: Project, tmp_path: Path) -> None:
    """The names of `mlflow/pytorch/_lightning_autolog.py`, for metrics logged by step and by epoch."""
    client = empty.client()
    study = new_study(client, tmp_path, "lightning")
    for number, (optimizer, rate) in enumerate((("Adam", 0.001), ("SGD", 0.1))):
        for seed in range(2):
            run_id = client.create_run(study).info.run_id
            parameters = {"epochs": 3, "optimizer_name": optimizer, "lr": rate, "PL_GLOBAL_SEED": seed}
            parameters |= {"betas": "(0.9, 0.999)"} if optimizer == "Adam" else {"momentum": 0}
            scores = {
                "train_acc": 0.5, "train_acc_step": 0.5, "train_acc_epoch": 0.9, "val_acc": 0.8 - (number + seed) / 100,
                "train_loss": 0.9, "train_loss_epoch": 0.3, "val_loss": 0.5,
            }  # fmt: skip
            client.log_batch(
                run_id,
                metrics=[Metric(key, value, 1, 2) for key, value in scores.items()],
                params=[Param(key, str(value)) for key, value in parameters.items()],
            )
            client.set_terminated(run_id)
    document = as_json(empty)
    assert document["settings"] == ["optimizer_name"]
    assert document["follows"]["lr"] == "optimizer_name"
    found = {row["settings"]["optimizer_name"]: row["scores"] for row in document["rows"]}
    assert found["Adam"]["gap_val_accuracy"]["mean"] == pytest.approx(0.105)
    assert found["SGD"]["gap_val_accuracy"]["mean"] == pytest.approx(0.115)
    assert found["SGD"]["gap_val_loss"]["mean"] == pytest.approx(0.2)
    assert document["repeats"] == 0
