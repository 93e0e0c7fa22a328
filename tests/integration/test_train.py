"""One run of the real command, read back from the store that it wrote."""

from __future__ import annotations

import json
import subprocess
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from mlflow.entities import Run
from PIL import Image, ImageChops

from harness.analysis.settings import NOT_CONTINUED
from harness.composing import compose_config
from harness.config.schema import Config, DatasetConfig, flatten
from harness.data import load_dataset
from harness.figures import SELECTIONS
from harness.tracking.provenance import code_state
from tests.conftest import REPOSITORY
from tests.integration.conftest import VALIDATED, Outcome, Project

pytestmark = [
    pytest.mark.slow,
    # MLflow's own types, when its `pyfunc` is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SERIES = {
    *(f"{split}/{score}" for split in ("fit", "train", "val", "gap") for score in ("loss", "accuracy")),
    "optimizer/learning_rate",
    "time/epoch_seconds",
}
SCALARS = {
    *(f"final/{split}_{score}" for split in ("fit", "train", "val", "test") for score in ("loss", "accuracy")),
    *(f"final/gap_{split}_{score}" for split in ("val", "test") for score in ("loss", "accuracy")),
    *(
        f"{unit}/gap_{split}_{score}"
        for split in ("val", "test")
        for unit, score in (("points", "accuracy"), ("x100", "loss"))
    ),
    "final/gap_test_accuracy_running",
    "final/gap_running_minus_clean",
    *(
        f"final/{split}_{name}"
        for split in ("val", "test")
        for name in ("ece", "calibration_error", "brier", "accuracy_low", "accuracy_high")
    ),
    *(
        f"{stage}/{name}_{score}"
        for stage in ("last", "best")
        for name in ("train", "val", "test", "gap_val", "gap_test")
        for score in ("loss", "accuracy")
    ),
    "last/epoch",
    "best/epoch",
    *(f"data/{split}_images" for split in ("train", "val", "test")),
    "data/noisy_labels",
    "model/parameters",
    "time/fit_seconds",
    "time/total_seconds",
}
OVERRIDES = [*VALIDATED, "seed=1", "threads=1"]


@pytest.fixture(scope="module")
def run(trained: Outcome) -> Run:
    """The only run of its store."""
    (run,) = trained.project.runs()
    return run


@pytest.fixture(scope="module")
def config() -> Config:
    return compose_config(OVERRIDES)


def series(project: Project, run: Run, name: str) -> dict[int, float]:
    return {metric.step: metric.value for metric in project.client().get_metric_history(run.info.run_id, name)}


def weights(project: Project, run: Run) -> dict[str, bytes]:
    """Every array of the logged model, by its place in the file."""
    (output,) = run.outputs.model_outputs
    location = project.client().get_logged_model(output.model_id).artifact_location.removeprefix("file://")
    arrays: dict[str, bytes] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    archive = Path(location) / "data" / "model.keras"
    with zipfile.ZipFile(archive) as files, files.open("model.weights.h5") as file, h5py.File(file) as content:
        content.visititems(keep)
    assert len(arrays) >= 4, "two layers have a kernel and a bias each"
    return arrays


def test_a_run_succeeds_and_is_told_line_by_line(trained: Outcome, run: Run) -> None:
    assert trained.done.returncode == 0, trained.done.stderr
    assert run.info.status == "FINISHED"
    assert trained.done.stdout == ""
    for epoch in (1, 2, 3):
        assert f"epoch {epoch}/3   fit " in trained.done.stderr
    assert "├── regime" not in trained.done.stderr, "the configuration as a tree is for a terminal"
    assert f"run {run.info.run_id}" in trained.done.stderr
    assert "\x1b" not in trained.done.stderr, "no control sequences where there is no terminal"


def test_every_series_has_a_value_for_each_epoch_and_every_scalar_one_at_step_0(trained: Outcome, run: Run) -> None:
    steps = {name: list(series(trained.project, run, name)) for name in run.data.metrics}
    assert steps == {name: [1, 2, 3] for name in SERIES} | {name: [0] for name in SCALARS}


def test_gaps_are_positive_for_overfitting_and_agree_with_what_they_are_between(trained: Outcome, run: Run) -> None:
    by_name = {name: series(trained.project, run, name) for name in SERIES}
    for epoch in (1, 2, 3):
        at = {name: values[epoch] for name, values in by_name.items()}
        assert at["gap/accuracy"] == at["train/accuracy"] - at["val/accuracy"]
        assert at["gap/loss"] == at["val/loss"] - at["train/loss"]
    scalars = run.data.metrics
    for split in ("val", "test"):
        train, held_out = scalars["final/train_accuracy"], scalars[f"final/{split}_accuracy"]
        assert scalars[f"final/gap_{split}_accuracy"] == train - held_out
        train, held_out = scalars["final/train_loss"], scalars[f"final/{split}_loss"]
        assert scalars[f"final/gap_{split}_loss"] == held_out - train
    running = scalars["final/fit_accuracy"] - scalars["final/test_accuracy"]
    assert scalars["final/gap_test_accuracy_running"] == running


