"""Evaluates a trained model: on one split, and with the weights of the final, the last and the best epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness import metrics
from harness.errors import TrainingError
from harness.metrics import best_epoch
from harness.models import log_probabilities
from harness.own_metrics import Metric, scores_of
from harness.records import Evaluation, Fitted, FloatArray, ImageArray, Score, Split, Splits, Stages, Weights
from harness.training import weights_of

log = logging.getLogger(__name__)

LogProbabilities = Callable[[ImageArray], FloatArray]


def evaluate(
    log_probabilities: LogProbabilities, split: Split, class_names: Sequence[str], asked_for: Sequence[Metric] = ()
) -> Evaluation:
    """Evaluate a model on a split, with the metrics that the run was `asked_for` besides.

    `log_probabilities` takes images (n, ...) and returns natural-log probabilities (n, classes). Logarithms, because a
    probability near zero has lost the digits that the loss needs. A log-probability of -inf (probability 0) of the
    true class makes the loss infinite.

    Raises:
        TrainingError: the model returns NaN.
        ValueError: the result has another shape than (n, classes).
    """
    logs = np.asarray(log_probabilities(split.images), dtype=np.float64)
    expected = (len(split), len(class_names))
    if logs.shape != expected:
        raise ValueError(f"log-probabilities have the shape {logs.shape}; {expected} (images, classes) is wanted")
    if broken := int(np.isnan(logs).any(axis=1).sum()):
        raise TrainingError(
            f"The model answers NaN for {broken:,} of {len(split):,} images: its training diverged. "
            "Lower optimizer.learning_rate or set optimizer.clipnorm."
        )
    probabilities = np.exp(logs)
    predictions, losses = logs.argmax(axis=1), metrics.cross_entropies(logs, split.labels)
    confusion = metrics.confusion_matrix(predictions, split.labels, len(class_names))
    return Evaluation(
        loss=float(losses.mean()),
        accuracy=metrics.accuracy(predictions, split.labels),
        ece=metrics.expected_calibration_error(probabilities, split.labels),
        calibration_error=metrics.calibration_error(probabilities, split.labels),
        brier=metrics.brier_score(probabilities, split.labels),
        probabilities=probabilities,
        labels=split.labels,
        losses=losses,
        confusion=confusion,
        per_class=metrics.class_scores(confusion, class_names),
        others=scores_of(asked_for, split.labels, probabilities),
    )


def evaluate_stages(
    model: Any, fitted: Fitted, splits: Splits, class_names: Sequence[str], asked_for: Sequence[Metric] = ()
) -> Stages:
    """Evaluate a trained model; `model` has the weights that the run ends with.

    The test images are scored once with each set of weights, after all choices have been made. With the final weights,
    the validation and test images get a complete `Evaluation`. The other scores of an epoch are in the history, so the
    training images are evaluated here only if the final weights belong to no epoch of the history. Stages with the
    same weights get the same scores.

    Raises:
        TrainingError: the model returns NaN with the final weights. A stage whose weights return NaN is left out, and
            the log says so.
    """
    predict, ours, epochs = log_probabilities(model), weights_of(model), list(_epochs(fitted))
    known = [_series_at(fitted, epoch, asked_for)["train"] for _, epoch, weights in epochs if _same(ours, weights)][:1]
    final: Mapping[str, Score] = {
        name: known[0] if known and name == "train" else evaluate(predict, split, class_names, asked_for)
        for name, split in splits.named()
    }
    evaluated: list[tuple[Weights, Mapping[str, Score]]] = [(ours, final)]
    stages: dict[str, Mapping[str, Score]] = {}
    for stage, epoch, weights in epochs:
        scores = next((scores for known, scores in evaluated if _same(known, weights)), None)
        if scores is None:
            try:
                test = evaluate(log_probabilities(model, weights), splits.test, class_names, asked_for)
            except TrainingError as error:
                log.warning("no %s/* metrics (epoch %d): %s", stage, fitted.history.before + epoch, error)
                continue
            scores = _series_at(fitted, epoch, asked_for) | {"test": test}
            evaluated.append((weights, scores))
        stages[stage] = scores
    return Stages(final, stages.get("last"), stages.get("best"))


def _epochs(fitted: Fitted) -> Iterator[tuple[str, int, Weights]]:
    """Stage, epoch (from 1, of this training) and its weights."""
    yield "last", fitted.history.epochs, fitted.last
    if fitted.best is not None:
        yield "best", best_epoch(fitted.history.series["val/loss"]), fitted.best


def _series_at(fitted: Fitted, epoch: int, asked_for: Sequence[Metric]) -> dict[str, Score]:
    series = fitted.history.series
    return {
        split: Score(
            series[f"{split}/loss"][epoch - 1],
            series[f"{split}/accuracy"][epoch - 1],
            others={metric.name: series[f"{split}/{metric.name}"][epoch - 1] for metric in asked_for},
        )
        for split in ("train", "val")
        if f"{split}/loss" in series
    }


def _same(ours: Weights, theirs: Weights) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
