"""Starting TensorFlow without what its C++ side says on the way (no CUDA here, these instructions there)."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

log = logging.getLogger(__name__)


def import_tensorflow() -> None:
    """Import and start TensorFlow and Keras once; what they write to standard error goes to the log instead."""
    if "tensorflow" in sys.modules:
        return
    with tempfile.TemporaryFile() as said:
        with _standard_error_to(said):
            import keras
            import tensorflow as tf

            keras.backend.backend()
            tf.zeros(())  # the first operation starts the devices, and they have things to say too
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
