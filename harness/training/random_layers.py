"""What random layers draw while they train: numbers that are cheap under XLA, and the same in every engine.

Keras leaves the generator to TensorFlow. Under XLA on a CPU that is one which takes 500 ns a number, longer than the
rest of a training step, and it draws other numbers than TensorFlow's own kernels do. Threefry (Salmon et al. 2011)
takes 2 ns. Only XLA has it, so numbers are drawn by compiled functions, whether the step around them is compiled or
not. Keras's translation of images cannot be compiled at all; whole pixels can be moved by gathering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def threefry_draws(model: Any) -> Iterator[None]:
    """In the block, dropout, shifts and flips of `model` draw from Threefry; layers and seeds stay Keras's own."""
    replaced = [(layer, call) for layer in every_layer(model) if (call := _replacement(layer)) is not None]
    for layer, call in replaced:
        layer.call = partial(call, layer)
    try:
        yield
    finally:
        for layer, _ in replaced:
            del layer.call


def compilable_by_xla(model: Any) -> bool:
    """Whether XLA can compile a training step of the model, in such a block."""
    return all(layer.supports_jit or _replacement(layer) is not None for layer in every_layer(model))


def every_layer(model: Any) -> list[Any]:
    """The layers of a model, and those inside them."""
    return list(model._flatten_layers(include_self=False))


def _replacement(layer: Any) -> Callable[..., Any] | None:
    if type(layer) is keras.layers.Dropout and layer.noise_shape is None:
        return _drop
    if type(layer) is keras.layers.RandomTranslation and layer.name == "shift":  # the harness's own
        return _shift
    if type(layer) is keras.layers.RandomFlip and layer.name == "flip":  # likewise
        return _flip
    return None


def _drop(layer: Any, inputs: Any, training: bool = False) -> Any:
    """What `keras.layers.Dropout` does."""
    if not training or layer.rate == 0:
        return inputs
    seed, dropped = tf.cast(layer.seed_generator.next(), tf.int32), tf.constant(int(layer.rate * 2**32), tf.uint32)
    return tf.where(_kept(tf.shape(inputs), seed, dropped), inputs / (1 - layer.rate), tf.zeros((), inputs.dtype))


def _shift(layer: Any, images: Any, training: bool = True) -> Any:
    """What `keras.layers.RandomTranslation` does to images (n, height, width, channels) that it moves by whole pixels.

    It takes the nearest pixel of a real move, up to half a pixel more than the largest whole one.
    """
    if training:
        seed = tf.cast(layer.generator.next(), tf.int32)
        for axis, share in ((1, layer.height_upper), (2, layer.width_upper)):
            size = images.shape[axis]
            most = round(size * share - 0.5)
            moves = _moves(tf.shape(images)[:1], seed + tf.constant([axis - 1, 0]), tf.constant(most))
            around = [[0, 0], [0, 0], [0, 0], [0, 0]]
            around[axis] = [most, most]
            positions = tf.range(size) + most - moves[:, tf.newaxis]
            images = tf.gather(tf.pad(images, around), positions, axis=axis, batch_dims=1)
    return tf.cast(images, layer.compute_dtype)


def _flip(layer: Any, images: Any, training: bool = True) -> Any:
    """What `keras.layers.RandomFlip("horizontal")` does to images (n, height, width, channels)."""
    if training:
        seed = tf.cast(layer.generator.next(), tf.int32)
        kept = _kept(tf.shape(images)[:1], seed, tf.constant(2**31, tf.uint32))
        images = tf.where(kept[:, tf.newaxis, tf.newaxis, tf.newaxis], images, tf.reverse(images, [2]))
    return tf.cast(images, layer.compute_dtype)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _kept(shape: Any, seed: Any, dropped: Any) -> Any:
    """Booleans of `shape`, of which `dropped` in 2**32 are false; the same ones for the same `seed` (2,)."""
    return _bits(shape, seed) >= dropped


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _moves(shape: Any, seed: Any, most: Any) -> Any:
    """Whole numbers of `shape` from -`most` to `most`, all equally likely."""
    return tf.cast(_bits(shape, seed) % tf.cast(2 * most + 1, tf.uint32), tf.int32) - most


def _bits(shape: Any, seed: Any) -> Any:
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="threefry")
