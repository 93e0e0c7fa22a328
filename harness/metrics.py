"""Scores computed from numbers alone: no framework, no state.

Every gap is positive where the model overfits: `train - held-out` for accuracies, `held-out - train` for losses.
Accuracies are fractions, losses are mean cross-entropies in nats, epochs count from 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.records import ClassScore, Evaluation, FloatArray, History, IntArray, Score, Stages

Labels = npt.NDArray[np.integer]

# An epoch counts as overfitted where its validation loss lies more than this many deviations of the noise above the
# least (the least of a noisy curve is itself about two deviations too low) ...
ONSET_DEVIATIONS = 4.0
# ... and an onset is believed when this many epochs at least have passed since. Simulated with both as they are: a flat
# curve of 8 to 60 epochs with normal noise is given an onset in about 1 of 100 cases, one that still falls in 1 of 600.
ONSET_EPOCHS_SEEN = 3
_ONSET_EPOCHS_NEEDED = 5

NORMAL_QUANTILE = 1.959963984540054
"""Between plus and minus this lies 95 % of a standard normal distribution."""


RUNNING_MINUS_CLEAN = "final/gap_running_minus_clean"
_OF_A_SPLIT = re.compile(r"(?:(?:final|last|best)/(?:gap_)?)?(fit|train|val|test)[/_].+")
_OF_VALIDATION = ("gap/", "overfit/")


def split_of(metric: str) -> str | None:
    """The split (`train`, `val` or `test`) that a metric scores, by its name in the store; None for one of no split.

    A gap belongs to its held-out split: the series `gap/*` and `overfit/*` to the validation images.
    """
    if metric.startswith(_OF_VALIDATION):
        return "val"
    if metric == RUNNING_MINUS_CLEAN:
        return "test"
    match = _OF_A_SPLIT.fullmatch(metric)
    return None if match is None else match[1].replace("fit", "train")


def cross_entropies(log_probabilities: FloatArray, labels: Labels) -> FloatArray:
    """The cross-entropy of each image in nats (n,), from natural-log probabilities (n, classes) and labels (n,)."""
    chosen = np.take_along_axis(log_probabilities, labels.astype(np.int64)[:, None], axis=1)
    return -chosen[:, 0].astype(np.float64)


def accuracy(predictions: Labels, labels: Labels) -> float:
    """The share of predicted classes (n,) that equal the labels (n,)."""
    return float(np.mean(predictions == labels))


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval (low, high) of an accuracy of which `right` of `n` images are the sample.

    The score interval (Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22):
    it stays within 0 and 1, and covers near them too, where p +- 1.96 deviations shrinks to nothing (Newcombe 1998,
    Statistics in Medicine 17, method 3).

    Raises:
        ValueError: there is no image, or `right` is not among 0..n.
    """
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"{right} right of {n} images: from 0 to all of at least one image can be right")
    share, squared = right / n, NORMAL_QUANTILE**2
    centre = share + squared / (2 * n)
    margin = NORMAL_QUANTILE * math.sqrt(share * (1 - share) / n + squared / (4 * n**2))
    scale = 1 + squared / n
    # Exactly 0 and 1 at the ends, where the two terms are equal but for rounding.
    low = 0.0 if right == 0 else (centre - margin) / scale
    high = 1.0 if right == n else (centre + margin) / scale
    return low, high


def gap_accuracy(train: float, held_out: float) -> float:
    """How much better the model does on what it was trained on: train minus held-out accuracy."""
    return train - held_out


def gap_loss(train: float, held_out: float) -> float:
    """How much worse the model does on what it has not seen: held-out minus train loss."""
    return held_out - train


def best_epoch(validation_loss: Sequence[float]) -> int:
    """The epoch of the least validation loss, the first of equals. NaN and infinity are never the best.

    Raises:
        ValueError: no epoch has a finite loss.
    """
    losses = np.asarray(validation_loss, dtype=np.float64)
    finite = np.isfinite(losses)
    if not finite.any():
        raise ValueError(f"no finite validation loss among {losses.size} epochs: there is no best epoch")
    return int(np.where(finite, losses, np.inf).argmin()) + 1


