"""Scores compared with values that were computed manually."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import metrics
from harness.records import Evaluation, History, Score, Stages
from tests.conftest import REPOSITORY

RNG_SEED = 0


def evaluation(loss: float, accuracy: float, ece: float = 0.0) -> Evaluation:
    """Of 100 images."""
    right = round(100 * accuracy)
    return Evaluation(
        loss=loss,
        accuracy=accuracy,
        ece=ece,
        calibration_error=math.nan,
        brier=0.0,
        probabilities=np.tile([1.0, 0.0], (100, 1)),
        labels=np.repeat(np.array([0, 1], dtype=np.uint8), [right, 100 - right]),
        losses=np.full(100, loss),
        confusion=np.array([[right, 0], [100 - right, 0]]),
        per_class=(),
    )


def history(**series: list[float]) -> History:
    return History({name.replace("_", "/"): values for name, values in series.items()})


def test_cross_entropy_is_the_mean_of_minus_the_log_probability_of_the_true_class() -> None:
    logs = np.log([[0.5, 0.5], [0.9, 0.1]])
    assert metrics.cross_entropies(logs, np.array([0, 1])).mean() == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)


def test_cross_entropy_keeps_the_loss_of_predictions_whose_probability_would_round_to_zero() -> None:
    assert metrics.cross_entropies(np.array([[0.0, -800.0]]), np.array([1])).mean() == 800.0


def test_cross_entropy_takes_unsigned_labels() -> None:
    logs = np.log([[0.25, 0.75]])
    assert metrics.cross_entropies(logs, np.array([1], dtype=np.uint8)).mean() == pytest.approx(-math.log(0.75))


def test_accuracy_is_the_share_of_right_predictions() -> None:
    assert metrics.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75


# Newcombe 1998, Statistics in Medicine 17, table I, method 3.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(right: int, n: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)
    mirrored = metrics.wilson_interval(n - right, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_intervals_are_those_of_scipy() -> None:
    from scipy import stats

    for right, n in ((8_807, 10_000), (9_611, 10_000), (200, 200), (3, 7)):
        reference = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert metrics.wilson_interval(right, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_intervals_end_at_none_and_all() -> None:
    assert metrics.wilson_interval(0, 7)[0] == 0.0
    assert metrics.wilson_interval(7, 7)[1] == 1.0


@pytest.mark.parametrize(("right", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_an_interval_of_more_right_images_than_images_is_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{right} of {n} images right"):
        metrics.wilson_interval(right, n)


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


def test_growth_is_the_slope_of_the_gap_from_the_onset_on() -> None:
    # From epoch 10 on, the validation loss rises by about 0.3/20 per epoch, and the training loss falls by 0.5/29.
    epochs = np.arange(30)
    train, validation = 0.6 - 0.01 * epochs, np.where(epochs < 9, 0.6 - 0.02 * epochs, 0.42 + 0.005 * (epochs - 9))
    assert metrics.gap_growth(train, validation, onset=10) == pytest.approx(0.015)


def test_growth_is_not_moved_by_a_wild_epoch_and_passes_over_one_without_a_number() -> None:
    train, validation = np.zeros(12), 0.02 * np.arange(12.0)
    validation[4], train[7], validation[9] = 5.0, math.nan, math.inf
    assert metrics.gap_growth(train, validation, onset=2) == pytest.approx(0.02)


def test_growth_is_that_of_scipy() -> None:
    from scipy import stats

    gaps = np.cumsum(np.random.default_rng(RNG_SEED).normal(0.01, 0.02, size=25))
    expected = stats.theilslopes(gaps[4:]).slope
    assert metrics.gap_growth(np.zeros(25), gaps, onset=5) == pytest.approx(expected, abs=1e-12)


def test_growth_of_a_single_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="1 epochs with a finite gap from epoch 5 on"):
        metrics.gap_growth([0.5] * 5, [0.6] * 5, onset=5)


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(RNG_SEED)
    probabilities, labels = rng.dirichlet(np.ones(4), size=50), rng.integers(4, size=50)
    theirs = brier_score_loss(labels, probabilities, labels=range(4))  # of several classes not halved
    assert metrics.brier_score(probabilities, labels) == pytest.approx(theirs)
    assert metrics.brier_score(np.array([[1.0, 0.0]]), np.array([0], dtype=np.uint8)) == 0.0
    assert metrics.brier_score(np.array([[1.0, 0.0]]), np.array([1], dtype=np.uint8)) == 2.0


def calibration_readings(off: float, images: int) -> np.ndarray:
    """(draws, 2): `expected_calibration_error` and `calibration_error` of overconfident models.

    Their accuracy is lower than their confidence by `off`.
    """
    rng = np.random.default_rng(RNG_SEED)
    readings = []
    for _ in range(200_000 // images + 300):
        best = rng.uniform(0.6, 0.95, size=images)
        probabilities = np.stack([best, 1 - best], axis=1)
        labels = (rng.random(images) > best - off).astype(np.uint8)
        of = probabilities, labels
        readings.append((metrics.expected_calibration_error(*of), metrics.calibration_error(*of)))
    return np.array(readings)


@pytest.mark.parametrize(("place", "images"), [(0, 200), (1, 2_000), (2, 10_000)])
@pytest.mark.parametrize(("line", "off"), [(0, 0.0), (2, 0.03), (4, 0.1)])
def test_calibration_reads_as_docs_say(line: int, off: float, place: int, images: int) -> None:
    text = (REPOSITORY / "docs" / "tracking.md").read_text()
    table = re.findall(r"^\|.* \| `(?:ece|calibration_error)` \| (.+) \|$", text, flags=re.MULTILINE)
    said = np.array([cells.split(" | ")[place].split(" ± ") for cells in table[line : line + 2]], dtype=np.float64)
    readings = 100 * calibration_readings(off, images)
    assert (np.abs(readings.mean(axis=0) - said[:, 0]) <= 0.05 + 3 * said[:, 1] / math.sqrt(len(readings))).all()
    assert readings.std(axis=0) == pytest.approx(said[:, 1], rel=0.15, abs=0.06)
    if off == 0.0:
        assert 0.4 < np.mean(readings[:, 1] == 0.0) < 0.65, "every second time 0"
    elif off == 0.1:
        assert math.sqrt(np.mean(readings[:, 1] ** 2)) == pytest.approx(10.0, rel=0.05), "no bias of its square"


def test_the_calibration_error_is_that_of_the_authors_package() -> None:
    """Compared with `lower_bound_scaling_top_ce(p=2, debias=True, num_bins=15)` of uncertainty-calibration 0.1.4."""
    rng = np.random.default_rng(RNG_SEED)
    rough, labels = rng.dirichlet(np.ones(3), size=300), rng.integers(3, size=300)
    assert metrics.calibration_error(rough, labels) == pytest.approx(0.3343017164598078, rel=1e-12)
    calibrated = rng.dirichlet(np.full(3, 0.5), size=301)  # bins of 20 and of 21 images
    drawn = (calibrated.cumsum(axis=1) > rng.random((301, 1))).argmax(axis=1)
    assert metrics.calibration_error(calibrated, drawn) == pytest.approx(0.07839417410999291, rel=1e-12)


def test_too_few_images_have_no_calibration_error() -> None:
    assert math.isnan(metrics.calibration_error(np.full((29, 2), 0.5), np.zeros(29, dtype=np.uint8)))


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
    # With 2 bins, 0.5 belongs to (0, 0.5] and 0.6 to the other bin, so the errors of opposite sign cannot cancel.
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


def test_summary_without_a_validation_split_has_no_validation_metrics() -> None:
    run = history(fit_loss=[0.9, 0.5], fit_accuracy=[0.7, 0.85], train_loss=[0.6, 0.4], train_accuracy=[0.8, 0.9])
    final = {"train": evaluation(0.4, 0.9), "test": evaluation(0.45, 0.87, ece=0.02)}
    low, high = metrics.wilson_interval(87, 100)
    scored = {
        "train_loss": 0.4,
        "train_accuracy": 0.9,
        "test_loss": 0.45,
        "test_accuracy": 0.87,
        "gap_test_loss": 0.05,
        "gap_test_accuracy": 0.03,
    }
    assert metrics.summarize(run, Stages(final, last=final)) == pytest.approx(
        {f"{stage}/{name}": value for stage in ("final", "last") for name, value in scored.items()}
        | {
            "final/fit_loss": 0.5,
            "final/fit_accuracy": 0.85,
            "points/gap_test_accuracy": 3.0,
            "x100/gap_test_loss": 5.0,
            "final/gap_test_accuracy_running": -0.02,
            "final/gap_running_minus_clean": -0.05,
            "final/test_accuracy_low": low,
            "final/test_accuracy_high": high,
            "final/test_ece": 0.02,
            "final/test_brier": 0.0,
            "last/epoch": 2.0,
        }
    )


def test_summary_sets_last_best_and_final_weights_side_by_side() -> None:
    """Early stopping by accuracy has restored epoch 3 of 4; the least loss is in epoch 2."""
    run = history(
        fit_loss=[0.9, 0.5, 0.3, 0.2],
        fit_accuracy=[0.7, 0.85, 0.9, 0.95],
        train_loss=[0.6, 0.4, 0.2, 0.1],
        train_accuracy=[0.8, 0.9, 0.95, 0.99],
        val_loss=[0.65, 0.5, 0.55, 0.7],
        val_accuracy=[0.78, 0.86, 0.87, 0.84],
    )
    run.before = 10
    stages = Stages(
        final={"train": evaluation(0.2, 0.95), "val": evaluation(0.55, 0.87, ece=0.03), "test": evaluation(0.6, 0.86)},
        last={"train": Score(0.1, 0.99), "val": Score(0.7, 0.84), "test": Score(0.75, 0.83)},
        best={"train": Score(0.4, 0.9), "val": Score(0.5, 0.86), "test": Score(0.52, 0.85)},
    )
    summary = metrics.summarize(run, stages)
    assert {name: value for name, value in summary.items() if "gap" in name} == pytest.approx(
        {
            "final/gap_val_loss": 0.35,
            "final/gap_val_accuracy": 0.08,
            "final/gap_test_loss": 0.4,
            "final/gap_test_accuracy": 0.09,
            "points/gap_val_accuracy": 8.0,
            "points/gap_test_accuracy": 9.0,
            "x100/gap_val_loss": 35.0,
            "x100/gap_test_loss": 40.0,
            "final/gap_test_accuracy_running": 0.09,
            "final/gap_running_minus_clean": 0.0,
            "last/gap_val_loss": 0.6,
            "last/gap_val_accuracy": 0.15,
            "last/gap_test_loss": 0.65,
            "last/gap_test_accuracy": 0.16,
            "best/gap_val_loss": 0.1,
            "best/gap_val_accuracy": 0.04,
            "best/gap_test_loss": 0.12,
            "best/gap_test_accuracy": 0.05,
        }
    )
    assert (summary["last/epoch"], summary["best/epoch"]) == (14.0, 12.0)
    assert (summary["last/test_accuracy"], summary["best/test_accuracy"]) == (0.83, 0.85)
    assert (summary["final/val_accuracy_low"], summary["final/val_accuracy_high"]) == metrics.wilson_interval(87, 100)
    assert summary["final/val_ece"] == 0.03
    assert not any(name.startswith("overfit/") for name in summary)


def test_a_stage_whose_weights_cannot_be_evaluated_is_left_out_of_the_summary() -> None:
    run = history(fit_loss=[0.9], fit_accuracy=[0.7], train_loss=[0.6], train_accuracy=[0.8], val_loss=[0.65])
    final = {name: evaluation(0.6, 0.8) for name in ("train", "val", "test")}
    names = {name.partition("/")[0] for name in metrics.summarize(run, Stages(final))}
    assert names == {"final", "points", "x100"}


def test_summary_names_the_onset_where_there_is_one_and_how_fast_the_gap_grows() -> None:
    flat = [0.5] * 30
    run = history(
        fit_loss=flat,
        fit_accuracy=flat,
        train_loss=FALLING.tolist(),
        train_accuracy=flat,
        val_loss=TURNING.tolist(),
        val_accuracy=flat,
    )
    run.before = 40
    final = {name: evaluation(0.6, 0.5) for name in ("train", "val", "test")}
    summary = metrics.summarize(run, Stages(final))
    assert 50.0 <= summary["overfit/onset_epoch"] <= summary["overfit/onset_by_epoch"] <= 54.0
    assert summary["overfit/growth"] == pytest.approx(0.5 / 29 + 0.29 / 19, rel=0.01)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train/loss", "fit/accuracy", "final/train_loss", "final/fit_accuracy", "best/train_accuracy"]),
        ("val", ["val/loss", "gap/accuracy", "final/val_ece", "last/gap_val_loss", "overfit/growth"]),
        ("test", ["final/test_accuracy_low", "final/gap_test_accuracy_running", "final/gap_running_minus_clean"]),
        (None, ["best/epoch", "data/train_images", "time/fit_seconds", "model/parameters", "optimizer/learning_rate"]),
    ],
)
def test_a_metric_belongs_to_the_split_that_it_scores(split: str | None, names: list[str]) -> None:
    assert {name: metrics.split_of(name) for name in names} == dict.fromkeys(names, split)
