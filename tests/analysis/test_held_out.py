"""What the finite number of held-out images adds: compared with simulated seeds and images, both drawn at random."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.comparison import Comparison, compare
from harness.analysis.differences import differences, find_row
from harness.analysis.rows import MeanScore
from harness.records import Predictions, RunRecord
from tests.analysis.records import data, run

IMAGES = 400


def kept(probabilities: np.ndarray, rng: np.random.Generator) -> Predictions:
    """Answers that are right with these probabilities."""
    labels = np.zeros(len(probabilities), dtype=np.uint8)
    predicted = (rng.random(len(probabilities)) > probabilities).astype(np.uint8)
    return Predictions(labels, predicted, (predicted + 0.5).astype(np.float16))


def sweep(
    rng: np.random.Generator, seeds: int = 5, models: tuple[str, ...] = ("a",), spread: float = 0.005
) -> tuple[list[RunRecord], dict[str, dict[str, Predictions]]]:
    """Runs of models that are all right on an image with a probability of its own, which seeds move by `spread`."""
    hard = rng.beta(0.8, 0.2, size=IMAGES)
    runs, predictions = [], {}
    for model in models:
        for seed in range(seeds):
            answers = kept(np.clip(hard + rng.normal(0.0, spread), 0, 1), rng)
            accuracy, loss = float(answers.right.mean()), float(answers.losses.astype(float).mean())
            metrics = {
                "final/train_accuracy": 1.0, "final/test_accuracy": accuracy, "final/gap_test_accuracy": 1 - accuracy,
                "final/test_loss": loss, "final/gap_test_loss": loss, "data/test_images": float(IMAGES),
            }  # fmt: skip
            made = run(model__name=model, seed=seed, metrics=metrics, **data("t", "u"))
            runs.append(made)
            predictions[made.run_id] = {"test": answers}
    return runs, predictions


def gap(comparison: Comparison, name: str = "gap_test_accuracy") -> MeanScore:
    return comparison.rows[0].scores[name]


def test_the_interval_over_seeds_and_images_holds_what_seeds_alone_do_not() -> None:
    rng, truth = np.random.default_rng(1), 1 - 0.8
    narrow, wide = 0, 0
    for _ in range(300):
        runs, predictions = sweep(rng)
        score = gap(compare(runs, predictions=predictions))
        assert score.interval is not None
        assert score.wider is not None
        narrow += score.interval.low <= truth <= score.interval.high
        wide += score.wider.low <= truth <= score.wider.high
    assert wide / 300 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 300))
    assert narrow / 300 < 0.9


def test_without_predictions_the_binomial_formula_stands_in_for_accuracies_only() -> None:
    runs, predictions = sweep(np.random.default_rng(2))
    accuracy = gap(compare(runs), "test_accuracy").mean
    assert gap(compare(runs)).image_error == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / IMAGES))
    assert gap(compare(runs), "gap_test_loss").image_error is None
    assert gap(compare(runs, predictions=predictions), "gap_test_loss").image_error is not None
    assert gap(compare(runs, predictions=predictions), "train_accuracy").image_error == 0.0
    partly = dict(list(predictions.items())[1:])
    assert gap(compare(runs, predictions=partly)).image_error == gap(compare(runs)).image_error


def test_of_one_seed_the_error_of_images_is_that_of_a_mean() -> None:
    runs, predictions = sweep(np.random.default_rng(3), seeds=1)
    right = predictions[runs[0].run_id]["test"].right
    score = gap(compare(runs, predictions=predictions))
    assert score.image_error == pytest.approx(right.std(ddof=1) / math.sqrt(IMAGES))
    assert score.wider is None  # what another seed would change is not known


def test_what_is_hard_for_both_rows_cancels_in_their_difference() -> None:
    runs, predictions = sweep(np.random.default_rng(4), models=("a", "b"))
    comparison = compare(runs, predictions=predictions)
    (finding,) = [
        of for of in differences(comparison, find_row(comparison, "a")).findings if of.measure == "gap_test_accuracy"
    ]
    assert finding.difference is not None
    assert finding.wider is not None
    added = math.sqrt(finding.wider.error**2 - finding.difference.error**2)  # type: ignore[operator]
    alone = compare(runs, predictions=predictions).rows[0].scores["gap_test_accuracy"].image_error
    assert alone is not None
    assert added < 0.5 * alone
    old = compare(runs)
    (finding,) = [of for of in differences(old, find_row(old, "a")).findings if of.measure == "gap_test_accuracy"]
    assert math.sqrt(finding.wider.error**2 - finding.difference.error**2) > alone  # type: ignore[operator, union-attr]
    assert [of.wider for of in differences(old, find_row(old, "a")).findings if of.measure == "gap_test_loss"] == [None]


def test_tests_are_over_what_the_intervals_are_over() -> None:
    runs, predictions = sweep(np.random.default_rng(5), models=("a", "b"))
    comparison = compare(runs, predictions=predictions, interval="seeds+images")
    for finding in differences(comparison, find_row(comparison, "a")).findings:
        assert finding.difference == finding.wider


def test_equal_rows_are_called_different_as_seldom_as_stated_also_on_new_images() -> None:
    rng, called = np.random.default_rng(6), 0
    for _ in range(300):
        runs, predictions = sweep(rng, seeds=4, models=("a", "b"))
        comparison = compare(runs, predictions=predictions, interval="seeds+images")
        first = differences(comparison, find_row(comparison, "a")).findings[0]
        assert first.difference is not None
        called += first.difference.p_value < 0.05
    assert called / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
