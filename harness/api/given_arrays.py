"""Arrays that Python hands over: written once, named by their content, then read as `dataset=npz`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import paths
from harness.api.overrides import overrides
from harness.errors import DataError, RequestError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@contextmanager
def words_for(data: Any, others: list[str]) -> Iterator[list[str]]:
    """The overrides for `data`, ((x_train, y_train), (x_test, y_test)), before the `others`; without data just these.

    The same arrays make the same file, so that a sweep resumes and a run is reproduced. A file that is refused is
    removed again. Raises `RequestError` for something else than four arrays, or where the others choose a dataset too.
    """
    if data is None:
        yield others
        return
    if chosen := [word for word in others if word.startswith(("dataset=", "dataset.file=", "dataset.source="))]:
        raise RequestError(f"data and {chosen[0]}: each says which data to use. Leave one of them out.")
    arrays = _arrays(data)
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    file = paths.array_file(digest.hexdigest()[:12])
    written = not file.exists()
    if written:
        _write(file, arrays)
    try:
        yield ["dataset=npz", *overrides([], {"dataset.file": file}), *others]
    except (DataError, RequestError):  # refused before a run was made of them
        if written:
            file.unlink(missing_ok=True)
        raise


def _arrays(data: Any) -> dict[str, Any]:
    import numpy as np

    try:
        (x_train, y_train), (x_test, y_test) = data
    except (TypeError, ValueError):
        raise RequestError(
            "data: give ((x_train, y_train), (x_test, y_test)), as Keras's own datasets are: images (n, *shape) and "
            "labels (n,)."
        ) from None
    found = {}
    for name, given in zip(ARRAYS, (x_train, y_train, x_test, y_test), strict=True):
        try:
            array = np.ascontiguousarray(given)
        except ValueError as error:
            raise RequestError(f"data: {name} is no array: {error}") from None
        if array.dtype == object and array.size and all(isinstance(label, str) for label in array.flat):
            array = np.ascontiguousarray(array.astype(str))  # pandas has texts in this form
        if array.dtype == object:
            raise RequestError(f"data: {name} has Python objects. Give numbers, or texts as labels.")
        found[name] = array
    return found


def _write(file: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    try:
        with paths.private_files():
            paths.make_folder(file.parent)
            with paths.atomic_path(file, kept=True) as temporary, temporary.open("wb") as target:
                np.savez(target, **arrays)
    except OSError as error:
        raise RequestError(f"data: {file} cannot be written ({error.strerror}).") from error