def test_final_scores_are_those_of_the_last_epoch_and_best_ones_those_of_the_least_validation_loss(
    trained: Outcome, run: Run
) -> None:
    scalars = run.data.metrics
    validation = series(trained.project, run, "val/loss")
    best = min(validation, key=lambda epoch: validation[epoch])
    assert scalars["best/epoch"] == best
    for split in ("train", "val"):
        for score in ("loss", "accuracy"):
            values = series(trained.project, run, f"{split}/{score}")
            assert scalars[f"final/{split}_{score}"] == pytest.approx(values[3], rel=1e-6)
            assert scalars[f"last/{split}_{score}"] == scalars[f"final/{split}_{score}"]
            assert scalars[f"best/{split}_{score}"] == pytest.approx(values[best], rel=1e-6)
    assert scalars["last/epoch"] == 3
    assert [scalars[f"data/{split}_images"] for split in ("train", "val", "test")] == [600, 100, 200]
    assert scalars["final/test_accuracy_low"] < scalars["final/test_accuracy"] < scalars["final/test_accuracy_high"]
    assert scalars["final/fit_loss"] == series(trained.project, run, "fit/loss")[3]
    assert scalars["model/parameters"] == 784 * 128 + 128 + 128 * 10 + 10


def test_parameters_are_the_resolved_configuration_with_the_same_keys_on_every_run(run: Run, config: Config) -> None:
    digests = {item.tags[0].value: item.dataset.digest for item in run.inputs.dataset_inputs}
    expected = flatten(config) | NOT_CONTINUED | {
        "data.train_digest": digests["training"],
        "data.val_digest": digests["validation"],
        "data.test_digest": digests["testing"],
        "data.variant": f"variant {run.data.tags['harness.dataset_digest'][:8]}",  # the bundled images
        "data.image_shape": "28x28",
        "data.dtype": "uint8",
        "data.classes": "10",
    }  # fmt: skip
    assert run.data.params == {key: str(value) for key, value in expected.items()}
    assert flatten(config).keys() == flatten(Config()).keys()


def test_the_configuration_and_the_overrides_are_kept_as_files(trained: Outcome, run: Run, config: Config) -> None:
    kept = yaml.safe_load(trained.project.artifact(run, "config/config.yaml").read_text())
    assert flatten_mapping(kept) == flatten(config)
    assert yaml.safe_load(trained.project.artifact(run, "config/overrides.yaml").read_text()) == OVERRIDES


