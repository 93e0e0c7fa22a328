"""Arrays on the device, copied there once a process and kept while the array is alive."""

from __future__ import annotations

import weakref
from typing import Any

from harness.records import UInt8Array

_held: dict[int, Any] = {}


def on_device(array: UInt8Array) -> Any:
    """`array` as a tensor; the same tensor for the same array object, which must not be written to meanwhile."""
    import tensorflow as tf

    key = id(array)
    if key not in _held:
        _held[key] = tf.constant(array)
        weakref.finalize(array, _held.pop, key, None)
    return _held[key]
