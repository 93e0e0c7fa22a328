"""The first layer of every model: raw pixels in, numbers of a pleasant size out.

It is part of the model, so that arrays stay uint8, a saved model takes raw pixels, and training and serving cannot
disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.records import LEVELS, WHITE, FloatArray, ImageArray, is_grey

_BLOCK = 1_000
"""Images whose squares are held at once: 1.5 MB, which stay in the processor's cache."""


def _unit_range(images: Any) -> Any:
    """From 0 to 1: bytes as the share of white; other numbers by the least and the greatest one of `images`, for each
    feature of vectors. A feature that is the same everywhere becomes 0."""
    import keras

    if images.dtype == np.uint8 and images.ndim > 2:
        return keras.layers.Rescaling(1 / WHITE, name="preprocessing")
    axis = 0 if images.ndim == 2 else None
    least, greatest = images.min(axis=axis).astype(np.float64), images.max(axis=axis).astype(np.float64)
    scale = 1 / np.where(greatest > least, greatest - least, 1.0)
    return keras.layers.Rescaling(scale.tolist(), (-least * scale).tolist(), name="preprocessing")


def _standardize(images: Any) -> Any:
    """(value - mean) / standard deviation over `images` (population deviation): one mean and deviation for grey images,
    one for each channel of others, and one for each feature of vectors."""
    import keras

    if is_grey(images):
        grey_mean, grey_variance = pixel_moments(images)
        return keras.layers.Normalization(axis=None, mean=grey_mean, variance=grey_variance, name="preprocessing")
    axes = None if images.ndim == 3 else tuple(range(images.ndim - 1))
    mean = images.mean(axis=axes, dtype=np.float64)
    squares = [
        np.square(images[start : start + _BLOCK] - mean).sum(axis=axes) for start in range(0, len(images), _BLOCK)
    ]
    variance = sum(squares) / (images.size / mean.size)
    variance = np.where(variance > 0, variance, 1.0)  # a feature that is the same everywhere becomes 0
    return keras.layers.Normalization(
        axis=None if axes is None else -1, mean=mean.tolist(), variance=variance.tolist(), name="preprocessing"
    )


def pixel_moments(images: ImageArray) -> tuple[float, float]:
    """Mean and population variance over every pixel, from exact sums of whole numbers.

    NumPy's `var` would hold every pixel as float64, and take several times as long.
    """
    total = squares = 0
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        total += int(block.sum(dtype=np.uint64))
        squares += int(np.square(block, dtype=np.uint16).sum(dtype=np.uint64))  # the square of a byte fits into 16 bits
    count = images.size
    return total / count, (count * squares - total**2) / count**2


PREPROCESSING: Mapping[str, Callable[[ImageArray], Any]] = {
    "unit_range": _unit_range,
    "standardize": _standardize,
}


def preprocessing_layer(name: str, training_images: ImageArray) -> Any:
    """The layer `name`, adapted on the training split (never on held-out images)."""
    return PREPROCESSING[name](training_images)


def pixel_scale(model: Any) -> FloatArray:
    """What the preprocessing of `model`, one of `build_model`'s, makes of each grey value: (LEVELS,), from float32."""
    greys = np.arange(LEVELS, dtype=np.uint8).reshape(1, 1, LEVELS)
    return np.asarray(model.get_layer("preprocessing")(greys), dtype=np.float64).reshape(LEVELS)


def float64_scale(name: str, training_images: ImageArray) -> FloatArray:
    """What preprocessing `name` makes of each grey value, (LEVELS,), in float64 and without Keras.

    It is what a notebook has that normalises its arrays itself, including guide B's 1e-10 beside the deviation.
    """
    return _SCALES[name](np.arange(LEVELS, dtype=np.float64), training_images)


def _standardized(greys: FloatArray, training_images: ImageArray) -> FloatArray:
    mean, variance = pixel_moments(training_images)
    return (greys - mean) / (math.sqrt(variance) + 1e-10)


_SCALES: Mapping[str, Callable[[FloatArray, ImageArray], FloatArray]] = {
    "unit_range": lambda greys, _: greys / WHITE,
    "standardize": _standardized,
}
