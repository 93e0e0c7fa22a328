"""Models have the sizes, heads and layers that the configuration asks for, and take raw pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.composing import compose_config
from harness.config.schema import ACTIVATIONS
from harness.models import build_model, log_probabilities, probability_model
from harness.records import UInt8Array
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["model=mlp_128"], 101_770),
        (["model=mlp_128_128"], 118_282),
        (["model=mlp_300_100"], 266_610),
        (["model=mlp", "model.hidden=[]"], 7_850),
        (["model=mlp", "model.width=8"], 785 * 8 + 9 * 10),
        (["model=mlp", "model.width=8", "model.depth=3"], 785 * 8 + 2 * 9 * 8 + 9 * 10),
        (["model=mlp_128", "model.shift=2"], 101_770),
        (["model=mlp_128", "model.batch_norm=true"], 101_770 + 4 * 128),
        (["model=cnn"], 320 + 18_496 + 3_136 * 128 + 128 + 1_290),
    ],
)
def test_the_number_of_parameters_is_that_of_the_guides(
    overrides: list[str], parameters: int, images: UInt8Array
) -> None:
    model = build_model(compose_config(overrides).model, "unit_range", CLOTHES, images)
    assert model.count_params() == parameters


@pytest.mark.parametrize("head", ["logits", "softmax"])
@pytest.mark.parametrize("model_name", ["mlp_128", "cnn"])
def test_probabilities_sum_to_one_whatever_the_head(head: str, model_name: str, images: UInt8Array) -> None:
    import keras

    config = compose_config([f"model={model_name}", f"model.head={head}"]).model
    keras.utils.set_random_seed(1)
    model = build_model(config, "unit_range", CLOTHES, images)
    saved = probability_model(model, head).predict(images, verbose=0)
    assert saved.shape == (64, 10)
    np.testing.assert_allclose(saved.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.exp(log_probabilities(model)(images)), saved, atol=1e-5)


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_losses_are_those_of_keras_also_for_confident_mistakes(head: str, images: UInt8Array) -> None:
    import keras

    from harness import metrics

    config = compose_config(["model=mlp_128", f"model.head={head}"]).model
    keras.utils.set_random_seed(2)
    model = build_model(config, "unit_range", CLOTHES, images)
    for weights in model.weights:
        weights.assign(weights * 30)  # logits of some hundreds: probabilities underflow
    labels = np.arange(64, dtype=np.uint8) % 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=head == "logits")
    model.compile(loss=loss, metrics=["accuracy"])
    theirs = model.evaluate(images, labels, verbose=0, batch_size=64)
    logs = log_probabilities(model)(images)
    assert theirs[0] > 20
    assert metrics.cross_entropies(logs, labels).mean() == pytest.approx(theirs[0], rel=1e-4)
    assert metrics.accuracy(logs.argmax(axis=1), labels) == pytest.approx(theirs[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_builds(activation: str, images: UInt8Array) -> None:
    model = build_model(compose_config([f"model.activation={activation}"]).model, "unit_range", CLOTHES, images)
    assert np.isfinite(log_probabilities(model)(images)).all()


def test_dropout_and_penalties_are_where_they_should_be(images: UInt8Array) -> None:
    config = compose_config(["model=mlp_300_100", "model.dropout=0.3", "model.l2=0.01", "model.batch_norm=true"]).model
    names = [layer.name for layer in build_model(config, "unit_range", CLOTHES, images).layers]
    assert names == [
        "pixels", "preprocessing", "flatten",
        "hidden_1", "hidden_1_norm", "hidden_1_relu", "hidden_1_dropout",
        "hidden_2", "hidden_2_norm", "hidden_2_relu", "hidden_2_dropout",
        "output",
    ]  # fmt: skip
    model = build_model(config, "unit_range", CLOTHES, images)
    assert len(model.losses) == 3


@pytest.mark.parametrize(("choice", "behind"), [("mlp", ["flatten"]), ("cnn", ["convolution_1"])])
def test_images_are_moved_before_anything_else_is_done_to_them(
    choice: str, behind: list[str], images: UInt8Array
) -> None:
    model = build_model(compose_config([f"model={choice}", "model.shift=2"]).model, "unit_range", CLOTHES, images)
    names = [layer.name for layer in model.layers]
    assert names[:5] == ["pixels", "channel", "shift", "preprocessing", *behind]


def moved(most: int, images: UInt8Array, training: bool) -> UInt8Array:
    import keras

    model = build_model(compose_config([f"model.shift={most}"]).model, "standardize", CLOTHES, images)
    outputs = keras.Model(model.input, model.get_layer("shift").output)(images, training=training)
    return np.asarray(outputs)[..., 0]


def test_in_training_images_move_by_whole_pixels_each_move_equally_often() -> None:
    import keras

    keras.utils.set_random_seed(1)
    dots = np.zeros((5_000, 28, 28), np.uint8)
    dots[:, 14, 10] = 200
    found = moved(2, dots, training=True)
    rows, columns = (np.argwhere(found == 200)[:, axis] for axis in (1, 2))
    assert len(rows) == 5_000, "one dot in each image, as bright as it was"
    assert (found > 0).sum() == 5_000
    counts = np.zeros((5, 5))
    np.add.at(counts, (rows - 12, columns - 8), 1)
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)


def test_what_moves_in_is_black_and_in_inference_nothing_moves(images: UInt8Array) -> None:
    import keras

    keras.utils.set_random_seed(1)
    white = np.full((64, 28, 28), 255, np.uint8)
    assert set(np.unique(moved(8, white, training=True))) == {0, 255}
    np.testing.assert_array_equal(moved(8, images, training=False), images)


def test_standardizing_uses_scalars_of_the_training_split(images: UInt8Array) -> None:
    import keras

    model = build_model(compose_config([]).model, "standardize", CLOTHES, images)
    scaled = keras.Model(model.inputs, model.get_layer("preprocessing").output).predict(images, verbose=0)
    expected = (images.astype(np.float64) - images.mean()) / (images.std() + 1e-10)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


@pytest.mark.parametrize("override", ["model.shift=0", "model.shift=3"])
def test_a_saved_model_loads_without_our_code_and_takes_raw_pixels(
    override: str, images: UInt8Array, tmp_path: Path
) -> None:
    import keras

    model = probability_model(build_model(compose_config([override]).model, "standardize", CLOTHES, images), "logits")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
