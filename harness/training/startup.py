"""Starting TensorFlow: once a process, with a number of threads, and without what its C++ side says on the way (no CUDA
here, these instructions there)."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from harness.errors import ConfigError
from harness.machine import available_cpus
from harness.surroundings import PINNED, environment, prepare

log = logging.getLogger(__name__)

_started = False


def import_tensorflow(threads: int | None = None) -> None:
    """Import and start TensorFlow and Keras once; what they write to standard error goes to the log instead.

    `threads` is the number of threads inside an operation; None takes TensorFlow as it runs, or starts it with one for
    each core. Raises `ConfigError` if it has been started with another number, by the harness or by somebody else.
    """
    global _started
    if not _started:
        with _standard_error_in_the_log():
            _start(threads)
        _started = True
    if threads is not None and threads != (running := intra_op_threads()):
        raise ConfigError(
            f"threads={threads}: TensorFlow runs with {running} in this process, and that cannot be changed once it "
            f"has started. Set threads={running} or threads=null, or start the run in a process of its own."
        )


def intra_op_threads() -> int:
    """The number of threads inside an operation: part of the result, since it fixes the order of float sums."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads()) or available_cpus()


@contextmanager
def process_settings_restored() -> Iterator[None]:
    """In a process that is not only the harness's: the random states of Python and NumPy, and Keras's global settings,
    are after the block as they were, and TensorFlow's demand for deterministic operations, with which Keras compiles
    nothing with XLA. In it, Keras has its default settings."""
    import numpy as np

    states = random.getstate(), np.random.get_state()
    keras, tf, kept, deterministic = sys.modules.get("keras"), sys.modules.get("tensorflow"), None, False
    if keras is not None and tf is not None:
        deterministic = _is_deterministic()
        kept = (
            keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(),
            keras.config.dtype_policy(), tf.config.functions_run_eagerly(),
        )  # fmt: skip
        _set_keras("float32", 1e-7, "channels_last", "float32", False)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if kept is not None:
            _set_keras(*kept)
        if "tensorflow" in sys.modules and not deterministic:
            from tensorflow.python.framework.config import disable_op_determinism

            disable_op_determinism()


def _is_deterministic() -> bool:
    from tensorflow.python.framework.config import is_op_determinism_enabled  # as Keras does: it has no public name

    return bool(is_op_determinism_enabled())


def _set_keras(floatx: str, epsilon: float, image_format: str, policy: Any, eagerly: bool) -> None:
    import keras
    import tensorflow as tf

    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(image_format)
    keras.config.set_dtype_policy(policy)
    tf.config.run_functions_eagerly(eagerly)


def _start(threads: int | None) -> None:
    prepare()
    # Processes that share a GPU each take the memory that they need, instead of all that there is.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

    with _no_settings_of_keras():
        import keras
    import tensorflow as tf

    if (backend := keras.backend.backend()) != PINNED["KERAS_BACKEND"]:
        raise ConfigError(
            f"Keras was imported with the backend {backend} before the harness started in this process. The harness "
            "trains on TensorFlow: start it in a process of its own."
        )
    _set_keras("float32", 1e-7, "channels_last", "float32", False)  # somebody else may have imported Keras
    with suppress(RuntimeError):  # somebody else has started it: the caller is told if the numbers differ
        # Left alone, TensorFlow takes every core of the machine, also under a quota of two.
        tf.config.threading.set_intra_op_parallelism_threads(threads or available_cpus())
    tf.zeros(())  # the first operation starts the devices, and they have things to say too
    # Keras collects garbage before every run. What was imported is there to stay, and a walk over it takes 0.3 s.
    gc.collect()
    gc.freeze()


@contextmanager
def _no_settings_of_keras() -> Iterator[None]:
    """Keras takes its defaults from `keras.json` in its home when it is imported: give it an empty home meanwhile."""
    with tempfile.TemporaryDirectory() as empty, environment(KERAS_HOME=empty):
        yield


@contextmanager
def _standard_error_in_the_log() -> Iterator[None]:
    with tempfile.TemporaryFile() as said:
        with _standard_error_to(said):
            yield
        said.seek(0)
        for line in said.read().decode(errors="replace").splitlines():
            log.info("tensorflow: %s", line)


@contextmanager
def _standard_error_to(file: IO[bytes]) -> Iterator[None]:
    """Redirect file descriptor 2: TensorFlow's C++ code does not write through `sys.stderr`."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    except ImportError:
        file.seek(0)
        os.write(kept, file.read())  # it may say why
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
