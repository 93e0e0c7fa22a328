"""The order of the images in an epoch."""

from __future__ import annotations

import numpy as np

from harness.training.seeding import epoch_order


def test_an_order_is_a_permutation() -> None:
    assert sorted(epoch_order(0, 1, 100)) == list(range(100))


def test_an_order_depends_on_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(epoch_order(3, 7, 50), epoch_order(3, 7, 50))
    assert not np.array_equal(epoch_order(3, 7, 50), epoch_order(3, 8, 50))
    assert not np.array_equal(epoch_order(3, 7, 50), epoch_order(4, 7, 50))
