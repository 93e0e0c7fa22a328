"""A model's loss and accuracy on a split, as one compiled program over images that stay on the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.own_metrics import by_split, load_metrics, scores_of
from harness.records import ImageArray, LabelArray, Split

CHUNK = 2_000
"""Images in one forward pass: large enough to be fast, small enough for a convolution's memory."""

Scorer = Callable[[Split], tuple[float, float]]
"""Mean cross-entropy in nats (penalties left out) and accuracy of a model's present weights, in inference mode."""
Measures = Callable[[Mapping[str, Split]], dict[str, float]]
"""The series of an epoch that a run is asked for besides (`Config.metrics`)."""


def build_scorer(model: Any, head: str, jit_compile: bool) -> Scorer:
    """A function that evaluates `model` with its present weights; traced once for each size of split."""
    import keras
    import tensorflow as tf

    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=head == "logits", reduction="sum")

    def totals(images: Any, labels: Any) -> tuple[Any, Any]:
        outputs = model(images, training=False)
        right = tf.equal(tf.argmax(outputs, axis=1, output_type=tf.int32), tf.cast(labels, tf.int32))
        return cross_entropy(labels, outputs), tf.reduce_sum(tf.cast(right, tf.int32))

    @tf.function(jit_compile=jit_compile, autograph=False)  # type: ignore[untyped-decorator]
    def whole(images: Any, labels: Any) -> tuple[Any, Any]:
        size = images.shape[0]
        chunks, rest = divmod(size, CHUNK)

        def add(number: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
            start = number * CHUNK
            more_loss, more_right = totals(
                tf.slice(images, [start] + [0] * (len(images.shape) - 1), [CHUNK, *images.shape[1:]]),
                tf.slice(labels, [start], [CHUNK]),
            )
            return number + 1, loss + more_loss, right + more_right

        loss, right = tf.constant(0.0), tf.constant(0)
        if chunks:
            _, loss, right = tf.while_loop(
                lambda number, *_: number < chunks, add, (tf.constant(0), loss, right), maximum_iterations=chunks
            )
        if rest:
            more_loss, more_right = totals(images[size - rest :], labels[size - rest :])
            loss, right = loss + more_loss, right + more_right
        return loss / size, right

    def score(split: Split) -> tuple[float, float]:
        loss, right = whole(on_device(split.images), on_device(split.labels))
        return float(loss), int(right) / len(split)

    return score


def build_probabilities(model: Any, head: str) -> Callable[[Split], Any]:
    """A function that returns what `model` answers with its present weights, as probabilities (n, classes) float64."""
    import numpy as np
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answers(images: Any) -> Any:
        outputs = tf.cast(model(images, training=False), tf.float32)
        return tf.nn.softmax(outputs) if head == "logits" else outputs

    def probabilities(split: Split) -> Any:
        images = on_device(split.images)
        chunks = [answers(images[start : start + CHUNK]).numpy() for start in range(0, len(split), CHUNK)]
        return np.concatenate(chunks).astype(np.float64)

    return probabilities


def build_measures(model: Any, names: Sequence[str], head: str) -> Measures:
    """A function that returns the metrics `names` of each split by the names of their series, and of their gaps."""
    if not names:
        return lambda splits: {}
    metrics, probabilities = load_metrics(names), build_probabilities(model, head)

    def measures(splits: Mapping[str, Split]) -> dict[str, float]:
        scores = {name: scores_of(metrics, split.labels, probabilities(split)) for name, split in splits.items()}
        return by_split(scores, metrics)

    return measures


_held: dict[int, Any] = {}


def on_device(array: ImageArray | LabelArray) -> Any:
    """`array` as a tensor; the same tensor for the same array object, which must not be written to meanwhile."""
    import tensorflow as tf

    key = id(array)
    if key not in _held:
        _held[key] = tf.constant(array)
        weakref.finalize(array, _held.pop, key, None)
    return _held[key]
