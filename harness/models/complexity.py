"""Numbers of a trained model that are said to foretell its gap: norms, margins and sharpness.

They are computed once, from the final weights (`measures=[...]`), and logged as `measure/NAME`; larger means that a
larger gap is expected, but for `margin`. d is the number of layers with a kernel, W_i the kernel of layer i as a matrix
(inputs, units); that of a convolution is (height * width * channels, filters). A batch normalization behind a kernel is
taken as part of it, with its moving averages. Biases count in `path_norm` and `sharpness` only.

Sources:
    Jiang et al. 2020, "Fantastic generalization measures and where to find them", ICLR, appendix C (the norms).
    Neyshabur, Tomioka and Srebro 2015, "Norm-based capacity control in neural networks", COLT (path norm).
    Bartlett, Foster and Telgarsky 2017, "Spectrally-normalized margin bounds for neural networks", NIPS (margin).
    Keskar et al. 2017, "On large-batch training for deep learning", ICLR, equations 3 and 4 (sharpness).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.models.prediction import log_probabilities
from harness.records import FloatArray, ImageArray, Split

EPSILON = 1e-3
"""Half the width of the box of `sharpness`, in units of |w| + 1."""
ITERATIONS = 10
SHARPNESS_IMAGES = 2_000
"""`sharpness` is measured on the first training images, at most so many."""
MARGIN_QUANTILE = 0.10
_CHUNK = 500

Kernels = Sequence[tuple[FloatArray, FloatArray]]
"""The kernel, in its own shape, and the bias of each layer."""


def measure_model(model: Any, head: str, train: Split, names: Sequence[str]) -> dict[str, float]:
    """`measure/NAME` of each name in `MEASURES`; the model keeps its weights. `head` as in `Config.model`."""
    return {f"measure/{name}": MEASURES[name](model, head, train) for name in names}


def parameter_norm(kernels: Kernels) -> float:
    """The sum of the squared Frobenius norms, sum ||W_i||_F^2 (Jiang et al., `param-norm`, without biases)."""
    return float(sum(np.sum(kernel**2) for kernel, _ in kernels))


def frobenius_norm(kernels: Kernels) -> float:
    """d (prod ||W_i||_F^2)^(1/d) (Jiang et al., `prod-of-fro`)."""
    return _mean_product([float(np.linalg.norm(kernel)) for kernel, _ in kernels])


def spectral_norm(kernels: Kernels) -> float:
    """d (prod ||W_i||_2^2)^(1/d), with the largest singular values (Jiang et al., `prod-of-spec`, who take that of the
    convolution itself rather than of its kernel)."""
    return _mean_product(_spectral(kernels))


def _spectral(kernels: Kernels) -> list[float]:
    return [float(np.linalg.norm(_matrix(kernel), 2)) for kernel, _ in kernels]


def _mean_product(norms: Sequence[float]) -> float:
    if min(norms) == 0:
        return 0.0
    return len(norms) * math.exp(2 * math.fsum(map(math.log, norms)) / len(norms))


def _matrix(kernel: FloatArray) -> FloatArray:
    return kernel.reshape(-1, kernel.shape[-1])


def path_norm(model: Any) -> float:
    """The sum of the outputs for an input of ones, when every weight and bias is squared and activations pass all
    (Jiang et al., `path-norm`; for ReLU: the sum over all paths of the product of their squared weights)."""
    import keras

    layers = model.layers
    start = next(place for place, layer in enumerate(layers) if layer.name == "preprocessing") + 1
    values = keras.ops.ones((1, *layers[start - 1].output.shape[1:]))
    for layer, kernel, bias in _fused(layers[start:]):
        if kernel is None:
            values = layer(values) if _reshapes(layer) else values
        elif kernel.ndim == 2:
            values = keras.ops.matmul(values, kernel.astype("float32") ** 2) + bias.astype("float32") ** 2
        else:
            squared = kernel.astype("float32") ** 2
            values = keras.ops.conv(values, squared, strides=layer.strides, padding=layer.padding)
            values = values + bias.astype("float32") ** 2
    return float(keras.ops.sum(values))


def _reshapes(layer: Any) -> bool:
    import keras

    passed = (keras.layers.Activation, keras.layers.Dropout, keras.layers.BatchNormalization)
    return not isinstance(layer, passed)


def read_fused(model: Any) -> Kernels:
    """Kernel and bias of each layer, with the batch normalization behind it."""
    return [(kernel, bias) for _, kernel, bias in _fused(model.layers) if kernel is not None]


def _fused(layers: Sequence[Any]) -> Iterator[tuple[Any, FloatArray | None, FloatArray]]:
    """Each layer with its kernel (None if it has none) and bias."""
    import keras

    for place, layer in enumerate(layers):
        found = getattr(layer, "kernel", None)
        if found is None:
            yield layer, None, np.zeros(1)
            continue
        kernel = np.asarray(keras.ops.convert_to_numpy(found), dtype=np.float64)
        given = getattr(layer, "bias", None)
        bias = np.zeros(kernel.shape[-1]) if given is None else np.asarray(given, dtype=np.float64)
        behind = layers[place + 1] if place + 1 < len(layers) else None
        if isinstance(behind, keras.layers.BatchNormalization):
            mean, variance = (np.asarray(of, dtype=np.float64) for of in (behind.moving_mean, behind.moving_variance))
            scale = np.asarray(behind.gamma, dtype=np.float64) / np.sqrt(variance + behind.epsilon)
            kernel, bias = kernel * scale, (bias - mean) * scale + np.asarray(behind.beta, dtype=np.float64)
        yield layer, kernel, bias


def margin(model: Any, train: Split) -> float:
    """The 10 % quantile, over the training images, of the output of the true class minus the largest other one, divided
    by prod ||W_i||_2 (Bartlett et al. 2017). Less than zero where more than a tenth of the labels are not fitted."""
    scores = np.array(log_probabilities(model)(train.images), dtype=np.float64)
    places = (np.arange(len(train)), train.labels.astype(np.int64))
    own = scores[places].copy()
    scores[places] = -np.inf
    scale = math.exp(math.fsum(math.log(norm) for norm in _spectral(read_fused(model)) if norm > 0))
    return float(np.quantile(own - scores.max(axis=1), MARGIN_QUANTILE)) / scale


def sharpness(model: Any, head: str, train: Split) -> float:
    """100 (max f(w + z) - f(w)) / (1 + f(w)) over the box |z_i| <= `EPSILON` (|w_i| + 1), f being the cross-entropy of
    the training images (Keskar et al. 2017, in the full space; as there, by ten iterations of L-BFGS-B)."""
    from scipy.optimize import minimize

    weights, loss = _loss_of(model, head, train.images[:SHARPNESS_IMAGES], train.labels[:SHARPNESS_IMAGES])
    before = loss(weights)[0]
    reach = EPSILON * (np.abs(weights) + 1)
    try:
        found = minimize(
            lambda point: tuple(-part for part in loss(point)), weights, jac=True, method="L-BFGS-B",
            bounds=np.stack([weights - reach, weights + reach], axis=1), options={"maxiter": ITERATIONS},
        )  # fmt: skip
    finally:
        loss(weights)
    return 100 * (max(-float(found.fun), before) - before) / (1 + before)


def _loss_of(
    model: Any, head: str, images: ImageArray, labels: Any
) -> tuple[FloatArray, Callable[[FloatArray], tuple[float, FloatArray]]]:
    """The weights as one vector, and a function that sets them and returns the mean loss and its gradient."""
    import keras
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]
    shapes = [variable.shape for variable in variables]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    sparse = keras.losses.sparse_categorical_crossentropy

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def summed(some: Any, their: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            answers = tf.cast(model(some, training=False), tf.float32)
            total = tf.reduce_sum(sparse(their, answers, from_logits=head == "logits"))
        return total, tape.gradient(total, variables)

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        for variable, shape, part in zip(variables, shapes, np.split(point, ends[:-1]), strict=True):
            variable.assign(part.reshape(shape))
        total, gradient = 0.0, np.zeros(len(point))
        for start in range(0, len(images), _CHUNK):
            some, parts = summed(images[start : start + _CHUNK], labels[start : start + _CHUNK].astype(np.int64))
            total += float(some)
            gradient += np.concatenate([np.ravel(part) for part in parts])
        return total / len(images), gradient / len(images)

    return np.concatenate([np.ravel(variable) for variable in variables]).astype(np.float64), loss


MEASURES: Mapping[str, Callable[[Any, str, Split], float]] = {
    "parameter_norm": lambda model, head, train: parameter_norm(read_fused(model)),
    "frobenius_norm": lambda model, head, train: frobenius_norm(read_fused(model)),
    "spectral_norm": lambda model, head, train: spectral_norm(read_fused(model)),
    "path_norm": lambda model, head, train: path_norm(model),
    "margin": lambda model, head, train: margin(model, train),
    "sharpness": sharpness,
}
"""By the name in `Config.measures`."""
