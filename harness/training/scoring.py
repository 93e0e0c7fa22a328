"""A model's loss and accuracy on a split, as one compiled program over images that stay on the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from harness.records import ImageArray, LabelArray, Split

CHUNK = 2_000
"""Images in one forward pass: large enough to be fast, small enough for a convolution's memory."""

Scorer = Callable[[Split], tuple[float, float]]
"""Mean cross-entropy in nats (penalties left out) and accuracy of a model's present weights, in inference mode."""


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
            beginning = [start, *[0] * (len(images.shape) - 1)]
            chunk = tf.slice(images, beginning, [CHUNK, *images.shape[1:]])
            more_loss, more_right = totals(chunk, tf.slice(labels, [start], [CHUNK]))
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


_held: dict[int, Any] = {}


def on_device(array: ImageArray | LabelArray) -> Any:
    """`array` as a tensor; the same tensor for the same array object, which must not be written to meanwhile."""
    import tensorflow as tf

    key = id(array)
    if key not in _held:
        _held[key] = tf.constant(array)
        weakref.finalize(array, _held.pop, key, None)
    return _held[key]
