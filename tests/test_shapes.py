"""Nothing but the two published datasets knows 28 x 28 pixels and ten classes: images of 8 x 8 in three classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness import metrics
from harness.commands import export
from harness.commands.chosen_images import choose, load
from harness.commands.layer_views import draw_weights
from harness.commands.predict import predict
from harness.composing import compose_config
from harness.config.schema import Config
from harness.data import split_dataset
from harness.errors import RequestError
from harness.figures import RunView, run_figures
from harness.models import build_model, pixel_scale, probability_model
from harness.models.inspection import describe_layers, observe_layers, read_kernels
from harness.records import Dataset, Split, Splits
from harness.run.evaluate import evaluate_stages
from harness.run.load import TrainedRun, open_run
from harness.run.log import log_configuration, log_data
from harness.tracking.models import find_trained
from harness.tracking.store import Store, open_store
from harness.tracking.writing import RunIdentity, tracked_run
from harness.training import fit, seed_everything
from tests.tracking.stores import new_client
from tests.training.training_runs import Watcher

pytestmark = [
    pytest.mark.slow,  # TensorFlow takes seconds to import
    # MLflow's own types, when its `pyfunc` is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

NAMES = ("zero", "one", "two")
VALIDATED = ("regime.validation.strategy=stratified", "regime.validation.size=60", "regime.epochs=8")
MODELS = {
    "mlp": ("model.hidden=[16]", "model.shift=1", "dataset.preprocessing=standardize"),
    "cnn": ("model=cnn", "model.filters=[4,4]", "model.hidden=[16]", "regime.labels=one_hot"),
}


def handwritten() -> Dataset:
    """The digits 0, 1 and 2 of scikit-learn: 8 x 8 pixels of 0 to 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(n_class=3, return_X_y=True)
    every = Split((images.reshape(-1, 8, 8) * 15).astype(np.uint8), labels.astype(np.uint8))
    train, test = Split(every.images[:400], every.labels[:400]), Split(every.images[400:], every.labels[400:])
    return Dataset("digits", NAMES, train, test, digest="0" * 64, source="scikit-learn")


@dataclass(frozen=True)
class Trained:
    store: Store
    model: str
    config: Config
    splits: Splits
    accuracy: float

    def open(self) -> TrainedRun:
        return open_run(self.store, self.model)


@pytest.fixture(scope="module", params=[("mlp", "compiled"), ("mlp", "keras"), ("cnn", "compiled"), ("cnn", "keras")])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Built, trained, evaluated, drawn and logged as `run.execute` does it."""
    name, engine = request.param
    uri, _ = new_client(tmp_path_factory.mktemp("store"))
    store = open_store(uri)
    config = compose_config([*MODELS[name], *VALIDATED])
    dataset = handwritten()
    splits = split_dataset(dataset, config.dataset, config.regime.validation)
    seed_everything(0)
    model = build_model(config.model, config.dataset.preprocessing, splits.spec, splits.train.images)
    fitted = fit(engine, model, config, splits.train, splits.validation, Watcher())
    stages = evaluate_stages(model, fitted, splits, NAMES)
    test = stages.final["test"]
    assert test.probabilities.shape == (len(splits.test), 3)
    view = RunView(
        fitted.history, test, splits.test, splits.train, pixel_scale(model), NAMES, name, config.palette, 0
    )  # fmt: skip
    assert len(list(run_figures(view, "all"))) > 5
    with tracked_run(store, RunIdentity(name, "shapes")) as tracked:
        log_configuration(tracked, config, ())
        log_data(tracked, dataset, splits)
        examples = Split(splits.test.images[:2], splits.test.labels[:2])
        tracked.log_model(probability_model(model, config.model.head), splits.spec, examples)
        tracked.log_metrics(metrics.summarize(fitted.history, stages))
    assert test.accuracy > 0.8
    return Trained(store, name, config, splits, test.accuracy)


def test_a_run_is_opened_as_what_it_was_given(trained: Trained) -> None:
    run = trained.open()
    assert run.spec.image_shape == (8, 8)
    assert run.class_names == NAMES
    assert run.spec.digests == trained.splits.spec.digests
    probabilities = run.probabilities(trained.splits.test.images)
    assert np.mean(probabilities.argmax(axis=1) == trained.splits.test.labels) == trained.accuracy
    assert run.record.parameters["data.variant"] == "variant 00000000"


def test_images_of_its_size_are_predicted_and_others_refused(trained: Trained, tmp_path: Path) -> None:
    run, file = trained.open(), tmp_path / "images.npy"
    np.save(file, trained.splits.test.images[:4])
    chosen, _ = load(choose((), (), file, (), None, False, 25), run.record, trained.config)
    found = predict(run, chosen)
    assert [each.probabilities.shape for each in found] == [(3,)] * 4
    np.save(file, np.zeros((4, 28, 28), np.uint8))
    with pytest.raises(RequestError, match=r"its shape is \(4, 28, 28\).* of shape \(n, 8, 8\) or \(8, 8\)"):
        load(choose((), (), file, (), None, False, 25), run.record, trained.config)
    picture = tmp_path / "picture.png"
    _save(picture, np.zeros((28, 28), np.uint8))
    with pytest.raises(RequestError, match=r"it has 28 x 28 pixels and the model takes 8 x 8\. Save it in this size"):
        load(choose((), [picture], None, (), None, False, 25), run.record, trained.config)
    _save(picture, trained.splits.test.images[0])
    chosen, _ = load(choose((), [picture], None, (), None, False, 25), run.record, trained.config)
    np.testing.assert_array_equal(chosen[0].image, trained.splits.test.images[0])


def test_its_layers_are_seen(trained: Trained, tmp_path: Path) -> None:
    run, images = trained.open(), trained.splits.test.images
    outputs = observe_layers(run.model, describe_layers(run.model), images[0], images)
    assert outputs[-1].values.shape == (3,)
    draw_weights(read_kernels(run.model)[0], run.spec.image_shape, "digits", tmp_path / "weights.png")
    assert (tmp_path / "weights.png").is_file()


@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_it_is_exported_with_its_own_shape_and_classes(trained: Trained, form: str, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    target, images = tmp_path / "exported", trained.splits.test.images
    done = CliRunner().invoke(
        export.command, [trained.model, str(target), "--format", form, "--store", trained.store.uri]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    about = json.loads((target / "about.json").read_text())
    assert (about["classes"], about["input"]["shape"], about["output"]["shape"]) == (
        list(NAMES), [None, 8, 8], [None, 3],
    )  # fmt: skip
    loaded: Any = keras.models.load_model(target / "model.keras") if form == "keras" else tf.saved_model.load(target)
    found = loaded.predict(images, verbose=0) if form == "keras" else loaded.serve(images)["probabilities"]
    np.testing.assert_allclose(np.asarray(found), trained.open().probabilities(images), atol=1e-5)


def test_mlflow_serves_what_the_signature_says(trained: Trained) -> None:
    import mlflow

    run = find_trained(trained.store, trained.model)
    client = trained.store.client
    (output,) = client.get_run(run.run_id).outputs.model_outputs
    location = client.get_logged_model(output.model_id).artifact_location
    served = mlflow.pyfunc.load_model(location)
    assert served.metadata.get_input_schema().inputs[0].shape == (-1, 8, 8)
    assert served.metadata.metadata["class_names"] == list(NAMES)
    assert served.predict(trained.splits.test.images[:5]).shape == (5, 3)


def _save(file: Path, image: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(image).save(file)
