"""Predicts images with a trained model, and builds the form of the model that is saved for prediction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.models.custom import LOGITS, PROBABILITIES
from harness.records import FloatArray, ImageArray, Weights

CHUNK = 2_000
"""Images in one forward pass: large enough to be fast, small enough for a convolution's memory."""

PROGRAMS_KEPT = 8
"""Structures whose programs a process keeps; the one unused for longest goes first."""


@dataclass(frozen=True)
class _Program:
    """A copy of a model, and what was traced for it: images uint8 to logits (n, classes)."""

    model: Any
    logits: Any


_programs: OrderedDict[str, _Program] = OrderedDict()
"""By structure: tracing takes longer than predicting 10,000 images, and models that differ in weights can share it."""


def probability_model(model: Any, head: str) -> Any:
    """`model` with a softmax behind a logits head: raw images in, probabilities out. Shares its layers."""
    import keras

    if head == "softmax":
        return model
    # `model.input`, not `inputs`: a model of a list of one input warns whoever calls it with an array.
    return keras.Model(model.input, keras.layers.Softmax(name="probabilities")(model.output), name=model.name)


def log_probabilities(model: Any, weights: Weights | None = None) -> Callable[[ImageArray], FloatArray]:
    """A function from images uint8 to natural-log probabilities (n, classes) float64, in inference mode.

    It answers with `weights`, or else with those that `model` has at each call. The logits are taken whatever the head,
    as Keras's own losses do, so that a confident mistake keeps its full loss.
    """

    def predict(images: ImageArray) -> FloatArray:
        program = _program(model)
        for ours, theirs in zip(weights or model.weights, program.model.weights, strict=True):
            theirs.assign(ours)
        chunks = [program.logits(images[start : start + CHUNK]).numpy() for start in range(0, len(images), CHUNK)]
        return _log_softmax(np.concatenate(chunks).astype(np.float64))

    return predict


def _program(model: Any) -> _Program:
    structure = repr((model.get_config(), [id(type(layer)) for layer in model._flatten_layers()]))  # code may change
    if structure in _programs:
        _programs.move_to_end(structure)
    else:
        _programs[structure] = _build(model)
        if len(_programs) > PROGRAMS_KEPT:
            _programs.popitem(last=False)
    return _programs[structure]


def _build(model: Any) -> _Program:
    import keras
    import tensorflow as tf

    compiled, model.compiled = model.compiled, False  # or Keras would read the loss again, which may be the user's own
    try:
        copy = keras.models.clone_model(model)
    finally:
        model.compiled = compiled
    last = copy.layers[-1].name
    if {LOGITS, PROBABILITIES} & {layer.name for layer in copy.layers}:

        @tf.function(input_signature=[tf.TensorSpec(copy.inputs[0].shape, copy.inputs[0].dtype)])  # type: ignore[untyped-decorator]
        def answered(images: Any) -> Any:
            answers = copy(images, training=False)
            return answers if last == LOGITS else _before_softmax(answers)

        return _Program(copy, answered)
    output = copy.get_layer("output")
    features = keras.Model(copy.inputs, output.input)

    @tf.function(input_signature=[tf.TensorSpec(copy.inputs[0].shape, copy.inputs[0].dtype)])  # type: ignore[untyped-decorator]
    def logits(images: Any) -> Any:
        return tf.matmul(tf.cast(features(images, training=False), output.kernel.dtype), output.kernel) + output.bias

    return _Program(copy, logits)


def _before_softmax(probabilities: Any) -> Any:
    """Logits of a traced tensor of probabilities: those that a softmax was given, where one comes last."""
    import tensorflow as tf

    operation = probabilities.op
    while operation.type in ("Identity", "Cast"):
        operation = operation.inputs[0].op
    return operation.inputs[0] if operation.type == "Softmax" else tf.math.log(probabilities)


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
