"""Every layer's output is what the model computes on the way, and units are dead that are never on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.composing import compose_config
from harness.errors import RequestError
from harness.models import build_model, inspection, probability_model
from harness.models.inspection import (
    Layer,
    count_active,
    describe_layers,
    layer_outputs,
    observe_layers,
    read_kernels,
    select_layers,
)
from harness.records import UInt8Array
from tests.variants import CLOTHES

LAYERS = (
    Layer("flatten", "Flatten", (784,), 0, 0),
    Layer("hidden_1", "Dense", (128,), 100_480, 100_480),
    Layer("hidden_1_relu", "Activation", (128,), 0, 0, "relu"),
)


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def build(images: UInt8Array, *overrides: str, mixed_precision: str = "none") -> Any:
    import keras

    keras.utils.set_random_seed(1)
    config = compose_config([*overrides]).model
    return probability_model(build_model(config, "unit_range", CLOTHES, images, mixed_precision), config.head)


def by_hand(hidden: list[int]) -> Any:
    """A model of one hidden ReLU layer on the 784 pixels, all weights 0."""
    import keras

    pixels = keras.Input((28, 28), dtype="uint8", name="pixels")
    features = keras.layers.Flatten(name="flatten")(keras.layers.Rescaling(1 / 255, name="preprocessing")(pixels))
    for number, units in enumerate(hidden, start=1):
        features = keras.layers.Dense(units, activation="relu", name=f"hidden_{number}")(features)
    model = keras.Model(pixels, keras.layers.Dense(10, activation="softmax", name="output")(features))
    for layer in model.layers:
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])
    return model


def test_one_layer_is_selected_by_its_name_and_all_by_all() -> None:
    assert select_layers(LAYERS, "hidden_1") == LAYERS[1:2]
    assert select_layers(LAYERS, "all") == LAYERS


def test_an_unknown_layer_is_refused_with_the_names_and_a_suggestion() -> None:
    with pytest.raises(RequestError, match=r"flatten, hidden_1, hidden_1_relu; .*Did you mean 'hidden_1'\?"):
        select_layers(LAYERS, "hiden_1")


@pytest.mark.slow  # here and below: TensorFlow takes seconds to import
@pytest.mark.parametrize("model", ["mlp_128_128", "cnn"])
def test_the_summary_is_that_of_keras(images: UInt8Array, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    built = build(images, f"model={model}", "model.batch_norm=true")
    layers = describe_layers(built)
    printed: list[str] = []
    built.summary(print_fn=lambda text, **_: printed.append(text), line_length=200)
    lines = [line for line in "".join(printed).splitlines() if line.startswith("│")]
    told = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert told == [
        [f"{layer.name} ({layer.kind})", str((None, *layer.shape)), f"{layer.parameters:,}"] for layer in layers
    ]
    assert sum(layer.parameters for layer in layers) == built.count_params()
    trainable = sum(int(np.prod(weights.shape)) for weights in built.trainable_weights)
    assert sum(layer.trainable for layer in layers) == trainable < built.count_params()


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["model=mlp_128_128"], ["model=cnn", "model.batch_norm=true"]])
def test_each_output_is_what_keras_makes_of_the_one_before(images: UInt8Array, overrides: list[str]) -> None:
    model = build(images, *overrides, "model.dropout=0.5")
    layers = describe_layers(model)
    values = images[:1]
    found = layer_outputs(model, layers, images[0])
    assert list(found) == [layer.name for layer in model.layers]
    for layer in model.layers[1:]:
        values = layer(values, training=False)
        assert found[layer.name].shape == values.shape[1:]
        np.testing.assert_allclose(found[layer.name], values[0], atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], model.predict(images[:1], verbose=0)[0], atol=1e-6)


@pytest.mark.slow
def test_a_single_layer_gives_what_it_gives_among_all(images: UInt8Array) -> None:
    model = build(images, "model=cnn")
    layers = describe_layers(model)
    every = observe_layers(model, layers, images[3], images)
    for layer, expected in zip(layers, every, strict=True):
        (alone,) = observe_layers(model, [layer], images[3], images)
        np.testing.assert_allclose(alone.values, expected.values, atol=1e-6)
        if layer.is_relu:
            assert alone.active is not None
            np.testing.assert_array_equal(alone.active, expected.active)
        else:
            assert alone.active is alone.off is alone.dead is None


@pytest.mark.slow
def test_a_feature_map_is_the_convolution_computed_by_hand(images: UInt8Array) -> None:
    model = build(images, "model=cnn")
    kernel, bias = (np.asarray(weights) for weights in model.get_layer("convolution_1").get_weights())
    padded = np.pad(images[0] / 255, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    expected = np.einsum("yxij,ijc->yxc", windows, kernel[:, :, 0]) + bias
    found = layer_outputs(model, describe_layers(model), images[0])
    np.testing.assert_allclose(found["convolution_1"], expected, atol=1e-5)
    np.testing.assert_allclose(found["convolution_1_relu"], np.maximum(expected, 0), atol=1e-5)
    pooled = np.maximum(expected, 0).reshape(14, 2, 14, 2, 32).max(axis=(1, 3))
    np.testing.assert_allclose(found["pooling_1"], pooled, atol=1e-5)


@pytest.mark.slow
def test_units_are_off_for_the_image_and_dead_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit 0 copies pixel (0, 0), unit 1 pixel (0, 1), unit 2 has a negative bias, unit 3 is always on."""
    model = by_hand([4])
    kernel = np.zeros((784, 4), dtype=np.float32)
    kernel[0, 0] = kernel[1, 1] = 1.0
    model.get_layer("hidden_1").set_weights([kernel, np.array([0.0, 0.0, -1.0, 0.5], dtype=np.float32)])
    images = np.zeros((7, 28, 28), dtype=np.uint8)
    images[4, 0, 0] = images[6, 0, 0] = 255
    monkeypatch.setattr(inspection, "LARGEST_CHUNK", 3)  # the last one is smaller
    (layer,) = select_layers(describe_layers(model), "hidden_1")
    (output,) = observe_layers(model, [layer], images[6], images)
    assert output.values.tolist() == [1.0, 0.0, 0.0, 0.5]
    assert output.active is not None
    assert output.off is not None
    assert output.dead is not None
    assert (output.active.tolist(), output.images) == ([2, 0, 0, 7], 7)
    assert output.off.tolist() == output.dead.tolist() == [False, True, True, False]
    (other,) = observe_layers(model, [layer], images[0], images)
    assert other.off is not None
    assert other.off.tolist() == [True, True, True, False]
    assert (other.zeros, output.zeros) == (0.75, 0.5)


