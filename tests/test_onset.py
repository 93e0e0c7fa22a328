"""Where the validation loss turned: on curves of several kinds, with the rates that docs/tracking.md states."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.metrics import Onset, onset

Curve = Callable[[int, np.random.Generator], np.ndarray]
FALLING = np.linspace(0.6, 0.1, 30)
TURNING = np.concatenate([np.linspace(0.6, 0.3, 10), np.linspace(0.31, 0.6, 20)])


def flat(epochs: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=epochs)


def cosine(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Flat, its noise shrinking to a fiftieth as the learning rate does."""
    rate = 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * np.arange(epochs) / epochs))
    return np.asarray(rng.normal(size=epochs) * rate)


def decaying(epochs: int, rng: np.random.Generator) -> np.ndarray:
    return 8 * np.exp(-np.arange(epochs) / 4) + cosine(epochs, rng)


def slow(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns at epoch 15 and then rises by a quarter of the noise an epoch."""
    after = np.maximum(0, np.arange(epochs) - 14)
    return 6 * np.exp(-np.arange(epochs) / 3) + 0.25 * after + rng.normal(size=epochs)


def sharp(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns after a third and then rises by three times the noise an epoch."""
    after = np.maximum(0, np.arange(epochs) - epochs // 3)
    return 6 * np.exp(-np.arange(epochs) / 3) + 3 * after + rng.normal(size=epochs)


def found(curve: Curve, epochs: int, times: int = 300) -> list[Onset | None]:
    rng = np.random.default_rng(epochs)
    falling = np.linspace(1.0, 0.0, epochs)
    return [onset(falling, curve(epochs, rng)) for _ in range(times)]


@pytest.mark.parametrize("curve", [flat, cosine, decaying])
@pytest.mark.parametrize("epochs", [6, 8, 10, 15, 30, 60])
def test_a_curve_that_does_not_rise_has_hardly_ever_an_onset(curve: Curve, epochs: int) -> None:
    rate = sum(one is not None for one in found(curve, epochs)) / 300
    assert rate <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / 300)


@pytest.mark.parametrize(("curve", "epochs", "turn", "share"), [
    (slow, 30, 15, 0.7), (slow, 45, 15, 0.99), (slow, 60, 15, 0.99),
    (sharp, 10, 4, 0.7), (sharp, 15, 6, 0.98), (sharp, 30, 11, 0.99),
])  # fmt: skip
def test_a_rise_is_found_and_dated(curve: Curve, epochs: int, turn: int, share: float) -> None:
    onsets = [one for one in found(curve, epochs) if one is not None]
    assert len(onsets) >= share * 300
    assert abs(np.median([one.epoch for one in onsets]) - turn) <= 3
    assert sum(one.by_epoch >= turn for one in onsets) >= 0.97 * len(onsets)
    assert all(one.epoch <= one.by_epoch for one in onsets)


def test_onset_of_a_smooth_curve_is_its_least_epoch_but_for_the_window() -> None:
    assert onset(FALLING, TURNING) == Onset(11, 13)  # it turns at 10, and falls more steeply than it rises


def test_a_falling_loss_has_no_onset() -> None:
    assert onset(FALLING, FALLING + 0.1) is None


def test_a_turn_that_only_the_last_epochs_show_is_no_onset() -> None:
    assert onset(FALLING[:13], TURNING[:13]) is None
    assert onset(FALLING[:18], TURNING[:18]) is not None


def test_a_loss_that_comes_back_to_its_least_has_no_onset_before_that() -> None:
    bump = np.full(20, 0.3)
    bump[5:10] = 0.5
    assert onset(FALLING[:20], bump) is None


def test_a_run_whose_training_loss_rises_too_diverges_and_does_not_overfit() -> None:
    assert onset(TURNING, TURNING + 0.1) is None


def test_onset_passes_over_epochs_without_a_finite_loss_and_still_counts_them() -> None:
    with_gap = np.insert(TURNING, 3, math.nan)
    at = onset(np.insert(FALLING, 3, math.nan), with_gap)
    assert at is not None
    assert at.epoch == 12


def test_five_epochs_are_too_few_for_an_onset() -> None:
    assert onset([0.5, 0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.5, 0.6, 0.7]) is None
    assert onset([0.5, 0.4, 0.3, 0.2, 0.1, 0.05], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) == Onset(2, 3)