def noise(series: Sequence[float] | FloatArray) -> float:
    """The standard deviation of what makes a series jump from epoch to epoch, apart from its trend.

    Second differences cancel any straight trend and scale white noise by sqrt(6); their median absolute value times
    1.4826 is the deviation of normal noise, and the few steep epochs at the start hardly move a median (the estimator
    of Gasser, Sroka and Jennen-Steinmetz 1986, in the robust form). Curvature only makes it larger. 0.0 for fewer
    than three values.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.size < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(values, n=2))) / np.sqrt(6.0))


def onset_epoch(train_loss: Sequence[float], validation_loss: Sequence[float]) -> int | None:
    """The epoch after which the validation loss only lies above its least value, beyond its noise, or None.

    Precisely: the last epoch whose validation loss is at most the least one plus `ONSET_DEVIATIONS` times `noise`.
    None where that epoch is one of the last `ONSET_EPOCHS_SEEN` (the loss still falls, is flat, or has only just
    turned), where the training loss ended higher than it was at the onset (training itself got worse, which is no
    overfitting), and where fewer than five epochs are finite. Epochs with a loss that is not finite are passed over.
    """
    train = np.asarray(train_loss, dtype=np.float64)
    validation = np.asarray(validation_loss, dtype=np.float64)
    epochs = np.flatnonzero(np.isfinite(train) & np.isfinite(validation))
    if epochs.size < _ONSET_EPOCHS_NEEDED:
        return None
    train, validation = train[epochs], validation[epochs]
    near_least = validation <= validation.min() + ONSET_DEVIATIONS * noise(validation)
    onset = int(np.flatnonzero(near_least)[-1])
    if epochs.size - 1 - onset < ONSET_EPOCHS_SEEN or np.median(train[-ONSET_EPOCHS_SEEN:]) > train[onset]:
        return None
    return int(epochs[onset]) + 1


def gap_growth(train_loss: Sequence[float], validation_loss: Sequence[float], onset: int) -> float:
    """How fast the gap of loss grows from epoch `onset` (from 1) on, in nats an epoch; negative where it shrinks.

    The Theil-Sen slope (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63): the
    median of the slopes between all pairs of epochs, which single wild epochs do not move. Epochs with a loss that is
    not finite are passed over.

    Raises:
        ValueError: fewer than two epochs from the onset on are finite.
    """
    pairs = zip(train_loss[onset - 1 :], validation_loss[onset - 1 :], strict=True)
    gaps = np.array([gap_loss(train, held_out) for train, held_out in pairs])
    epochs = np.flatnonzero(np.isfinite(gaps))
    if epochs.size < 2:
        raise ValueError(f"{epochs.size} epochs with a finite gap from epoch {onset} on: a slope needs two")
    gaps = gaps[epochs]
    slopes = [(gaps[lag:] - gaps[:-lag]) / (epochs[lag:] - epochs[:-lag]) for lag in range(1, epochs.size)]
    return float(np.median(np.concatenate(slopes)))


@dataclass(frozen=True)
class Calibration:
    """Images by the confidence of their prediction, in bins of equal width from 0 to 1.

    `counts` (bins,) says how many images a bin has, `right` how many of them are right, `confidence` the sum of their
    confidences.
    """

    counts: IntArray
    right: FloatArray
    confidence: FloatArray

    @property
    def error(self) -> float:
        """The expected calibration error, a fraction; see `expected_calibration_error`."""
        return float(np.abs(self.right - self.confidence).sum() / self.counts.sum())


def calibration(probabilities: FloatArray, labels: Labels, bins: int = 15) -> Calibration:
    """Bin images by the probability (n, classes) of their most probable class into `bins` intervals ((m-1)/M, m/M]."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    interior_edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    which = np.digitize(confidence, interior_edges, right=True)
    return Calibration(
        counts=np.bincount(which, minlength=bins).astype(np.int64),
        right=np.bincount(which, weights=right, minlength=bins).astype(np.float64),
        confidence=np.bincount(which, weights=confidence, minlength=bins).astype(np.float64),
    )


