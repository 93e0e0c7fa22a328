"""What a model says is what it says now, although models of one structure share a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from harness.composing import compose_config
from harness.models import build_model, log_probabilities, prediction
from harness.records import FloatArray, UInt8Array
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)


def build(images: UInt8Array, seed: int, *overrides: str) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    return build_model(compose_config(["model.hidden=[16]", *overrides]).model, "unit_range", CLOTHES, images)


def by_keras(model: Any, images: UInt8Array) -> FloatArray:
    """Log-probabilities of a model with a head of logits, by `keras.Model.predict`."""
    import keras

    return np.asarray(keras.ops.log_softmax(model.predict(images, verbose=0).astype(np.float32)))


def test_the_weights_are_those_of_the_moment_of_the_call(images: UInt8Array) -> None:
    model = build(images, 1, "model.batch_norm=true")
    predict = log_probabilities(model)
    before = predict(images)
    for weights in model.weights:
        weights.assign(weights * 1.5)  # the statistics of batch normalization too
    after = predict(images)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, by_keras(model, images), atol=1e-4)


def test_models_of_one_structure_share_a_program_and_keep_their_weights(images: UInt8Array) -> None:
    first, second = build(images, 1), build(images, 2)
    predictions = {model: log_probabilities(model) for model in (first, second)}
    assert prediction._program(first) is prediction._program(second)
    for model in (first, second, first):
        np.testing.assert_allclose(predictions[model](images), by_keras(model, images), atol=1e-5)


def test_another_activation_is_another_program(images: UInt8Array) -> None:
    rectified, squashed = build(images, 1), build(images, 1, "model.activation=tanh")
    assert [array.shape for array in rectified.weights] == [array.shape for array in squashed.weights]
    for model in (rectified, squashed):
        np.testing.assert_allclose(log_probabilities(model)(images), by_keras(model, images), atol=1e-5)


def test_the_number_of_programs_is_bounded_and_the_one_unused_for_longest_goes(images: UInt8Array) -> None:
    models = [build(images, 1, f"model.hidden=[{units}]") for units in range(2, 3 + prediction.PROGRAMS_KEPT)]
    programs = []
    for model in models:
        log_probabilities(model)(images)
        log_probabilities(models[0])(images)
        programs.append(prediction._program(model))
    assert len(prediction._programs) == prediction.PROGRAMS_KEPT
    assert prediction._program(models[0]) is programs[0]
    assert prediction._program(models[1]) is not programs[1]


@pytest.fixture
def half_precision() -> Iterator[None]:
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("half_precision")
def test_a_model_of_mixed_precision_answers_too(images: UInt8Array) -> None:
    model = build(images, 1)
    np.testing.assert_allclose(log_probabilities(model)(images), by_keras(model, images), atol=0.1)


def test_a_model_that_was_compiled_with_a_loss_of_the_users_own_answers_too(images: UInt8Array) -> None:
    import keras

    class Own(keras.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return y_pred[:, 0]

    model = build(images, 0, "model.hidden=[7]")
    expected = log_probabilities(model)(images)
    model.compile("sgd", Own())
    prediction._programs.clear()
    assert (log_probabilities(model)(images) == expected).all()
    assert model.compiled
