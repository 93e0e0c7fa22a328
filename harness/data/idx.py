"""The IDX format of the MNIST files: two zero bytes, a type code, the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values. Only unsigned bytes (type code 8) occur here.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

from harness.errors import DataError
from harness.records import UInt8Array

UNSIGNED_BYTE = 0x08


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


def encode(array: npt.NDArray[np.uint8]) -> bytes:
    """`array` (unsigned bytes, any shape) as the bytes of an IDX file. Raises `DataError` for any other type."""
    if array.dtype != np.uint8:
        raise DataError(f"IDX files here hold unsigned bytes, not {array.dtype}")
    header = bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()
