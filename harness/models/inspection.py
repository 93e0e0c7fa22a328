"""Describes the layers of a model, and computes their outputs for an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import RequestError, suggestion
from harness.records import FloatArray, ImageArray, IntArray

BoolArray = npt.NDArray[np.bool_]

ALL = "all"
"""What `select_layers` takes for every layer."""

RELU = "relu"

LARGEST_CHUNK = 1_000
"""Images in one forward pass over the test images; fewer where layers are large."""

_CHUNK_VALUES = 2**24
"""Values that one layer puts out in one pass: 64 MB, of which TensorFlow holds a few at a time."""


@dataclass(frozen=True)
class Layer:
    """A layer as a model's summary has it. `shape` is that of the output for one image; `activation` the name of
    Keras's function, None where the layer has none; `trainable` counts those of its `parameters` that are trained."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int
    activation: str | None = None

    @property
    def is_relu(self) -> bool:
        return self.activation == RELU

    @property
    def units(self) -> int:
        """What can be on or off: the values of a flat output, the channels of feature maps."""
        return self.shape[-1]


@dataclass(frozen=True)
class LayerOutput:
    """What a layer puts out for one image: `values` have the layer's shape.

    `active` says of each unit of a ReLU for how many of `images` images it put out anything but 0; None of others. A
    channel of feature maps is one unit, and is off where it is 0 at every position.
    """

    layer: Layer
    values: FloatArray
    active: IntArray | None
    images: int

    @cached_property
    def off(self) -> BoolArray | None:
        """Which units of a ReLU are 0 for the image at hand, (units,)."""
        if self.active is None:
            return None
        return np.asarray((self.values == 0.0).reshape(-1, self.layer.units).all(axis=0))

    @property
    def zeros(self) -> float:
        """The share of `values` that are 0, in 0..1."""
        return float(np.mean(self.values == 0.0))

    @cached_property
    def dead(self) -> BoolArray | None:
        """Which units of a ReLU are 0 for every one of the `images`, (units,)."""
        return None if self.active is None else np.asarray(self.active == 0)


@dataclass(frozen=True)
class Kernel:
    """The weights of a dense layer (inputs, units) or of a convolution (height, width, inputs, channels)."""

    layer: str
    values: FloatArray


def describe_layers(model: Any) -> tuple[Layer, ...]:
    """The layers of a model with one input, in the order of its summary."""
    return tuple(_described(layer) for layer in model.layers)


def _described(layer: Any) -> Layer:
    import keras

    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    if isinstance(layer, keras.layers.Softmax):
        activation = "softmax"
    return Layer(
        name=layer.name,
        kind=type(layer).__name__,
        shape=tuple(layer.output.shape[1:]),
        parameters=layer.count_params(),
        trainable=sum(int(np.prod(weights.shape)) for weights in layer.trainable_weights),
        activation=None if activation == "linear" else activation,
    )


def select_layers(layers: Sequence[Layer], name: str) -> tuple[Layer, ...]:
    """The layer `name`, or every layer for `all`. Raises `RequestError` where there is no such layer."""
    if name == ALL:
        return tuple(layers)
    chosen = tuple(layer for layer in layers if layer.name == name)
    if not chosen:
        names = [layer.name for layer in layers]
        raise RequestError(
            f"The model has no layer '{name}'. Its layers are {', '.join(names)}; `{ALL}` means every one."
            f"{suggestion(name, names)}"
        )
    return chosen


def observe_layers(
    model: Any, layers: Sequence[Layer], image: ImageArray, test_images: ImageArray
) -> tuple[LayerOutput, ...]:
    """What `layers` of `model` put out for one `image` in inference mode, and for how many of `test_images`
    (n, ...) each unit of a ReLU is on."""
    values = layer_outputs(model, layers, image)
    active = count_active(model, [layer for layer in layers if layer.is_relu], test_images)
    return tuple(LayerOutput(layer, values[layer.name], active.get(layer.name), len(test_images)) for layer in layers)


def layer_outputs(model: Any, layers: Sequence[Layer], image: ImageArray) -> dict[str, FloatArray]:
    """By layer, what it puts out for one `image` uint8, without the axis of images."""
    import keras

    outputs = _up_to(model, layers)(image[None], training=False)
    return {name: keras.ops.convert_to_numpy(output)[0].astype(np.float64) for name, output in outputs.items()}


def count_active(model: Any, layers: Sequence[Layer], images: ImageArray) -> dict[str, IntArray]:
    """By layer, for how many of `images` (n, ...) uint8 each unit is not 0 (a channel: 0 anywhere), (units,)."""
    import tensorflow as tf

    if not layers:
        return {}
    inner = _up_to(model, layers)

    @tf.function(input_signature=[tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)])  # type: ignore[untyped-decorator]
    def counted(chunk: Any) -> dict[str, Any]:
        return {name: _times_active(output) for name, output in inner(chunk, training=False).items()}

    size = chunk_size(model)
    totals = {layer.name: np.zeros(layer.units, dtype=np.int64) for layer in layers}
    for start in range(0, len(images), size):
        for name, counts in counted(images[start : start + size]).items():
            totals[name] += counts.numpy()
    return totals


def _times_active(output: Any) -> Any:
    """Of a tensor (n, ..., units): for how many of the n each unit is not 0 everywhere, (units,)."""
    import tensorflow as tf

    places = list(range(1, len(output.shape) - 1))
    return tf.math.count_nonzero(tf.reduce_any(output != 0, axis=places), axis=0)


def chunk_size(model: Any) -> int:
    """Images in one pass, so that the model's largest layer fits into the memory meant for it."""
    largest = max(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    return max(1, min(LARGEST_CHUNK, _CHUNK_VALUES // largest))


def _up_to(model: Any, layers: Sequence[Layer]) -> Any:
    """A model that shares the layers of `model` and puts out, by name, what each of `layers` does."""
    import keras

    return keras.Model(model.inputs[0], {layer.name: model.get_layer(layer.name).output for layer in layers})


def read_kernels(model: Any) -> tuple[Kernel, ...]:
    """The kernels of a model's dense layers and convolutions, first to last; the first one sees the pixels."""
    import keras

    return tuple(
        Kernel(layer.name, keras.ops.convert_to_numpy(layer.kernel).astype(np.float64))
        for layer in model.layers
        if hasattr(layer, "kernel")
    )
