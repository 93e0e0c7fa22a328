"""Scores against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import metrics
from harness.records import Evaluation, History

RNG_SEED = 0


def evaluation(loss: float, accuracy: float, ece: float = 0.0) -> Evaluation:
    return Evaluation(
        loss=loss,
        accuracy=accuracy,
        ece=ece,
        probabilities=np.array([[1.0, 0.0]]),
        labels=np.array([0], dtype=np.uint8),
        confusion=np.array([[1, 0], [0, 0]]),
        per_class=(),
    )


def history(**series: list[float]) -> History:
    return History({name.replace("_", "/"): values for name, values in series.items()})


def test_cross_entropy_is_the_mean_of_minus_the_log_probability_of_the_true_class() -> None:
    logs = np.log([[0.5, 0.5], [0.9, 0.1]])
    assert metrics.cross_entropy(logs, np.array([0, 1])) == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)


def test_cross_entropy_keeps_the_loss_of_predictions_whose_probability_would_round_to_zero() -> None:
    assert metrics.cross_entropy(np.array([[0.0, -800.0]]), np.array([1])) == 800.0


def test_cross_entropy_takes_unsigned_labels() -> None:
    logs = np.log([[0.25, 0.75]])
    assert metrics.cross_entropy(logs, np.array([1], dtype=np.uint8)) == pytest.approx(-math.log(0.75))


def test_accuracy_is_the_share_of_right_predictions() -> None:
    assert metrics.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75


def test_both_gaps_are_positive_for_a_model_that_overfits() -> None:
    assert metrics.gap_accuracy(train=0.95, held_out=0.88) == pytest.approx(0.07)
    assert metrics.gap_loss(train=0.10, held_out=0.42) == pytest.approx(0.32)


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([0.5, 0.3, 0.4], 2),
        ([0.5, 0.3, 0.3], 2),
        ([0.5], 1),
        ([math.nan, 0.5, 0.4, math.nan], 3),
        ([math.inf, 0.5, -math.inf], 2),
    ],
)
def test_best_epoch_is_the_first_of_the_least_finite_losses(losses: list[float], epoch: int) -> None:
    assert metrics.best_epoch(losses) == epoch


@pytest.mark.parametrize("losses", [[], [math.nan, math.inf]])
def test_best_epoch_refuses_losses_of_which_none_is_finite(losses: list[float]) -> None:
    with pytest.raises(ValueError, match="no finite validation loss"):
        metrics.best_epoch(losses)


def test_noise_is_zero_on_a_straight_line_and_the_deviation_on_white_noise() -> None:
    jitter = np.random.default_rng(RNG_SEED).normal(0.0, 0.02, size=2_000)
    assert metrics.noise(np.linspace(1.0, 0.2, 50)) == pytest.approx(0.0, abs=1e-12)
    assert metrics.noise(np.linspace(1.0, 0.2, 2_000) + jitter) == pytest.approx(0.02, rel=0.1)


FALLING = np.linspace(0.6, 0.1, 30)
TURNING = np.concatenate([np.linspace(0.6, 0.3, 10), np.linspace(0.31, 0.6, 20)])


def jitter(deviation: float, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, deviation, size=size)


def test_onset_of_a_smooth_curve_is_its_least_epoch() -> None:
    assert metrics.onset_epoch(FALLING, TURNING) == 10


@pytest.mark.parametrize("seed", range(5))
def test_onset_of_a_noisy_curve_lies_soon_after_the_turn(seed: int) -> None:
    onset = metrics.onset_epoch(FALLING, TURNING + jitter(0.005, 30, seed))
    assert onset is not None
    assert 9 <= onset <= 13


def test_a_falling_loss_has_no_onset() -> None:
    assert metrics.onset_epoch(FALLING, FALLING + 0.1) is None
    assert metrics.onset_epoch(FALLING, FALLING + 0.1 + jitter(0.005, 30, seed=1)) is None


def test_a_flat_noisy_loss_hardly_ever_has_an_onset() -> None:
    found = [metrics.onset_epoch(FALLING, 0.3 + jitter(0.01, 30, seed)) for seed in range(300)]
    assert sum(epoch is not None for epoch in found) <= 9


def test_a_turn_seen_for_too_few_epochs_is_no_onset() -> None:
    assert metrics.onset_epoch(FALLING[:12], TURNING[:12]) is None
    assert metrics.onset_epoch(FALLING[:13], TURNING[:13]) == 10


def test_a_loss_that_comes_back_to_its_least_has_no_onset_before_that() -> None:
    bump = np.full(20, 0.3)
    bump[5:10] = 0.5
    assert metrics.onset_epoch(FALLING[:20], bump) is None


def test_a_run_whose_training_loss_rises_too_diverges_and_does_not_overfit() -> None:
    assert metrics.onset_epoch(TURNING, TURNING + 0.1) is None


def test_onset_passes_over_epochs_without_a_finite_loss_and_still_counts_them() -> None:
    with_gap = np.insert(TURNING, 3, math.nan)
    assert metrics.onset_epoch(np.insert(FALLING, 3, math.nan), with_gap) == 11


def test_four_epochs_are_too_few_for_an_onset() -> None:
    assert metrics.onset_epoch([0.5, 0.4, 0.3, 0.2], [0.3, 0.4, 0.5, 0.6]) is None
    assert metrics.onset_epoch([0.5, 0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.5, 0.6, 0.7]) == 1


def test_a_calibrated_model_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (4, 1))
    assert metrics.expected_calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0.0)


def test_bins_hold_every_image_once_and_a_confidence_on_an_edge_belongs_below_it() -> None:
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [0.1, 0.9], [0.0, 1.0]])
    bins = metrics.calibration(probabilities, np.array([0, 1, 1, 1]), bins=4)
    assert bins.counts.tolist() == [0, 1, 1, 2]
    assert bins.right.tolist() == [0.0, 1.0, 0.0, 2.0]
    assert bins.confidence.tolist() == pytest.approx([0.0, 0.5, 0.75, 1.9])
    assert bins.error == pytest.approx((0.5 + 0.75 + 0.1) / 4)


def test_calibration_error_weighs_each_bin_by_its_images() -> None:
    # Three images at 90% confidence, all right (off by 0.1); one at 60%, wrong (off by 0.6).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    error = metrics.expected_calibration_error(probabilities, np.array([0, 0, 0, 1]))
    assert error == pytest.approx(0.75 * 0.1 + 0.25 * 0.6)


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one() -> None:
    # With 2 bins 0.5 belongs to (0, 0.5]: apart from 0.6, the two errors of opposite sign cannot cancel.
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    error = metrics.expected_calibration_error(probabilities, np.array([0, 1]), bins=2)
    assert error == pytest.approx((0.5 + 0.6) / 2)


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    predictions, labels = np.array([1, 1, 2, 0]), np.array([0, 1, 2, 0], dtype=np.uint8)
    assert metrics.confusion_matrix(predictions, labels, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_class_scores_of_a_small_matrix() -> None:
    first, second = metrics.class_scores(np.array([[3, 1], [2, 4]]), ["a", "b"])
    assert (first.name, first.support, first.precision, first.recall) == ("a", 4, 3 / 5, 3 / 4)
    assert first.f1 == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert (second.name, second.support, second.precision, second.recall) == ("b", 6, 4 / 5, 4 / 6)


def test_scores_of_a_class_that_is_neither_there_nor_predicted_are_zero() -> None:
    absent = metrics.class_scores(np.array([[2, 0], [0, 0]]), ["a", "b"])[1]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (0.0, 0.0, 0.0, 0)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1),
)
def test_scores_agree_with_each_other_on_any_predictions(pairs: list[tuple[int, int]]) -> None:
    predictions, labels = np.array(pairs).T
    confusion = metrics.confusion_matrix(predictions, labels, 5)
    scores = metrics.class_scores(confusion, "abcde")
    assert confusion.sum() == len(pairs)
    weighted_recall = sum(score.recall * score.support for score in scores) / len(pairs)
    assert weighted_recall == pytest.approx(metrics.accuracy(predictions, labels))
    assert all(0.0 <= value <= 1.0 for score in scores for value in (score.precision, score.recall, score.f1))


def test_summary_without_a_validation_split_has_no_word_of_validation() -> None:
    run = history(fit_loss=[0.9, 0.5], fit_accuracy=[0.7, 0.85], train_loss=[0.6, 0.4], train_accuracy=[0.8, 0.9])
    summary = metrics.summarize(run, {"train": evaluation(0.4, 0.9), "test": evaluation(0.45, 0.87, ece=0.02)})
    assert summary == pytest.approx(
        {
            "final/fit_loss": 0.5,
            "final/fit_accuracy": 0.85,
            "final/train_loss": 0.4,
            "final/train_accuracy": 0.9,
            "final/test_loss": 0.45,
            "final/test_accuracy": 0.87,
            "final/gap_test_loss": 0.05,
            "final/gap_test_accuracy": 0.03,
            "final/gap_test_accuracy_running": -0.02,
            "final/test_ece": 0.02,
        }
    )


def test_summary_with_a_validation_split_adds_its_gaps_and_the_best_epoch() -> None:
    run = history(
        fit_loss=[0.9, 0.5, 0.3],
        fit_accuracy=[0.7, 0.85, 0.9],
        train_loss=[0.6, 0.4, 0.2],
        train_accuracy=[0.8, 0.9, 0.95],
        val_loss=[0.65, 0.5, 0.55],
        val_accuracy=[0.78, 0.86, 0.87],
    )
    evaluations = {"train": evaluation(0.2, 0.95), "val": evaluation(0.55, 0.87), "test": evaluation(0.6, 0.86)}
    summary = metrics.summarize(run, evaluations)
    assert {name: value for name, value in summary.items() if "val" in name or "best" in name} == pytest.approx(
        {
            "final/val_loss": 0.55,
            "final/val_accuracy": 0.87,
            "final/gap_val_loss": 0.35,
            "final/gap_val_accuracy": 0.08,
            "best/epoch": 2.0,
            "best/train_loss": 0.4,
            "best/train_accuracy": 0.9,
            "best/val_loss": 0.5,
            "best/val_accuracy": 0.86,
            "best/gap_val_loss": 0.1,
            "best/gap_val_accuracy": 0.04,
        }
    )
    assert "overfit/onset_epoch" not in summary


def test_summary_names_the_onset_where_there_is_one() -> None:
    flat = [0.5] * 30
    run = history(
        fit_loss=flat,
        fit_accuracy=flat,
        train_loss=FALLING.tolist(),
        train_accuracy=flat,
        val_loss=TURNING.tolist(),
        val_accuracy=flat,
    )
    evaluations = {"train": evaluation(0.1, 0.5), "val": evaluation(0.6, 0.5), "test": evaluation(0.6, 0.5)}
    assert metrics.summarize(run, evaluations)["overfit/onset_epoch"] == 10.0
