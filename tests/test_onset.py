"""The onset of overfitting on curves of several kinds, with the rates that docs/tracking.md states."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.metrics import Onset, onset
from tests.calibration.real_runs import curves

Curve = Callable[[int, np.random.Generator], np.ndarray]
FALLING = np.linspace(0.6, 0.1, 30)
TURNING = np.concatenate([np.linspace(0.6, 0.3, 10), np.linspace(0.31, 0.6, 20)])


def flat(epochs: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=epochs)


def cosine(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Flat, with noise that shrinks to a fiftieth as the learning rate does."""
    rate = 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * np.arange(epochs) / epochs))
    return np.asarray(rng.normal(size=epochs) * rate)


def growing(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Flat, with noise that grows from a fiftieth."""
    rate = 0.02 + 0.98 * 0.5 * (1 - np.cos(np.pi * np.arange(epochs) / epochs))
    return np.asarray(rng.normal(size=epochs) * rate)


def decaying(epochs: int, rng: np.random.Generator) -> np.ndarray:
    return 8 * np.exp(-np.arange(epochs) / 4) + cosine(epochs, rng)


def falling(epochs: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.normal(size=epochs) - 0.25 * np.arange(epochs))


def correlated(epochs: int, rng: np.random.Generator, by: float) -> np.ndarray:
    """Flat, with noise that has this correlation between successive epochs."""
    steps = rng.normal(size=epochs) * math.sqrt(1 - by**2)
    steps[0] = rng.normal()
    return np.array([math.fsum(steps[k] * by ** (epoch - k) for k in range(epoch + 1)) for epoch in range(epochs)])


def slow(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns at epoch 15, and then rises by a quarter of the noise per epoch."""
    after = np.maximum(0, np.arange(epochs) - 14)
    return 6 * np.exp(-np.arange(epochs) / 3) + 0.25 * after + rng.normal(size=epochs)


def slower(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns at epoch 14, and then rises by a fifth of the noise per epoch."""
    after = np.maximum(0, np.arange(epochs) - 13)
    return 6 * np.exp(-np.arange(epochs) / 3) + 0.2 * after + rng.normal(size=epochs)


def plateau(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Falls until about epoch 8, is flat until 20, and then rises by the size of the noise per epoch."""
    after = np.maximum(0, np.arange(epochs) - 19)
    return np.asarray(6 * np.exp(-np.arange(epochs) / 2) + after + rng.normal(size=epochs))


def quiet(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns at epoch 44, and then rises by a sixteenth of the first epochs' noise. The noise has shrunk by then."""
    at = np.arange(epochs)
    return np.asarray(8 * np.exp(-at / 9) + np.maximum(0, at - 43) / 16 + cosine(epochs, rng))


def sharp(epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Turns after a third of the epochs, and then rises by three times the noise per epoch."""
    after = np.maximum(0, np.arange(epochs) - epochs // 3)
    return 6 * np.exp(-np.arange(epochs) / 3) + 3 * after + rng.normal(size=epochs)


def found(curve: Curve, epochs: int, times: int = 300) -> list[Onset | None]:
    rng = np.random.default_rng(epochs)
    falling = np.linspace(1.0, 0.0, epochs)
    return [onset(falling, curve(epochs, rng)) for _ in range(times)]


@pytest.mark.parametrize("curve", [flat, cosine, growing, decaying, falling])
@pytest.mark.parametrize("epochs", [6, 8, 10, 15, 30, 60])
def test_a_curve_that_does_not_rise_rarely_has_an_onset(curve: Curve, epochs: int) -> None:
    rate = sum(one is not None for one in found(curve, epochs)) / 300
    assert rate <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / 300)


@pytest.mark.parametrize(("curve", "epochs", "turn", "share"), [
    (slower, 30, 14, 0.55), (slower, 45, 14, 0.99), (slow, 30, 15, 0.7), (slow, 45, 15, 0.99), (slow, 60, 15, 0.99),
    (sharp, 10, 4, 0.7), (sharp, 15, 6, 0.98), (sharp, 30, 11, 0.99),
])  # fmt: skip
def test_a_rise_is_found_and_dated(curve: Curve, epochs: int, turn: int, share: float) -> None:
    onsets = [one for one in found(curve, epochs) if one is not None]
    assert len(onsets) >= share * 300
    assert abs(np.median([one.epoch for one in onsets]) - turn) <= 3
    assert sum(one.by_epoch >= turn for one in onsets) >= 0.97 * len(onsets)
    assert all(one.epoch <= one.by_epoch for one in onsets)


def test_a_rise_is_compared_with_the_noise_around_it() -> None:
    """With the noise of the whole curve, no onset would be found."""
    onsets = [one for one in found(quiet, 60) if one is not None]
    assert len(onsets) >= 0.7 * 300
    assert all(one.by_epoch >= 44 for one in onsets)


def test_a_rise_after_a_plateau_has_only_an_upper_bound() -> None:
    onsets = [one for one in found(plateau, 30) if one is not None]
    assert len(onsets) >= 0.99 * 300
    assert sum(one.by_epoch >= 20 for one in onsets) >= 0.97 * len(onsets)
    assert np.median([one.by_epoch for one in onsets]) <= 24
    assert {one.epoch for one in onsets} >= {10, 14, 18}, "anywhere on the flat part"


@pytest.mark.parametrize(("by", "least", "most"), [(0.3, 0.02, 0.06), (0.6, 0.16, 0.26)])
def test_noise_that_is_correlated_raises_as_many_false_alarms_as_the_docs_say(
    by: float, least: float, most: float
) -> None:
    shown = found(lambda epochs, rng: correlated(epochs, rng, by), 30)
    assert least <= sum(one is not None for one in shown) / 300 <= most


def test_the_mean_curve_of_real_runs_shows_the_rise_that_single_runs_often_do_not() -> None:
    mean = {name: np.mean(curves(name), axis=0) for name in ("turning", "cosine", "falling")}
    at = onset(*mean["turning"])
    assert at is not None
    assert abs(at.epoch - (mean["turning"][1].argmin() + 1)) <= 2
    assert sum(onset(*run) is not None for run in curves("turning")) < len(curves("turning"))
    assert onset(*mean["cosine"]) is None
    assert onset(*mean["falling"]) is None


def test_the_onset_of_a_smooth_curve_is_its_least_epoch_within_a_window() -> None:
    assert onset(FALLING, TURNING) == Onset(11, 13)  # it turns at 10, and falls more steeply than it rises


def test_a_falling_loss_has_no_onset() -> None:
    assert onset(FALLING, FALLING + 0.1) is None


def test_a_rise_in_the_last_epochs_only_is_no_onset() -> None:
    assert onset(FALLING[:13], TURNING[:13]) is None
    assert onset(FALLING[:18], TURNING[:18]) is not None


def test_a_loss_that_returns_to_its_minimum_has_no_earlier_onset() -> None:
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
