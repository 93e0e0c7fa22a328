"""Norms, margins and sharpness of a model, beside independent computations in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import correlate2d

from harness.composing import compose_config
from harness.config.schema import MEASURES as NAMES
from harness.errors import ConfigError
from harness.models import build_model, measure_model
from harness.models.complexity import EPSILON, MEASURES
from harness.records import FloatArray, Split
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
TRAIN = Split(IMAGES, np.random.default_rng(1).integers(0, 10, 60).astype(np.uint8))
SCALED = IMAGES.reshape(60, -1) / 255


def model_of(*overrides: str) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    config = compose_config(list(overrides))
    model = build_model(config.model, config.dataset.preprocessing, CLOTHES, IMAGES)
    rng = np.random.default_rng(2)
    for variable in model.variables:  # biases and moving averages too, which begin at zero and one
        if "normalization" not in variable.path and "preprocessing" not in variable.path:
            spread = rng.normal(0, 0.05, variable.shape)
            variable.assign(np.abs(variable.numpy() + spread) if "variance" in variable.path else variable + spread)
    return model


def dense(model: Any) -> list[tuple[FloatArray, FloatArray]]:
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return [(layer.kernel.numpy().astype(float), layer.bias.numpy().astype(float)) for layer in layers]


def measured(model: Any, name: str, head: str = "logits") -> float:
    return measure_model(model, head, TRAIN, [name])[f"measure/{name}"]


def test_the_setting_knows_the_measures_that_there_are() -> None:
    assert tuple(MEASURES) == NAMES
    assert compose_config([]).measures == []


def test_norms_are_those_of_the_kernels() -> None:
    model = model_of("model=mlp", "model.hidden=[12,7]")
    kernels = [kernel for kernel, _ in dense(model)]
    squares = [np.trace(kernel.T @ kernel) for kernel in kernels]
    largest = [np.linalg.eigvalsh(kernel.T @ kernel).max() for kernel in kernels]
    assert measured(model, "parameter_norm") == pytest.approx(sum(squares))
    assert measured(model, "frobenius_norm") == pytest.approx(3 * np.prod(squares) ** (1 / 3))
    assert measured(model, "spectral_norm") == pytest.approx(3 * np.prod(largest) ** (1 / 3))


def test_the_path_norm_sums_the_squared_weights_of_all_paths() -> None:
    model = model_of("model=mlp", "model.hidden=[5,4]", "model.dropout=0.5")
    (a, b), (c, d), (e, f) = dense(model)
    paths = sum(
        (a[:, j] ** 2).sum() * c[j, k] ** 2 * e[k, m] ** 2
        for j in range(a.shape[1]) for k in range(c.shape[1]) for m in range(e.shape[1])
    )  # fmt: skip
    from_biases = (b**2 @ c**2 + d**2) @ e**2 + f**2
    assert measured(model, "path_norm") == pytest.approx(paths + from_biases.sum(), rel=1e-5)


def test_the_path_norm_of_a_convolution() -> None:
    model = model_of("model=cnn", "model.filters=[2]", "model.hidden=[]")
    (kernel, bias), (last, offset) = dense(model)
    maps = [
        correlate2d(np.ones((28, 28)), kernel[:, :, 0, number] ** 2, mode="same") + bias[number] ** 2
        for number in range(2)
    ]
    pooled = np.stack([of.reshape(14, 2, 14, 2).max(axis=(1, 3)) for of in maps], axis=-1)
    assert measured(model, "path_norm") == pytest.approx((pooled.ravel() @ last**2 + offset**2).sum(), rel=1e-5)


def test_a_batch_normalization_is_part_of_the_kernel_before_it() -> None:
    model = model_of("model=mlp", "model.hidden=[6]", "model.batch_norm=true")
    normal = next(layer for layer in model.layers if layer.name == "hidden_1_norm")
    gamma, beta, mean, variance = (value.numpy().astype(float) for value in normal.weights)
    (kernel, bias), (last, offset) = dense(model)
    scale = gamma / np.sqrt(variance + normal.epsilon)
    fused, shifted = kernel * scale, (bias - mean) * scale + beta
    assert measured(model, "parameter_norm") == pytest.approx((fused**2).sum() + (last**2).sum())
    expected = (((fused**2).sum(axis=0) + shifted**2) @ last**2 + offset**2).sum()
    assert measured(model, "path_norm") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_margins_are_normalised_by_the_spectral_norms(head: str) -> None:
    model = model_of("model=mlp", "model.hidden=[8]", f"model.head={head}")
    (kernel, bias), (last, offset) = dense(model)
    logits = np.maximum(SCALED @ kernel + bias, 0) @ last + offset
    margins = [
        row[label] - max(np.delete(row, label)) for row, label in zip(logits, TRAIN.labels.tolist(), strict=True)
    ]
    scale = np.linalg.svd(kernel)[1][0] * np.linalg.svd(last)[1][0]
    assert measured(model, "margin", head) == pytest.approx(np.quantile(margins, 0.1) / scale, rel=1e-3)


def test_sharpness_is_the_rise_of_the_loss_in_keskars_box() -> None:
    model = model_of("model=mlp", "model.hidden=[]")
    before = [value.copy() for value in model.get_weights()]
    ((kernel, bias),) = dense(model)
    truth = np.eye(10)[TRAIN.labels]

    def loss(weights: FloatArray, offset: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        logits = SCALED @ weights + offset
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wrong = (np.exp(logs) - truth) / 60
        return -(logs * truth).sum() / 60, SCALED.T @ wrong, wrong.sum(axis=0)

    at, offset = kernel, bias
    for _ in range(50):  # the loss is convex, so the greatest value is at a corner: go from corner to corner
        _, slope, offset_slope = loss(at, offset)
        at = kernel + EPSILON * (np.abs(kernel) + 1) * np.sign(slope)
        offset = bias + EPSILON * (np.abs(bias) + 1) * np.sign(offset_slope)
    start = loss(kernel, bias)[0]
    expected = 100 * (loss(at, offset)[0] - start) / (1 + start)
    assert measured(model, "sharpness") == pytest.approx(expected, rel=0.01)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_of_ones_own_has_no_path_norm(project: Path) -> None:
    (project / "own_model.py").write_text("def build(input_shape, classes):\n    return None\n")
    with pytest.raises(ConfigError, match="measures=path_norm"):
        compose_config([f"model.builder={project}/own_model.py:build", "measures=[path_norm]"])
