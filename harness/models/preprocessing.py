"""The first layer of every model: raw pixels in, numbers of a pleasant size out.

It is part of the model, so that arrays stay uint8, a saved model takes raw pixels, and training and serving cannot
disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.records import LEVELS, WHITE, FloatArray, ImageArray

_BLOCK = 1_000
"""Images whose squares are held at once: 1.5 MB, which stay in the processor's cache."""


def _unit_range(images: ImageArray) -> Any:
    """The share of white, 0 to 1."""
    import keras

    return keras.layers.Rescaling(1 / WHITE, name="preprocessing")


def _standardize(images: ImageArray) -> Any:
    """(pixel - mean) / standard deviation, both scalars over every pixel of `images` (population deviation)."""
    import keras

    mean, variance = pixel_moments(images)
    return keras.layers.Normalization(axis=None, mean=mean, variance=variance, name="preprocessing")


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
