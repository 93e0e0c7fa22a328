from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.data import idx
from harness.errors import DataError

UNHURRIED = settings(deadline=None)  # the machine may be busy


@UNHURRIED
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)))
def test_what_is_encoded_is_decoded_again(array: np.ndarray) -> None:
    np.testing.assert_array_equal(idx.decode(idx.encode(array), array.ndim), array)


def test_a_transposed_array_is_written_in_the_order_that_is_seen() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    np.testing.assert_array_equal(idx.decode(idx.encode(array), 2), array)


def test_the_header_is_that_of_the_published_files() -> None:
    header = idx.encode(np.zeros((60000, 28, 28), np.uint8))[:16]
    assert header == bytes.fromhex("00000803 0000ea60 0000001c 0000001c")


def test_decoding_copies_nothing_and_cannot_be_written_to() -> None:
    array = idx.decode(idx.encode(np.ones((2, 3), np.uint8)), 2)
    assert not array.flags.writeable
    assert array.flags.c_contiguous


@UNHURRIED
@given(st.binary(max_size=40), st.integers(1, 3))
def test_any_other_bytes_are_refused_with_a_data_error(content: bytes, dimensions: int) -> None:
    if content[:4] == bytes((0, 0, 8, dimensions)):
        return
    with pytest.raises(DataError, match="not an IDX file"):
        idx.decode(content, dimensions)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_a_file_shorter_or_longer_than_its_header_says_is_refused(change) -> None:
    with pytest.raises(DataError, match="promises 2 x 3 bytes"):
        idx.decode(change(idx.encode(np.ones((2, 3), np.uint8))), 2)


def test_only_unsigned_bytes_can_be_encoded() -> None:
    with pytest.raises(DataError, match="float32"):
        idx.encode(np.ones(3, np.float32))  # type: ignore[arg-type]