def expected_calibration_error(probabilities: FloatArray, labels: Labels, bins: int = 15) -> float:
    """How far confidence and accuracy lie apart, as a fraction.

    The mean over images of |accuracy - mean confidence| of their bin (Guo, Pleiss, Sun and Weinberger 2017, "On
    Calibration of Modern Neural Networks", equation 3), binned as `calibration` does.
    """
    return calibration(probabilities, labels, bins).error


def confusion_matrix(predictions: Labels, labels: Labels, classes: int) -> IntArray:
    """Counts (classes, classes): row i, column j holds the images of class i that were taken for class j."""
    cells = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_scores(confusion: IntArray, class_names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall, F1 and support of each class. A ratio of 0 to 0 (a class never predicted, say) is 0.0."""
    hits = np.diagonal(confusion)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return tuple(
        ClassScore(
            name=name,
            precision=_ratio(hits[i], predicted[i]),
            recall=_ratio(hits[i], support[i]),
            f1=_ratio(2 * hits[i], predicted[i] + support[i]),
            support=int(support[i]),
        )
        for i, name in enumerate(class_names)
    )


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def summarize(history: History, stages: Stages) -> dict[str, float]:
    """The scalars that are logged once for a run, by their names in the store.

    `history` holds the series of every epoch, `stages` what the weights of each stage score. `final/*` differs from
    `last/*` where early stopping restored earlier weights; `final/fit_*` always comes from the last epoch trained. What
    cannot be computed is absent: everything of validation without such a split, `best/*` where no validation loss is
    finite, `overfit/*` where `onset_epoch` finds none.
    """
    scalars = {f"final/fit_{name}": history.last(f"fit/{name}") for name in ("loss", "accuracy")}
    for stage, scores in stages.named():
        scalars |= _scored(stage, scores)
    for split, evaluation in stages.held_out.items():
        scalars |= _trusted(f"final/{split}", evaluation)
    running = gap_accuracy(scalars["final/fit_accuracy"], scalars["final/test_accuracy"])
    scalars["final/gap_test_accuracy_running"] = running
    scalars[RUNNING_MINUS_CLEAN] = running - scalars["final/gap_test_accuracy"]
    if stages.last is not None:
        scalars["last/epoch"] = float(history.last_epoch)
    if stages.best is not None:
        scalars["best/epoch"] = float(history.before + best_epoch(history.series["val/loss"]))
    return scalars | _summarize_overfitting(history)


def _scored(stage: str, scores: Mapping[str, Score]) -> dict[str, float]:
    """Losses, accuracies and gaps of one set of weights."""
    scalars: dict[str, float] = {}
    for split, score in scores.items():
        scalars |= {f"{stage}/{split}_loss": score.loss, f"{stage}/{split}_accuracy": score.accuracy}
    train = scores["train"]
    for split in scores.keys() & {"val", "test"}:
        scalars[f"{stage}/gap_{split}_loss"] = gap_loss(train.loss, scores[split].loss)
        scalars[f"{stage}/gap_{split}_accuracy"] = gap_accuracy(train.accuracy, scores[split].accuracy)
    return scalars


def _trusted(prefix: str, evaluation: Evaluation) -> dict[str, float]:
    """How far an accuracy and the model's own confidence can be trusted."""
    low, high = wilson_interval(evaluation.right, len(evaluation.labels))
    return {f"{prefix}_accuracy_low": low, f"{prefix}_accuracy_high": high, f"{prefix}_ece": evaluation.ece}


def _summarize_overfitting(history: History) -> dict[str, float]:
    train, validation = history.series["train/loss"], history.series.get("val/loss", [])
    if not validation or (onset := onset_epoch(train, validation)) is None:
        return {}
    growth = gap_growth(train, validation, onset)
    return {"overfit/onset_epoch": float(history.before + onset), "overfit/growth": growth}
