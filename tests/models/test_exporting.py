"""What is exported answers as the model does, without our code, and can be trained further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.composing import compose_config
from harness.errors import RequestError
from harness.models import FORMATS, build_model, probability_model
from harness.records import UInt8Array
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(images: UInt8Array) -> Any:
    """A probability model with everything that behaves otherwise in training: dropout and batch normalization."""
    import keras

    keras.utils.set_random_seed(1)
    overrides = ["model=cnn", "model.filters=[2]", "model.hidden=[8]", "model.dropout=0.5", "model.batch_norm=true"]
    return probability_model(build_model(compose_config(overrides).model, "standardize", CLOTHES, images), "logits")


@pytest.fixture(scope="module")
def logged(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("logged") / "model.keras"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def saved_model(logged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved_model")
    FORMATS["saved_model"].write(logged, folder)
    return folder


def test_the_keras_file_is_the_logged_one(logged: Path, tmp_path: Path) -> None:
    FORMATS["keras"].write(logged, tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["model.keras"]
    assert (tmp_path / "model.keras").read_bytes() == logged.read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_that_is_not_there_is_named(form: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no model file .*missing\.keras"):
        FORMATS[form].write(tmp_path / "missing.keras", tmp_path)


def test_the_saved_model_has_the_signature_that_tensorflow_serving_asks_for(saved_model: Path) -> None:
    import tensorflow as tf

    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    (_, given) = signature.structured_input_signature
    assert given == {"pixels": tf.TensorSpec((None, 28, 28), tf.uint8, name="pixels")}
    assert {name: (list(spec.shape), spec.dtype) for name, spec in signature.structured_outputs.items()} == {
        "probabilities": ([None, 10], tf.float32)
    }


def test_the_saved_model_answers_for_one_image_and_for_many_as_in_inference(
    model: Any, saved_model: Path, images: UInt8Array
) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.serve(images)["probabilities"], expected, atol=1e-6)
    one = loaded.signatures["serving_default"](pixels=tf.constant(images[:1]))["probabilities"]
    np.testing.assert_allclose(one, expected[:1], atol=1e-6)


@pytest.mark.parametrize("form", FORMATS)
def test_the_python_that_is_shown_works_as_it_stands_without_a_warning(
    form: str, logged: Path, images: UInt8Array, tmp_path: Path
) -> None:
    FORMATS[form].write(logged, tmp_path)
    np.save(tmp_path / "images.npy", images)
    program = (
        "import keras, numpy as np, tensorflow as tf\n"
        f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
        f"{FORMATS[form].use.format(folder=tmp_path)}\n"
        "assert np.shape(probabilities) == (64, 10)\n"
        "import sys; assert 'harness' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning", "-c", program],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_model_logged_with_a_list_of_one_input_is_exported_too(
    model: Any, images: UInt8Array, tmp_path: Path
) -> None:
    import keras
    import tensorflow as tf

    keras.Model([model.input], model.output).save(tmp_path / "old.keras")
    FORMATS["saved_model"].write(tmp_path / "old.keras", tmp_path / "new")
    loaded = tf.saved_model.load(str(tmp_path / "new"))
    answer = loaded.serve(images)["probabilities"]
    np.testing.assert_allclose(answer, model.predict(images, verbose=0), atol=1e-6)


def test_the_keras_file_can_be_trained_further(logged: Path, images: UInt8Array) -> None:
    import keras

    loaded = keras.models.load_model(logged)
    before = [np.array(weights) for weights in loaded.trainable_weights]
    loaded.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    history = loaded.fit(images, np.arange(64) % 10, epochs=20, verbose=0).history["loss"]
    assert np.mean(history[-5:]) < np.mean(history[:5])  # not each epoch's: dropout draws from where others drew
    moved = [np.abs(np.array(after) - old).max() for after, old in zip(loaded.trainable_weights, before, strict=True)]
    assert all(distance > 0 for distance in moved[-2:])


def test_a_loaded_model_is_called_with_an_array_without_a_warning(model: Any, logged: Path, images: UInt8Array) -> None:
    import keras

    answer = keras.models.load_model(logged)(images)  # every warning is an error here
    np.testing.assert_allclose(answer, model.predict(images, verbose=0), atol=1e-6)
