"""A builder of each architecture: images (n, *image_shape) in, logits or probabilities (n, classes) out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.config.schema import ModelConfig
from harness.errors import ConfigError
from harness.models.custom import check_custom, custom_outputs, own_or_named, register_objects
from harness.models.preprocessing import preprocessing_layer
from harness.records import DatasetSpec, ImageArray


def build_model(
    model: ModelConfig,
    preprocessing: str,
    data: DatasetSpec,
    training_images: ImageArray,
    mixed_precision: str = "none",
) -> Any:
    """A fresh, uncompiled `keras.Model` with weights drawn from Keras's global seed.

    `data` says what goes in and how many classes come out; on `training_images` (n, *image_shape) uint8 the
    preprocessing is adapted. Layers have stable names
    (`shift`, `preprocessing`, `convolution_1`, `hidden_1`, `output`, ...). With `mixed_precision` the hidden layers
    compute in float16 or bfloat16; their weights, what comes before them and the output stay float32. A model of the
    user's own (`model.builder`) is given images with channels. Raises `ConfigError` if it does not fit.
    """
    import keras

    inputs = keras.Input(data.image_shape, dtype=data.dtype, name="pixels")
    register_objects(model)
    scaled = preprocessing_layer(preprocessing, training_images)(
        _augmented(model, _flip(model.flip, _shift(model.shift, inputs)))
    )
    if model.builder is not None:
        with _computing_in(mixed_precision):
            answers = custom_outputs(model, _with_channel(scaled) if len(scaled.shape) > 2 else scaled, data.classes)
        whole = keras.Model(inputs, answers, name=_identifier(model.name))
        check_custom(whole, model, training_images)
        return whole
    with _computing_in(mixed_precision):
        features = ARCHITECTURES[model.architecture](model, scaled)
    outputs = keras.layers.Dense(
        data.classes,
        activation="softmax" if model.head == "softmax" else None,
        **_of_kernels(model),
        name="output",
    )(features)
    return keras.Model(inputs, outputs, name=_identifier(model.name))


@contextmanager
def _computing_in(mixed_precision: str) -> Iterator[None]:
    """Layers made in the block compute in that type."""
    import keras

    before = keras.config.dtype_policy()
    if mixed_precision != "none":
        keras.config.set_dtype_policy(f"mixed_{mixed_precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _shift(most: int, pixels: Any) -> Any:
    """In training each image moved by whole pixels, up to `most` each way, all moves equally likely; 0 comes in behind.

    It is done to raw pixels, where 0 is the background whatever the preprocessing. The layer draws real numbers and
    takes the nearest pixel, so half a pixel is added at both ends: else the largest moves would be half as likely.
    """
    import keras

    if not most:
        return pixels
    shares = [(most + 0.5) / side for side in pixels.shape[1:3]]
    move = keras.layers.RandomTranslation(*shares, fill_mode="constant", interpolation="nearest", name="shift")
    return move(_with_channel(pixels))


def _flip(asked_for: bool, pixels: Any) -> Any:
    """In training each image mirrored left to right, or not, equally likely."""
    import keras

    return keras.layers.RandomFlip("horizontal", name="flip")(_with_channel(pixels)) if asked_for else pixels


def _with_channel(images: Any) -> Any:
    """(n, height, width, channels), as layers for images want them."""
    import keras

    return images if len(images.shape) == 4 else keras.layers.Reshape((*images.shape[1:], 1), name="channel")(images)


def _mlp(model: ModelConfig, images: Any) -> Any:
    import keras

    return _dense_stack(model, keras.layers.Flatten(name="flatten")(images))


def _cnn(model: ModelConfig, images: Any) -> Any:
    import keras

    maps = _with_channel(images)
    for number, filters in enumerate(model.filters, start=1):
        convolution = keras.layers.Conv2D(
            filters, model.kernel_size, padding="same", **_of_kernels(model), name=f"convolution_{number}"
        )
        maps = _activate(model, convolution(maps), f"convolution_{number}")
        maps = keras.layers.MaxPooling2D(model.pool_size, name=f"pooling_{number}")(maps)
    return _dense_stack(model, keras.layers.Flatten(name="flatten")(maps))


ARCHITECTURES: Mapping[str, Callable[[ModelConfig, Any], Any]] = {"mlp": _mlp, "cnn": _cnn}


def _dense_stack(model: ModelConfig, features: Any) -> Any:
    import keras

    for number, units in enumerate(model.hidden_units(), start=1):
        name = f"hidden_{number}"
        dense = keras.layers.Dense(units, **_of_kernels(model), name=name)
        features = _activate(model, dense(features), name)
        if model.dropout:
            features = keras.layers.Dropout(model.dropout, name=f"{name}_dropout")(features)
    return features


def _activate(model: ModelConfig, values: Any, name: str) -> Any:
    import keras

    if model.batch_norm:
        values = keras.layers.BatchNormalization(name=f"{name}_norm")(values)
    return keras.layers.Activation(model.activation, name=f"{name}_{model.activation}")(values)


def _of_kernels(model: ModelConfig) -> dict[str, Any]:
    """What the kernel of each layer begins with, is penalized by and is held within."""
    import keras

    given: dict[str, Any] = {"kernel_regularizer": keras.regularizers.L2(model.l2) if model.l2 else None}
    if model.initializer is not None:
        given["kernel_initializer"] = own_or_named(model.initializer, "initializer", keras.initializers.Initializer)
    if model.constraint is not None:
        given["kernel_constraint"] = own_or_named(model.constraint, "constraint", keras.constraints.Constraint)
    if model.max_norm is not None:
        given["kernel_constraint"] = keras.constraints.MaxNorm(model.max_norm)
    return given


def _augmented(model: ModelConfig, pixels: Any) -> Any:
    """In training, what the user's own layer makes of raw pixels; of the same shape."""
    import keras

    if model.augmentation is None:
        return pixels
    layer = own_or_named(model.augmentation, "augmentation", keras.layers.Layer)
    images = _with_channel(pixels) if len(pixels.shape) > 2 else pixels
    changed = layer(images)
    if changed.shape != images.shape:
        raise ConfigError(
            f"model.augmentation={model.augmentation} makes {changed.shape[1:]} of images of {images.shape[1:]}; they "
            "must keep their shape."
        )
    return changed


def _identifier(name: str) -> str:
    """`name` as Keras wants the name of a model: ASCII letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
