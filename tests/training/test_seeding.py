"""The order of the images in an epoch, and what is collected before a run."""

from __future__ import annotations

import random
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


def test_initial_weights_are_those_of_the_seed_whoever_draws_meanwhile() -> None:
    import keras

    from harness.training import seed_everything

    def weights(seed: int, draws: int) -> list[np.ndarray]:
        seed_everything(seed)
        for _ in range(draws):  # as a thread of MLflow does, to wait before it asks a server again
            random.random()
        return list(keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]).get_weights())

    for drawn, undisturbed in zip(weights(3, 2), weights(3, 0), strict=True):
        np.testing.assert_array_equal(drawn, undisturbed)
    assert not np.array_equal(weights(4, 0)[0], weights(3, 0)[0])
    seed_everything(3)
    first = int(np.asarray(keras.random.SeedGenerator().state)[0])
    assert first == random.Random(3).randint(1, 10**9), "as in releases that took it from Python's own generator"


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
