"""What a trained model says about images, and the model in the form that is saved for prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.records import FloatArray, UInt8Array

CHUNK = 2_000
"""Images in one forward pass: large enough to be fast, small enough for a convolution's memory."""


def probability_model(model: Any, head: str) -> Any:
    """`model` with a softmax behind a logits head: raw images in, probabilities out. Shares its layers."""
    import keras

    if head == "softmax":
        return model
    return keras.Model(model.inputs, keras.layers.Softmax(name="probabilities")(model.output), name=model.name)


def log_probabilities(model: Any) -> Callable[[UInt8Array], FloatArray]:
    """A function from images (n, 28, 28) uint8 to natural-log probabilities (n, 10) float64, in inference mode.

    Taken from the logits whatever the head, as Keras's own losses do, so that a confident mistake keeps its full loss.
    """
    import keras
    import tensorflow as tf

    output = model.get_layer("output")
    features = keras.Model(model.inputs, output.input)

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8)])  # type: ignore[untyped-decorator]
    def logits(images: Any) -> Any:
        return tf.matmul(features(images, training=False), output.kernel) + output.bias

    def predict(images: UInt8Array) -> FloatArray:
        chunks = [logits(images[start : start + CHUNK]).numpy() for start in range(0, len(images), CHUNK)]
        return _log_softmax(np.concatenate(chunks).astype(np.float64))

    return predict


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