def flatten_mapping(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten_mapping(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_tags_say_where_code_and_numbers_came_from(trained: Outcome, run: Run) -> None:
    tags = run.data.tags
    commit = subprocess.check_output(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], text=True).strip()
    assert tags["mlflow.source.git.commit"] == commit
    assert (tags["harness.source"], tags["harness.version"]) == ("checkout", version("overfitting-harness"))
    assert tags["mlflow.source.name"] == "harness"
    assert tags["harness.command"].startswith("harness train dataset.directory=")
    assert tags["harness.overrides"] == " ".join(OVERRIDES)
    assert tags["harness.kind"] == "run"
    assert tags["harness.engine"] == "compiled"
    assert int(tags["harness.intra_op_threads"]) >= 1
    assert tags["mlflow.runName"].startswith("mlp_128 adam ")
    assert "mlflow.parentRunId" not in tags


def test_the_uncommitted_difference_and_the_installed_packages_are_kept(trained: Outcome, run: Run) -> None:
    kept = {item.path for item in trained.project.client().list_artifacts(run.info.run_id, "code")}
    assert ("code/uncommitted.diff" in kept) == bool(code_state().diff)
    packages = trained.project.artifact(run, "code/packages.txt").read_text().splitlines()
    assert f"numpy=={np.__version__}" in packages


def test_the_log_of_the_run_is_kept(trained: Outcome, run: Run) -> None:
    log = trained.project.artifact(run, "logs/run.log").read_text()
    assert "epoch 3: " in log
    assert "training ended: all epochs trained" in log
    (local,) = (trained.project.root / "outputs" / "runs").glob("*/*/run.log")
    assert local.read_text().startswith(log)


def test_figures_are_drawn_again_from_the_store_as_the_run_drew_them(
    trained: Outcome, run: Run, tmp_path: Path
) -> None:
    again = trained.project.run("figures", run.info.run_id, "--all", "--output", str(tmp_path))
    assert again.returncode == 0, again.stderr
    files = [Path(line.removeprefix("Wrote ")) for line in again.stdout.splitlines()]
    assert tuple(file.name for file in files) == SELECTIONS["all"]
    for name in SELECTIONS["few"]:
        kept = trained.project.artifact(run, f"figures/{name}")
        with Image.open(tmp_path / name) as drawn, Image.open(kept) as before:
            assert ImageChops.difference(drawn.convert("RGB"), before.convert("RGB")).getbbox() is None, name


def test_figures_are_pictures_and_the_table_of_classes_covers_the_test_images(trained: Outcome, run: Run) -> None:
    names = {item.path for item in trained.project.client().list_artifacts(run.info.run_id, "figures")}
    assert names == {f"figures/{name}" for name in SELECTIONS["few"]}
    for name in names:
        with Image.open(trained.project.artifact(run, name)) as picture:
            low, high = picture.convert("L").getextrema()
            assert picture.format == "PNG"
            assert min(picture.size) > 300
            assert low < 100 < 200 < high, f"{name} is blank"
    table = json.loads(trained.project.artifact(run, "per_class.json").read_text())
    support = table["columns"].index("support")
    assert sum(row[support] for row in table["data"]) == 200


def test_each_split_is_an_input_with_its_context_and_its_own_digest(run: Run) -> None:
    inputs = {
        item.tags[0].value: (item.dataset.name, item.dataset.digest, json.loads(item.dataset.profile))
        for item in run.inputs.dataset_inputs
    }
    assert {context: name for context, (name, _, _) in inputs.items()} == {
        "training": "fashion_mnist_train",
        "validation": "fashion_mnist_val",
        "testing": "fashion_mnist_test",
    }
    sizes = {context: profile["features_shape"] for context, (_, _, profile) in inputs.items()}
    assert sizes == {"training": [600, 28, 28], "validation": [100, 28, 28], "testing": [200, 28, 28]}
    assert len({digest for _, digest, _ in inputs.values()}) == 3


def test_mlflow_can_tell_which_images_a_score_of_the_model_belongs_to(trained: Outcome, run: Run) -> None:
    (output,) = run.outputs.model_outputs
    found = {
        metric.key: metric.dataset_name for metric in trained.project.client().get_logged_model(output.model_id).metrics
    }
    assert found["final/train_loss"] == found["final/fit_loss"] == "fashion_mnist_train"
    assert found["final/val_accuracy"] == found["best/gap_val_loss"] == "fashion_mnist_val"
    assert found["final/test_accuracy"] == found["final/gap_test_loss"] == "fashion_mnist_test"
    assert found["time/total_seconds"] is None


def test_the_logged_model_classifies_raw_images_as_well_as_the_run_says(trained: Outcome, run: Run) -> None:
    import mlflow

    (output,) = run.outputs.model_outputs
    location = trained.project.client().get_logged_model(output.model_id).artifact_location
    model = mlflow.pyfunc.load_model(location)
    test = load_dataset(DatasetConfig(directory=str(REPOSITORY / "tests" / "data"))).test
    images, labels = test.images[:200], test.labels[:200]
    assert images.dtype == np.uint8
    assert images.max() == 255
    probabilities = model.predict(images)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == labels) == run.data.metrics["final/test_accuracy"]


def test_the_logged_model_has_signature_example_and_pinned_requirements(trained: Outcome, run: Run) -> None:
    from mlflow.models import Model

    (output,) = run.outputs.model_outputs
    location = trained.project.client().get_logged_model(output.model_id).artifact_location.removeprefix("file://")
    described = Model.load(location)
    (given,) = described.signature.inputs.to_dict()
    assert given["tensor-spec"] == {"dtype": "uint8", "shape": (-1, 28, 28)}
    assert described.saved_input_example_info is not None
    requirements = (Path(location) / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in requirements} == {"tensorflow", "keras", "numpy", "mlflow"}
    assert all("==" in line for line in requirements)


def test_the_logged_model_is_linked_to_the_scores_of_its_run(trained: Outcome, run: Run) -> None:
    (output,) = run.outputs.model_outputs
    logged = trained.project.client().get_logged_model(output.model_id)
    assert logged.source_run_id == run.info.run_id
    assert logged.status.name == "READY"
    assert {metric.key: metric.value for metric in logged.metrics} == {name: run.data.metrics[name] for name in SCALARS}


def test_everything_lies_below_the_root_and_nothing_in_the_working_directory(trained: Outcome, run: Run) -> None:
    root = trained.project.root
    assert list(trained.project.elsewhere.iterdir()) == []
    # A run that takes longer than `tracking.checkpoint_seconds` has had a checkpoint.
    assert {item.name for item in root.iterdir() if not item.name.startswith(("mlflow.db", ".git", "checkpoints"))} == {
        "mlruns", "outputs"
    }  # fmt: skip
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(root / "mlruns")


def test_the_same_configuration_and_seed_give_the_same_numbers_in_another_process_and_another_sweep(
    trained: Outcome, run: Run, swept: Outcome
) -> None:
    other, twin = (child for child in swept.children if child.data.params["optimizer.name"] == "adam")
    assert (twin.data.params["seed"], other.data.params["seed"]) == ("1", "0")
    for name in (SERIES | SCALARS) - {"time/epoch_seconds", "time/fit_seconds", "time/total_seconds"}:
        assert series(trained.project, run, name) == series(swept.project, twin, name), name
    assert weights(trained.project, run) == weights(swept.project, twin)
    assert run.data.metrics["final/train_loss"] != other.data.metrics["final/train_loss"]
    assert weights(trained.project, run) != weights(swept.project, other)
