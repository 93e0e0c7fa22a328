"""The first layer of every model: raw pixels in, numbers of a pleasant size out.

It is part of the model, so that arrays stay uint8, a saved model takes raw pixels, and training and serving cannot
disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records import UInt8Array


def _unit_range(images: UInt8Array) -> Any:
    """Pixel / 255."""
    import keras

    return keras.layers.Rescaling(1 / 255, name="preprocessing")


def _standardize(images: UInt8Array) -> Any:
    """(pixel - mean) / standard deviation, both scalars over every pixel of `images` (population deviation)."""
    import keras

    return keras.layers.Normalization(
        axis=None, mean=float(images.mean()), variance=float(images.var()), name="preprocessing"
    )


PREPROCESSING: Mapping[str, Callable[[UInt8Array], Any]] = {
    "unit_range": _unit_range,
    "standardize": _standardize,
}


def preprocessing_layer(name: str, training_images: UInt8Array) -> Any:
    """The layer `name`, adapted on the training split (never on held-out images)."""
    return PREPROCESSING[name](training_images)