@pytest.mark.slow
def test_a_channel_is_dead_where_it_is_0_at_every_position_of_every_image(images: UInt8Array) -> None:
    model = build(images, "model=cnn", "model.filters=[3]")
    convolution = model.get_layer("convolution_1")
    kernel = np.zeros((3, 3, 1, 3), dtype=np.float32)
    kernel[1, 1, 0] = (1.0, 1.0, -1.0)  # the pixel, the pixel if it is white, never
    convolution.set_weights([kernel, np.array([0.0, -0.999, 0.0], dtype=np.float32)])
    one_white = np.minimum(images, 254)
    one_white[5, 13, 20] = 255
    (layer,) = select_layers(describe_layers(model), "convolution_1_relu")
    assert count_active(model, [layer], one_white)[layer.name].tolist() == [40, 1, 0]
    (output,) = observe_layers(model, [layer], one_white[0], one_white)
    assert output.off is not None
    assert output.dead is not None
    assert output.off.tolist() == [False, True, True]
    assert output.dead.tolist() == [False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["leaky_relu", "tanh", "linear", "silu"])
def test_only_a_relu_has_dead_units(images: UInt8Array, activation: str) -> None:
    model = build(images, f"model.activation={activation}")
    outputs = observe_layers(model, describe_layers(model), images[0], images)
    assert all(output.dead is None for output in outputs)


@pytest.mark.slow
def test_half_precision_is_observed_too(images: UInt8Array) -> None:
    model = build(images, "model=mlp_128", mixed_precision="bfloat16")
    outputs = {output.layer.name: output for output in observe_layers(model, describe_layers(model), images[0], images)}
    assert outputs["hidden_1_relu"].values.dtype == np.float64
    assert outputs["hidden_1_relu"].dead is not None
    assert read_kernels(model)[0].values.shape == (784, 128)


@pytest.mark.slow
def test_large_layers_are_taken_in_small_chunks(images: UInt8Array) -> None:
    wide, narrow = build(images, "model=cnn", "model.filters=[256]"), build(images, "model=mlp_128")
    assert inspection.chunk_size(narrow) == inspection.LARGEST_CHUNK
    assert inspection.chunk_size(wide) * 28 * 28 * 256 <= 2**24


@pytest.mark.slow
def test_kernels_come_in_order_with_their_own_values(images: UInt8Array) -> None:
    model = build(images, "model=cnn", "model.filters=[4]", "model.hidden=[5]")
    kernels = read_kernels(model)
    assert [(kernel.layer, kernel.values.shape) for kernel in kernels] == [
        ("convolution_1", (3, 3, 1, 4)), ("hidden_1", (784, 5)), ("output", (5, 10))
    ]  # fmt: skip
    np.testing.assert_allclose(kernels[1].values, model.get_layer("hidden_1").get_weights()[0])
