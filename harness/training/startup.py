"""Starting TensorFlow: once a process, with a number of threads, and without what its C++ side says on the way (no CUDA
here, these instructions there)."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

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
    # Of a Keras that somebody else has imported.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
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
