"""NumPy's archives as Keras's own datasets have them: `x_train`, `y_train`, `x_test`, `y_test`, perhaps `class_names`.

The headers are read first: what is too large, or no array of numbers, is refused before any of it is unpacked. Nothing
is ever unpickled.
"""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.arrays import ARRAYS, RawData, check_memory
from harness.errors import RequestError, UnusableData
from harness.untrusted import array_headers, check_archive, open_arrays

PACKED_RATIO = 200
"""How much a file may unpack to, in times of its own size: black and white drawings are packed to a hundredth."""
CLASS_NAMES = "class_names"
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, SyntaxError, TypeError, OverflowError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What `zipfile` and NumPy raise for damaged archives."""


def read_npz(file: Path) -> RawData:
    """The arrays in an archive, for `make_dataset`. Raises `UnusableData`."""
    try:
        check_archive(file, PACKED_RATIO)
        headers = array_headers(file)
        _check_headers(file, headers)
        with open_arrays(file, PACKED_RATIO) as held:
            arrays = {name: held[name] for name in ARRAYS}
            names = held[CLASS_NAMES] if CLASS_NAMES in headers else None
    except (RequestError, *_DAMAGED) as error:
        if isinstance(error, RequestError):
            raise UnusableData(str(error)) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableData(
            f"{file}: is no archive of NumPy's, or is damaged or cut short ({reason[:200]}). Write it with "
            "np.savez_compressed(file, x_train=..., y_train=..., x_test=..., y_test=...)."
        ) from error
    return RawData(str(file), arrays, None if names is None else _names(file, names))


def _check_headers(file: Path, headers: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    if absent := [name for name in ARRAYS if name not in headers]:
        raise UnusableData(
            f"{file}: has no {', '.join(absent)}. It must have {', '.join(ARRAYS)}, as Keras's own files; it has "
            f"{', '.join(name[:40] for name in list(headers)[:10]) or 'nothing'}."
        )
    wanted = 0
    for name in (*ARRAYS, CLASS_NAMES):
        shape, dtype = headers.get(name, ((), np.dtype(np.uint8)))
        if dtype.hasobject:
            raise UnusableData(
                f"{file}: {name} holds Python objects (a pickle), which could run code and are never loaded. Save "
                "numbers, or texts with np.array(names, dtype=str)."
            )
        count = math.prod(shape)
        converted = 4 if name.startswith("x_") and dtype != np.uint8 and dtype != np.float32 else 0
        wanted += count * (dtype.itemsize + converted)
    check_memory(str(file), wanted)


def _names(file: Path, names: np.ndarray[Any, Any]) -> list[str]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise UnusableData(
            f"{file}: {CLASS_NAMES} has shape {names.shape} and type {names.dtype}. It must be a list of texts, a name "
            "for each label from 0."
        )
    try:
        return [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]
    except UnicodeDecodeError as error:
        raise UnusableData(f"{file}: {CLASS_NAMES} are no texts in UTF-8.") from error
