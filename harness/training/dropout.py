"""Dropout masks that are cheap to draw, the same in every engine.

Keras leaves the generator to TensorFlow. Under XLA on a CPU that is one which takes 500 ns a number, longer than the
rest of a training step, and it draws other numbers than TensorFlow's own kernels do. Threefry (Salmon et al. 2011)
takes 2 ns. Only XLA has it, so masks are drawn by a compiled function, whether the step around it is compiled or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def threefry_masks(model: Any) -> Iterator[None]:
    """In the block, the dropout layers of `model` draw their masks from Threefry; layers and seeds stay Keras's own."""
    layers = [layer for layer in model.layers if type(layer) is keras.layers.Dropout and layer.noise_shape is None]
    for layer in layers:
        layer.call = partial(_drop, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _drop(layer: Any, inputs: Any, training: bool = False) -> Any:
    """What `keras.layers.Dropout` does."""
    if not training or layer.rate == 0:
        return inputs
    seed, dropped = tf.cast(layer.seed_generator.next(), tf.int32), tf.constant(int(layer.rate * 2**32), tf.uint32)
    return tf.where(_kept(tf.shape(inputs), seed, dropped), inputs / (1 - layer.rate), tf.zeros((), inputs.dtype))


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _kept(shape: Any, seed: Any, dropped: Any) -> Any:
    """Booleans of `shape`, of which `dropped` in 2**32 are false; the same ones for the same `seed` (2,)."""
    return (
        tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="threefry") >= dropped
    )
