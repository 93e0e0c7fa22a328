"""One model in three forms and over HTTP: the same probabilities for the published test images."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from harness import cli
from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.records import FloatArray, Split
from harness.tracking.models import find_trained
from harness.tracking.store import open_store
from tests.conftest import REPOSITORY
from tests.integration.conftest import HARNESS
from tests.tracking.servers import OPENER, mlflow_server, running
from tests.tracking.stores import new_client
from tests.trained_runs import train

pytestmark = [
    pytest.mark.slow,
    # MLflow's own types, when its `pyfunc` is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SHORT = ("dataset.train_size=2000",)
RUNS = {
    "logits": ("model.head=logits",),
    "softmax": ("model.head=softmax",),
    "standardize": ("dataset.preprocessing=standardize", "model.batch_norm=true", "model.dropout=0.3"),
    "cnn": ("model=cnn", "model.filters=[8]"),
    "half precision": ("mixed_precision=bfloat16",),
}
TOLERANCE = 1e-5  # of a probability; 1.7e-6 was measured: sums are taken in another order in batches of another size
HALF_TOLERANCE = 5e-3  # bfloat16 keeps three digits; 1.0e-3 was measured
BATCH = 32  # Keras's own in `predict`: in equal batches the answers are equal to the last bit


@dataclass(frozen=True)
class Store:
    uri: str
    folder: Path
    ids: dict[str, str]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a run of each kind of model, trained on real images; the default store of its process."""
    folder = tmp_path_factory.mktemp("store")
    uri, _ = new_client(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        yield Store(uri, folder, {name: train(uri, name, *SHORT, *overrides) for name, overrides in RUNS.items()})


@pytest.fixture(scope="module")
def test_split() -> Split:
    """All 10,000 published test images; from the cache, or fetched into it."""
    split = load_dataset(DatasetConfig(name="fashion_mnist")).test
    assert split.images.shape == (10_000, 28, 28)
    return split


def exported(store: Store, name: str, form: str) -> Path:
    folder = store.folder / "exported" / form / name
    if not folder.exists():
        assert cli.main(["export", store.ids[name], str(folder), "--format", form, "--store", store.uri]) == 0
    return folder


def by_pyfunc(store: Store, name: str, split: Split) -> FloatArray:
    import mlflow

    (logged,) = store.client.get_run(store.ids[name]).outputs.model_outputs
    return np.asarray(mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(split.images))


def by_keras(store: Store, name: str, split: Split) -> FloatArray:
    import keras

    model = keras.models.load_model(exported(store, name, "keras") / "model.keras")
    return np.asarray(model.predict(split.images, verbose=0))


def by_tensorflow(store: Store, name: str, split: Split) -> FloatArray:
    import tensorflow as tf

    model = tf.saved_model.load(str(exported(store, name, "saved_model")))
    signature = model.signatures["serving_default"]
    return np.asarray(signature(pixels=tf.constant(split.images))["probabilities"])


@pytest.mark.parametrize("name", RUNS)
def test_three_forms_agree_on_all_test_images(store: Store, test_split: Split, name: str) -> None:
    import tensorflow as tf

    answers = [load(store, name, test_split) for load in (by_pyfunc, by_keras, by_tensorflow)]
    first = answers[0]
    for other in answers:
        assert other.shape == (10_000, 10)
        np.testing.assert_allclose(other, first, rtol=0, atol=HALF_TOLERANCE if name == "half precision" else TOLERANCE)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    accuracy = np.mean(first.argmax(axis=1) == test_split.labels)
    recorded = store.client.get_run(store.ids[name]).data.metrics["final/test_accuracy"]
    assert accuracy == pytest.approx(recorded, abs=5e-4 if name == "half precision" else 1e-9)
    model = tf.saved_model.load(str(exported(store, name, "saved_model")))
    batches = [test_split.images[start : start + BATCH] for start in range(0, 320, BATCH)]
    alike = np.concatenate([model.serve(batch)["probabilities"] for batch in batches])
    np.testing.assert_array_equal(alike, first[:320])


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `mlflow models serve` for the registered run of logits, found by its alias."""
    assert cli.main(["register", store.ids["logits"], "fashion", "--store", store.uri]) == 0
    arguments = ["models", "serve", "--model-uri", "models:/fashion@champion", "--env-manager", "local"]
    # No proxy and no index to be reached: whatever would be downloaded fails.
    offline = {"MLFLOW_TRACKING_URI": store.uri, "PIP_NO_INDEX": "1", "https_proxy": "http://127.0.0.1:9"}
    with running(arguments, tmp_path_factory.mktemp("serving"), offline, ready="/ping") as address:
        yield address


def ask(address: str, body: object) -> tuple[int, Any]:
    """The status and the JSON that the server answers to `body`."""
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with OPENER.open(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_a_server_answers_plain_numbers_with_the_models_probabilities(
    store: Store, served: str, test_split: Split, key: str
) -> None:
    some = Split(test_split.images[:100], test_split.labels[:100])
    expected = by_pyfunc(store, "logits", some)
    for images in (some.images, some.images[:1]):
        status, answer = ask(served, {key: images.tolist()})
        assert status == 200, answer
        np.testing.assert_allclose(answer["predictions"], expected[: len(images)], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((28, 28), int), "Shape of input (28, 28) does not match expected shape (-1, 28, 28)"),
        (np.zeros((1, 784), int), "Shape of input (1, 784) does not match expected shape (-1, 28, 28)"),
        (np.full((1, 28, 28), 256), "Python integer 256 out of bounds for uint8"),
        (np.full((1, 28, 28), -1), "Python integer -1 out of bounds for uint8"),
    ],
)
def test_a_server_says_what_is_wrong_with_other_shapes_and_numbers(served: str, pixels: Any, said: str) -> None:
    status, answer = ask(served, {"inputs": pixels.tolist()})
    assert status == 400
    assert said in answer["message"]


def test_a_store_behind_a_server_is_registered_exported_and_found(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        subset = (f"dataset.directory={REPOSITORY / 'tests' / 'data'}", "dataset.train_size=600")
        run_id = train(address, "remote", *subset)
        for again in ("registered:", "was registered already:"):
            assert cli.main(["register", "remote", "fashion", "--store", address]) == 0
            assert f"fashion version 1 {again}" in capsys.readouterr().out
        client = MlflowClient(address)
        (version,) = client.search_model_versions("name = 'fashion'")
        accuracy = client.get_run(run_id).data.metrics["final/test_accuracy"]
        assert version.tags["final/test_accuracy"] == f"{accuracy:.6g}"
        (logged,) = client.get_run(run_id).outputs.model_outputs
        listed = client.get_logged_model(logged.model_id).tags["mlflow.modelVersions"]
        assert len(json.loads(listed)) == 1
        for text in ("fashion", "fashion/1", "fashion@champion", "models:/fashion/1", "latest"):
            assert find_trained(open_store(address), text).run_id == run_id
        assert cli.main(["ui", "--store", address]) == 0
        assert f"MLflow UI: {address}" in capsys.readouterr().out
        assert cli.main(["store", "relocate", "--store", address]) == 2
        assert f"{address} is no SQLite file" in capsys.readouterr().err
        assert cli.main(["export", "fashion@champion", str(tmp_path / "model"), "--store", address]) == 0
        import keras

        model = keras.models.load_model(tmp_path / "model" / "model.keras")
        assert model.predict(np.zeros((2, 28, 28), np.uint8), verbose=0).shape == (2, 10)


def test_the_command_itself_exports_without_a_word_on_standard_error(store: Store, tmp_path: Path) -> None:
    import subprocess

    done = subprocess.run(
        [HARNESS, "export", "cnn", "model/1", "--format", "saved_model", "--store", store.uri],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {item.name for item in (tmp_path / "model" / "1").iterdir()} == {
        "about.json", "assets", "fingerprint.pb", "saved_model.pb", "variables"
    }  # fmt: skip
    assert [item.name for item in (tmp_path / "model").iterdir()] == ["1"]
