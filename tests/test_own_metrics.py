"""Metrics that a run is asked for: checked before an import, gaps that are positive where a model overfits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import TrainingError
from harness.own_metrics import load_metrics, metric_problems, scores_of, top_k_accuracy
from harness.user_code import allow
from tests.user_code import user_directory

MODULE = """
import numpy as np
def sure(labels, probabilities): return np.mean(probabilities.max(axis=1))
def error(labels, probabilities): return np.mean(probabilities.argmax(axis=1) != labels)
error.greater_is_better = False
def broken(labels, probabilities): return probabilities[len(probabilities)]
def text(labels, probabilities): return "much"
def loss(labels, probabilities): return 0
def short(labels): return 0
"""
LABELS, PROBABILITIES = np.array([0, 1], dtype=np.uint8), np.array([[0.75, 0.15, 0.1], [0.5, 0.2, 0.3]])


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> Iterator[None]:
    with user_directory(tmp_path, own_scores=MODULE):
        allow([f"own_scores:{name}" for name in ("sure", "error", "broken", "text")])
        yield


def test_top_k_counts_the_classes_that_are_more_probable() -> None:
    assert [top_k_accuracy(k, LABELS, PROBABILITIES) for k in (1, 2, 3, 50)] == [0.5, 0.5, 1.0, 1.0]


def test_gaps_are_positive_where_the_training_images_score_better() -> None:
    sure, error = load_metrics(["own_scores:sure", "own_scores:error"])
    assert scores_of([sure, error], LABELS, PROBABILITIES) == {"sure": 0.625, "error": 0.5}
    assert (sure.gap(0.9, 0.6), error.gap(0.1, 0.4)) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("top_0_accuracy", "Write top_5_accuracy"),
        ("recall", "Write top_5_accuracy .* or package.module:function"),
        ("own_scores:sur", "Did you mean 'sure'"),
        ("own_scores:short", r"is called with \(labels, probabilities\)"),
        ("own_scores:loss", "loss would be logged under a name that is taken"),
        ("lambda labels: 0", "is no reference"),
    ],
)
def test_what_is_no_metric_is_refused_before_an_import(name: str, said: str) -> None:
    (problem,) = metric_problems([name])
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problem)
    assert not list(metric_problems(["top_3_accuracy", "own_scores:sure"]))
    assert len(list(metric_problems(["own_scores:sure", "own_scores:sure"]))) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("broken", r"failed: IndexError.*\(own_scores.py, line 6\)"), ("text", "returns str. It must return one number")],
)
def test_a_metric_that_fails_is_one_message(name: str, said: str) -> None:
    with pytest.raises(TrainingError, match=f"The metric {name} {said}"):
        scores_of(load_metrics([f"own_scores:{name}"]), LABELS, PROBABILITIES)
