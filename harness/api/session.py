"""A call from the user's own process: it works as the command does, and leaves the process as it found it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import RequestError
from harness.paths import private_files
from harness.surroundings import DECIDING, HARMLESS, prepare
from harness.tracking.provenance import called_as


@contextmanager
def session(*words: str) -> Iterator[None]:
    """The block runs as the command `words` would: with the same environment, file modes and recorded command.

    Raises `RequestError` if TensorFlow was imported before under variables that can change numbers: the harness would
    have removed them first.
    """
    before, filters, drawn = dict(os.environ), warnings.filters[:], "matplotlib" in sys.modules
    _refuse_late_removal(before)
    try:
        with private_files(), called_as(*words):
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
            from harness.figures.style import restore_backend

            restore_backend(before.get("MPLBACKEND"))


_seen: set[str] = set()
"""Variables that were set when `session` was first entered without TensorFlow; later ones cannot have reached it."""


def _refuse_late_removal(variables: dict[str, str]) -> None:
    deciding = {name for name in variables if name.startswith(DECIDING) and name not in HARMLESS}
    if "tensorflow" not in sys.modules:
        _seen.update(deciding)
        return
    if late := sorted(deciding - _seen - {"KERAS_BACKEND"}):
        raise RequestError(
            f"{', '.join(late)}: set when TensorFlow was imported in this process, and can change numbers. Restart the "
            "kernel or the program, and call the harness before TensorFlow is imported, or unset it."
        )
