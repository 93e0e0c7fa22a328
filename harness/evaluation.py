"""A model judged on one split: everything that is said about it afterwards comes from one pass over the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness import metrics
from harness.errors import TrainingError
from harness.records import Evaluation, FloatArray, Split, UInt8Array

LogProbabilities = Callable[[UInt8Array], FloatArray]


def evaluate(log_probabilities: LogProbabilities, split: Split, class_names: Sequence[str]) -> Evaluation:
    """Judge a model on a split.

    `log_probabilities` takes images (n, ...) and returns natural-log probabilities (n, classes). Logarithms,
    because a probability near zero has already lost the digits that the loss of a very wrong prediction is made of;
    -inf is a probability of zero, and makes the loss infinite where it meets the true class.

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
    )
