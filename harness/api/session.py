"""A call from the user's own process: it works as the command does, and leaves the process as it found it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness import surroundings
from harness.paths import private_files
from harness.surroundings import is_deciding, prepare
from harness.tracking.provenance import called_as
from harness.training import process_settings_restored

log = logging.getLogger(__name__)

_TRAINING, _CHANGING = threading.RLock(), threading.RLock()
_stack, _open = ExitStack(), 0


@contextmanager
def session(*words: str) -> Iterator[None]:
    """The block runs as the command `words` would: with the same environment, file modes and recorded command.

    Threads may have sessions at the same time: the process is as before when the last one has ended.
    """
    global _open
    with _CHANGING:
        if not _open:
            _stack.enter_context(_prepared())
        _open += 1
    try:
        with called_as(*words):
            yield
    finally:
        with _CHANGING:
            _open -= 1
            if not _open:
                _stack.close()


@contextmanager
def training_session(*words: str) -> Iterator[None]:
    """A `session` that trains: one at a time in a process, and with Keras's own settings and random states."""
    with _TRAINING, session(*words), process_settings_restored():
        yield


@contextmanager
def _prepared() -> Iterator[None]:
    before, filters, drawn = dict(os.environ), warnings.filters[:], "matplotlib" in sys.modules
    _note_late(before)
    try:
        with private_files():
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            prepare()
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if "PYTHONWARNINGS" in before:  # `prepare` has dropped the filters that it asks for
            warnings.filters[:] = filters  # type: ignore[index]
        if not drawn and "matplotlib" in sys.modules:  # imported with the pinned MPLBACKEND
            from harness.figures.backend import restore_backend

            restore_backend(before.get("MPLBACKEND"))


_seen: set[str] = set()
"""Variables that were set in a session that began without TensorFlow: they did not reach it."""


def _note_late(variables: dict[str, str]) -> None:
    """Say, once, and have each run record, which variables TensorFlow was imported with before the first session."""
    deciding = {name for name in variables if is_deciding(name)}
    if "tensorflow" not in sys.modules:
        _seen.update(deciding)
        return
    late = tuple(sorted(deciding - _seen - {"KERAS_BACKEND"}))
    if late and late != surroundings.in_effect:
        log.warning(
            "%s: set when TensorFlow was imported in this process, and may change numbers. The runs record it. To "
            "train as the command does, restart the kernel and call the harness before TensorFlow is imported.",
            ", ".join(late),
        )
    surroundings.in_effect = late
