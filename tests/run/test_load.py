"""A trained run opened again says what it said when it was evaluated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.errors import ConfigError, DataError, RequestError
from harness.run.load import load_recorded, open_run, read_config
from harness.run.reproduce import find_recorded
from harness.tracking.models import find_trained, run_artifact
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.conftest import REPOSITORY
from tests.tracking.stores import new_client, new_study, record, record_model
from tests.trained_runs import train
from tests.variants import forget_data, part, write_variant

pytestmark = [
    pytest.mark.slow,  # TensorFlow takes seconds to import
    # MLflow's own types, when its `pyfunc` is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SUBSET = (f"dataset.directory={REPOSITORY / 'tests' / 'data'}", "dataset.train_size=600", "dataset.test_size=200")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two runs: one of logits on clothes, one of mixed precision on digits with a validation split."""
    uri, _ = new_client(tmp_path_factory.mktemp("store"))
    train(uri, "clothes", *SUBSET)
    split = ("regime.validation.strategy=stratified", "regime.validation.size=100")
    train(uri, "digits", *SUBSET, *split, "dataset=mnist", "model.head=softmax", "mixed_precision=bfloat16")
    return uri


@pytest.mark.parametrize("name", ["clothes", "digits"])
def test_its_probabilities_are_those_that_it_was_scored_by(uri: str, name: str) -> None:
    run = open_run(open_store(uri), name)
    dataset, splits = run.load_data()
    probabilities = run.probabilities(splits.test.images)
    assert probabilities.shape == (200, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    accuracy = np.mean(probabilities.argmax(axis=1) == splits.test.labels)
    assert accuracy == run.record.metrics["final/test_accuracy"]
    chosen = np.take_along_axis(probabilities, splits.test.labels.astype(int)[:, None], axis=1)
    assert -np.log(chosen).mean() == pytest.approx(run.record.metrics["final/test_loss"], rel=1e-5)
    assert dataset.class_names == run.class_names


def test_it_has_its_own_configuration_data_and_class_names(uri: str) -> None:
    clothes, digits = open_run(open_store(uri), "clothes"), open_run(open_store(uri), "latest")
    assert digits.record.name == "digits"
    assert (clothes.config.dataset.name, digits.config.dataset.name) == ("fashion_mnist", "mnist")
    assert (clothes.class_names[0], digits.class_names[0]) == ("T-shirt/top", "0")
    _, splits = digits.load_data()
    assert {name: len(split) for name, split in splits.named()} == {"train": 600, "val": 100, "test": 200}
    logged = {item.dataset.digest for item in MlflowClient(uri).get_run(digits.record.run_id).inputs.dataset_inputs}
    assert logged == {split.digest for _, split in splits.named()}, "the images that it was trained on"


def test_what_tensorflow_says_at_its_start_is_not_heard(uri: str) -> None:
    code = (
        "from harness.tracking.store import open_store; from harness.run.load import open_run\n"
        f"open_run(open_store({uri!r}), 'clothes')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_run_that_is_not_the_harness_own_has_no_configuration(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    run_id = record(client, new_study(client, tmp_path), "external", started=1)
    with pytest.raises(RequestError, match=r"has no artifact config/config\.yaml: was it made by the harness"):
        open_run(open_store(uri), "external")
    client.log_text(run_id, "model:\n  name: mlp\n  wings: 2\n", "config/config.yaml")
    with pytest.raises(ConfigError, match="wings"):
        open_run(open_store(uri), "external")


def test_a_model_that_cannot_be_read_is_named(uri: str, tmp_path: Path) -> None:
    other, client = new_client(tmp_path)
    run_id = record(client, new_study(client, tmp_path), "torn", started=1)
    (clothes,) = (run for run in read_runs(open_store(uri)) if run.name == "clothes")
    with run_artifact(open_store(uri), clothes, "config/config.yaml") as file:
        client.log_text(run_id, file.read_text(), "config/config.yaml")
    with pytest.raises(RequestError, match=r"torn .* has no model"):
        open_run(open_store(other), "torn")
    record_model(client, run_id, {"MLmodel": ""})
    with pytest.raises(RequestError, match="There is no model file"):
        open_run(open_store(other), "torn")
    record_model(client, run_id, {"data/model.keras": json.dumps({"no": "model"})})
    with pytest.raises(RequestError, match=r"model\.keras is no Keras model that can be read"):
        open_run(open_store(other), "torn")


def test_data_that_is_gone_is_an_error_of_the_data_and_not_of_the_model(uri: str, tmp_path: Path) -> None:
    other, client = new_client(tmp_path)
    clothes = open_run(open_store(uri), "clothes")
    given = {key: value for key, value in clothes.record.parameters.items() if key.endswith("_digest")}
    run_id = record(client, new_study(client, tmp_path), "moved", started=1, settings=given)
    with run_artifact(open_store(uri), clothes.record, "config/config.yaml") as file:
        text = file.read_text().replace(str(REPOSITORY / "tests" / "data"), str(tmp_path / "gone"))
    client.log_text(run_id, text, "config/config.yaml")
    logged = MlflowClient(uri).get_run(clothes.record.run_id).outputs.model_outputs[0].model_id
    location = MlflowClient(uri).get_logged_model(logged).artifact_location
    copy = client.create_logged_model("1", name="model", source_run_id=run_id)
    client.log_model_artifacts(copy.model_id, location.removeprefix("file://"))
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(copy.model_id, step=0)])
    moved = open_run(open_store(other), "moved")
    images = np.zeros((1, 28, 28), np.uint8)
    np.testing.assert_array_equal(moved.probabilities(images), clothes.probabilities(images))
    with pytest.raises(DataError, match="gone"):
        moved.load_data()


def test_a_run_whose_images_are_others_now_is_neither_scored_by_them_nor_repeated(uri: str, tmp_path: Path) -> None:
    whole = load_dataset(DatasetConfig(directory=str(REPOSITORY / "tests" / "data")))
    folder = tmp_path / "mine"
    train(uri, "mine", write_variant(folder, part(whole.train, 0, 200), part(whole.test, 0, 100)), "model.hidden=[8]")
    store = open_store(uri)
    record = find_trained(store, "mine")
    config = read_config(store, record)
    assert len(load_recorded(record, config)[1].test) == 100
    assert find_recorded(store, "mine").record.run_id == record.run_id
    shutil.rmtree(folder)
    write_variant(folder, part(whole.train, 200, 400), part(whole.test, 0, 100))
    forget_data()
    assert len(load_recorded(record, config, ["test"])[1].test) == 100, "the test images are what they were"
    then = record.parameters["data.train_digest"][:8]
    for attempt in (lambda: load_recorded(record, config), lambda: find_recorded(store, "mine")):
        with pytest.raises(RequestError, match=rf"The training images of the folder .*mine.* digest was {then} and is"):
            attempt()
