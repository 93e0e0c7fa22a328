"""The IDX format of the MNIST files: two zero bytes, a type code, the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values. The published files have unsigned bytes (type code 8); your own may have
any type of the format.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.arrays import RawData, check_memory
from harness.errors import DataError, RequestError, UnusableData
from harness.machine import available_memory
from harness.records import UInt8Array
from harness.untrusted import check_regular, read_bytes, unpack_gzip

UNSIGNED_BYTE = 0x08
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The types of the format by their codes, as NumPy calls them."""
_PACKED_RATIO = 200
_FILES = {
    "x_train": ("train", "images"), "y_train": ("train", "labels"),
    "x_test": ("test", "images"), "y_test": ("test", "labels"),
}  # fmt: skip
_TEST_WORDS = ("t10k", "test")


def decode(content: bytes, dimensions: int) -> UInt8Array:
    """The array in `content`, read-only and without a copy. Raises `DataError` if it is no IDX file of unsigned bytes
    with `dimensions` dimensions, or is shorter or longer than its header says."""
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"not an IDX file: {len(content)} bytes, a header of {header} is needed")
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(
            f"not an IDX file of unsigned bytes with {dimensions} dimensions: it begins with {content[:4].hex(' ')}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"its header promises {' x '.join(map(str, shape))} bytes, and {len(content) - header} follow it"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def decode_any(content: bytes) -> npt.NDArray[Any]:
    """The array in `content`, of any type and number of dimensions. Raises `DataError` as `decode`."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(
            f"not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'} in place of 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in TYPES)}) and the number of dimensions"
        )
    dtype, dimensions = np.dtype(TYPES[content[2]]), content[3]
    header = 4 + 4 * dimensions
    if not 1 <= dimensions <= 4 or len(content) < header:
        raise DataError(f"its header promises {dimensions} dimensions in {len(content)} bytes; there must be 1 to 4")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape) * dtype.itemsize:
        raise DataError(
            f"its header promises {' x '.join(map(str, shape))} values of {dtype.itemsize} bytes, and "
            f"{len(content) - header:,} bytes follow it"
        )
    return np.frombuffer(content, dtype=dtype, offset=header).reshape(shape)


def find_files(folder: Path) -> dict[str, Path]:
    """The four files of a folder by Keras's names of their arrays: what has `train` or `test` (or `t10k`), and `images`
    or `labels`, in its name, raw or as `.gz`. Raises `UnusableData` where one is missing, or not the only one."""
    if not folder.is_dir():
        raise UnusableData(f"dataset.directory={folder}: there is no such folder.")
    found: dict[str, Path] = {}
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    for key, (split, kind) in _FILES.items():
        fitting = [name for name in names if _fits(name.lower(), split, kind)]
        raw = [name for name in fitting if not name.endswith(".gz") or name.removesuffix(".gz") not in fitting]
        if len(raw) != 1:
            what = f"{split}ing" if split == "train" else split
            why = (
                f"has several files of {what} {kind}: {', '.join(raw[:5])}" if raw else f"has no file of {what} {kind}"
            )
            raise UnusableData(
                f"dataset.directory={folder}: {why}. Put four files into a folder of their own: names with train or "
                "test (or t10k), and with images or labels, such as train-images-idx3-ubyte, raw or as .gz."
            )
        found[key] = folder / raw[0]
    return found


def read_folder(folder: Path) -> RawData:
    """The arrays in a folder of IDX files, for `make_dataset`. Raises `UnusableData` naming the file and the reason."""
    arrays = {}
    for key, file in find_files(folder).items():
        try:
            packed = file.suffix == ".gz"
            check_memory(str(file), check_regular(file))
            content = (
                unpack_gzip(file, _PACKED_RATIO, available_memory() / 2)
                if packed
                else read_bytes(file, check_regular(file))
            )
            arrays[key] = decode_any(content)
        except UnusableData:
            raise
        except RequestError as error:
            raise UnusableData(str(error)) from error
        except (DataError, OSError, EOFError, zlib.error) as error:
            raise UnusableData(f"{file}: cannot be read ({error}).") from error
    return RawData(str(folder), arrays)


def _fits(name: str, split: str, kind: str) -> bool:
    is_test = any(word in name for word in _TEST_WORDS)
    return kind in name and (is_test if split == "test" else "train" in name and not is_test)


def encode(array: npt.NDArray[np.uint8]) -> bytes:
    """`array` (unsigned bytes, any shape) as the bytes of an IDX file. Raises `DataError` for any other type."""
    if array.dtype != np.uint8:
        raise DataError(f"IDX files here hold unsigned bytes, not {array.dtype}")
    header = bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()
