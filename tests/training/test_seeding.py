"""The order of the images in an epoch, and what is collected before a run."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness.training.seeding import epoch_order


def test_an_order_is_a_permutation() -> None:
    assert sorted(epoch_order(0, 1, 100)) == list(range(100))


def test_an_order_depends_on_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(epoch_order(3, 7, 50), epoch_order(3, 7, 50))
    assert not np.array_equal(epoch_order(3, 7, 50), epoch_order(3, 8, 50))
    assert not np.array_equal(epoch_order(3, 7, 50), epoch_order(4, 7, 50))


RUNS = """
import gc, weakref
from harness.training import seed_everything
class Thing: pass
frozen = []
for run in range(4):
    seed_everything(run)
    frozen.append(gc.get_freeze_count())
    thing = Thing()
    thing.itself, seen = thing, weakref.ref(thing)
    del thing
    if run > 1:
        seed_everything(run)
        assert seen() is None, "a cycle of an earlier run was not collected"
assert frozen[0] < frozen[1] and max(frozen) - frozen[1] < 50, frozen
"""


@pytest.mark.slow
def test_what_the_first_run_set_up_is_frozen_once_and_what_later_runs_leave_is_collected() -> None:
    subprocess.run([sys.executable, "-c", RUNS], check=True, timeout=200)
