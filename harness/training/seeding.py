"""Where randomness comes from. Same configuration, seed and number of threads: same numbers, bit for bit."""

from __future__ import annotations

import gc

import numpy as np

from harness.records import IntArray
from harness.training.startup import import_tensorflow

FREEZE_AT = 2
"""The run of a process at which what its first run imported and set up is there for good."""

_runs = 0


def seed_everything(seed: int, threads: int | None = None) -> None:
    """Seed Python, NumPy and TensorFlow, drop what earlier runs left in Keras, and ask for deterministic kernels.

    Starts TensorFlow with `threads` where it does not run yet; raises as `import_tensorflow` does.
    """
    import_tensorflow(threads)
    import keras
    import tensorflow as tf

    global _runs
    _forget_gradients()
    keras.backend.clear_session(free_memory=True)  # collects garbage
    _runs += 1
    if _runs == FREEZE_AT:
        gc.freeze()  # a walk over MLflow, matplotlib and the rest takes 0.15 s
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _forget_gradients() -> None:
    """Drop the custom gradients of graphs that earlier runs traced.

    TensorFlow registers each for good under a new name, and each holds its whole graph (a `keras.Optimizer` makes one
    in every program): without this a process grows by 5 to 8 MB a run. A gradient is looked up while a graph is
    traced, so those of finished runs are never asked for again. There is no public way to do it.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]


def epoch_order(seed: int, epoch: int, size: int) -> IntArray:
    """The order of the training images in `epoch` (from 1): a permutation drawn from (seed, epoch) alone.

    No state is carried from epoch to epoch, so a run can be continued at any epoch with the same numbers.
    """
    return np.random.default_rng((seed, epoch)).permutation(size)
