"""Pure functions for scores: no framework, no state.

Every gap is positive if the model overfits: `train - held-out` for accuracies, `held-out - train` for losses.
Accuracies are fractions, losses are mean cross-entropies in nats, epochs count from 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.own_metrics import Metric
from harness.records import ClassScore, Evaluation, FloatArray, History, IntArray, Score, Stages

Labels = npt.NDArray[np.integer]

# The validation loss has risen if the mean of a window of epochs is this many standard errors above the least such mean
# (so many, because the least of many means is biased low). Error rates: tests/test_onset.py, docs/tracking.md.
ONSET_ERRORS = 4.5
_WINDOW, _SHORT_WINDOW = 5, 3  # epochs; the short one for fewer than ten
ONSET_EPOCHS = 2 * _SHORT_WINDOW
"""The fewest epochs in which a rise of the validation loss can be found."""
_NEIGHBOURHOOD = 8  # the noise of a window is estimated from this many epochs on each side of its centre

NORMAL_QUANTILE = 1.959963984540054
"""95 % of a standard normal distribution lies between minus and plus this value."""


_ROUNDING = 1e-12

FOR_CHARTS: Mapping[str, str] = {"accuracy": "points", "loss": "x100"}
"""Prefixes of the final gaps times 100 (`points/gap_val_accuracy`): charts of the MLflow UI show only two decimals."""
RUNNING_MINUS_CLEAN = "final/gap_running_minus_clean"
_OF_A_SPLIT = re.compile(r"(?:(?:final|last|best|points|x100)/(?:gap_)?)?(fit|train|val|test)[/_].+")
_OF_VALIDATION = ("gap/", "overfit/")


def split_of(metric: str) -> str | None:
    """The split (`train`, `val` or `test`) of a metric with this name in the store, or None if it has no split.

    A gap belongs to its held-out split, so `gap/*` and `overfit/*` belong to validation.
    """
    if metric.startswith(_OF_VALIDATION):
        return "val"
    if metric == RUNNING_MINUS_CLEAN:
        return "test"
    match = _OF_A_SPLIT.fullmatch(metric)
    return None if match is None else match[1].replace("fit", "train")


def cross_entropies(log_probabilities: FloatArray, labels: Labels) -> FloatArray:
    """The cross-entropy of each image in nats (n,), from log probabilities (n, classes) and labels (n,)."""
    chosen = np.take_along_axis(log_probabilities, labels.astype(np.int64)[:, None], axis=1)
    return -chosen[:, 0].astype(np.float64)


def accuracy(predictions: Labels, labels: Labels) -> float:
    """The share of predicted classes (n,) that equal the labels (n,)."""
    return float(np.mean(predictions == labels))


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval (low, high) of an accuracy, if `right` of `n` images were classified correctly.

    The score interval (Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22).
    It stays between 0 and 1, and has the right coverage near 0 and 1 too, where p +- 1.96 standard deviations shrinks
    to nothing (Newcombe 1998, Statistics in Medicine 17, method 3).

    Raises:
        ValueError: there is no image, or `right` is not between 0 and n.
    """
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"{right} of {n} images right: n must be at least 1, and right between 0 and n")
    share, squared = right / n, NORMAL_QUANTILE**2
    centre = share + squared / (2 * n)
    margin = NORMAL_QUANTILE * math.sqrt(share * (1 - share) / n + squared / (4 * n**2))
    scale = 1 + squared / n
    # Exactly 0 and 1 at the ends, where the two terms differ by rounding only.
    low = 0.0 if right == 0 else (centre - margin) / scale
    high = 1.0 if right == n else (centre + margin) / scale
    return low, high


def gap_accuracy(train: float, held_out: float) -> float:
    """Train minus held-out accuracy: positive if the model is better on images that it was trained on."""
    return train - held_out


def gap_loss(train: float, held_out: float) -> float:
    """Held-out minus train loss: positive if the model is worse on images that it has not seen."""
    return held_out - train


def best_epoch(validation_loss: Sequence[float]) -> int:
    """The epoch of the least validation loss, the first one of equals. NaN and infinity are never the best.

    Raises:
        ValueError: no epoch has a finite loss.
    """
    losses = np.asarray(validation_loss, dtype=np.float64)
    finite = np.isfinite(losses)
    if not finite.any():
        raise ValueError(f"no finite validation loss among {losses.size} epochs: there is no best epoch")
    return int(np.where(finite, losses, np.inf).argmin()) + 1


def noise(series: Sequence[float] | FloatArray) -> float:
    """The standard deviation of a series around its trend.

    It is the root mean square of the second differences, divided by sqrt(6): they cancel a straight trend, and scale
    white noise by sqrt(6) (the estimator of Gasser, Sroka and Jennen-Steinmetz 1986). Curvature and single outliers
    make it larger. 0.0 for fewer than three values.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.size < 3:
        return 0.0
    return float(np.sqrt(np.mean(np.diff(values, n=2) ** 2) / 6.0))


@dataclass(frozen=True)
class Onset:
    """The onset of overfitting: the validation loss rises from about `epoch` on, which is shown by epoch `by_epoch`.

    Both count from 1. `by_epoch` is an upper bound: the rise begins before it in at least 97 % of the simulated curves
    of each kind, for a slow rise long before it. There is no lower bound: if the loss is flat before it rises, `epoch`
    may be anywhere on the flat part (tests/test_onset.py).
    """

    epoch: int
    by_epoch: int


def onset(train_loss: Sequence[float] | FloatArray, validation_loss: Sequence[float] | FloatArray) -> Onset | None:
    """Where the validation loss begins to rise, or None if no rise is shown. The gap may grow without a rise.

    The loss is averaged over windows of five epochs (three if there are fewer than ten epochs). `epoch` is the centre
    of the window with the least mean. It counts as the onset if the mean of the last window, which must not overlap
    it, is higher by more than `ONSET_ERRORS` standard errors. `by_epoch` is the centre of the first window from which
    on all windows are higher by as much. The noise of a window is estimated from the epochs around it (`noise`),
    because it may shrink with the learning rate; it is assumed to be independent from epoch to epoch. The losses may
    also be mean curves of several runs of equal length.

    The result is also None if the training loss ends higher than at the onset (training itself got worse, which is not
    overfitting), and for fewer than six finite epochs. Epochs with a loss that is not finite are skipped.
    """
    train = np.asarray(train_loss, dtype=np.float64)
    validation = np.asarray(validation_loss, dtype=np.float64)
    epochs = np.flatnonzero(np.isfinite(train) & np.isfinite(validation))
    if epochs.size < ONSET_EPOCHS:
        return None
    train, validation = train[epochs], validation[epochs]
    window = _WINDOW if epochs.size >= 2 * _WINDOW else _SHORT_WINDOW
    half = window // 2
    means = np.convolve(validation, np.full(window, 1 / window), "valid")
    errors = np.array([_error_of_mean(validation, centre, window) for centre in range(half, epochs.size - half)])
    least = int(means.argmin())
    risen = means - means[least] > ONSET_ERRORS * np.hypot(errors, errors[least]) + _ROUNDING * np.abs(means).max()
    centre, last = least + half, len(means) - 1
    if last - least < window or not risen[last] or np.median(train[-window:]) > train[centre]:
        return None
    by = int(np.flatnonzero(~risen)[-1]) + 1 + half
    return Onset(int(epochs[centre]) + 1, int(epochs[by]) + 1)


def _error_of_mean(series: FloatArray, centre: int, window: int) -> float:
    around = series[max(0, centre - _NEIGHBOURHOOD) : centre + _NEIGHBOURHOOD + 1]
    return noise(around) / math.sqrt(window)


def gap_growth(train_loss: Sequence[float], validation_loss: Sequence[float], onset: int) -> float:
    """How fast the gap of loss grows from epoch `onset` (from 1) on, in nats per epoch; negative if it shrinks.

    The Theil-Sen slope (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63): the
    median of the slopes between all pairs of epochs, which is robust to outliers. Epochs with a loss that is not finite
    are skipped.

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

    Each array has the shape (bins,): `counts` the images in a bin, `right` those of them that were predicted correctly,
    `confidence` the sum of their confidences.
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
    """The expected calibration error, a fraction, from probabilities (n, classes) and labels (n,).

    The mean over images of |accuracy - mean confidence| of their bin (Guo, Pleiss, Sun and Weinberger 2017, "On
    Calibration of Modern Neural Networks", equation 3), with the bins of `calibration`.
    """
    return calibration(probabilities, labels, bins).error


def calibration_error(probabilities: FloatArray, labels: Labels, bins: int = 15) -> float:
    """The debiased calibration error, a fraction, from probabilities (n, classes) and labels (n,).

    Images are sorted by confidence into `bins` bins of equal size. The error is the root of the mean over bins of the
    squared difference between accuracy and mean confidence. From each squared difference, its bias p (1 - p) / (n - 1)
    is subtracted, for a bin of n images with accuracy p (Kumar, Liang and Ma 2019, "Verified Uncertainty Calibration",
    section 4.1). The result is 0.0 if the mean becomes negative, and NaN for fewer than two images per bin. Unlike
    `expected_calibration_error`, it is comparable between splits of different sizes.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    if len(labels) < 2 * bins:
        return math.nan
    total = 0.0
    for members in np.array_split(np.argsort(confidence, kind="stable"), bins):
        share = float(right[members].mean())
        off = share - float(confidence[members].mean())
        total += len(members) * (off**2 - share * (1 - share) / (len(members) - 1))
    return math.sqrt(max(0.0, total / len(labels)))


def brier_score(probabilities: FloatArray, labels: Labels) -> float:
    """The Brier score, from 0 (best) to 2, from probabilities (n, classes) and labels (n,).

    The mean over images of the squared distance between the probabilities and the one-hot label (Brier 1950,
    "Verification of forecasts expressed in terms of probability").
    """
    true = np.take_along_axis(probabilities, labels.astype(np.int64)[:, None], axis=1)[:, 0]
    return float(((probabilities**2).sum(axis=1) - 2 * true + 1).mean())


def confusion_matrix(predictions: Labels, labels: Labels, classes: int) -> IntArray:
    """Counts (classes, classes): row i, column j has the number of images of class i that were predicted as class j."""
    cells = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_scores(confusion: IntArray, class_names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall, F1 and support of each class. 0 divided by 0 (a class never predicted) is 0.0."""
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


def summarize(history: History, stages: Stages, asked_for: Sequence[Metric] = ()) -> dict[str, float]:
    """The scalars that are logged once for a run, by their names in the store.

    `history` has the series of every epoch, `stages` the scores of each set of weights. `final/*` differs from `last/*`
    if early stopping restored earlier weights; `final/fit_*` is always from the last epoch. Scalars that cannot be
    computed are left out: those of validation without such a split, `best/*` if no validation loss is finite, and
    `overfit/*` if `onset` finds no rise.
    """
    scalars = {f"final/fit_{name}": history.last(f"fit/{name}") for name in ("loss", "accuracy")}
    for stage, scores in stages.named():
        scalars |= _scored(stage, scores, asked_for)
    scalars |= {
        f"{unit}/gap_{split}_{name}": round(100 * scalars[f"final/gap_{split}_{name}"], 2)
        for split in stages.held_out for name, unit in FOR_CHARTS.items()
    }  # fmt: skip
    for split, evaluation in stages.held_out.items():
        scalars |= _trust_scores(f"final/{split}", evaluation)
    running = gap_accuracy(scalars["final/fit_accuracy"], scalars["final/test_accuracy"])
    scalars["final/gap_test_accuracy_running"] = running
    scalars[RUNNING_MINUS_CLEAN] = running - scalars["final/gap_test_accuracy"]
    if stages.last is not None:
        scalars["last/epoch"] = float(history.last_epoch)
    if stages.best is not None:
        scalars["best/epoch"] = float(history.before + best_epoch(history.series["val/loss"]))
    return scalars | _summarize_overfitting(history)


def _scored(stage: str, scores: Mapping[str, Score], asked_for: Sequence[Metric]) -> dict[str, float]:
    """Losses, accuracies, the metrics `asked_for`, and gaps of one set of weights."""
    scalars: dict[str, float] = {}
    for split, score in scores.items():
        scalars |= {f"{stage}/{split}_loss": score.loss, f"{stage}/{split}_accuracy": score.accuracy}
        scalars |= {f"{stage}/{split}_{name}": value for name, value in score.others.items()}
    train = scores["train"]
    for split in scores.keys() & {"val", "test"}:
        scalars[f"{stage}/gap_{split}_loss"] = gap_loss(train.loss, scores[split].loss)
        scalars[f"{stage}/gap_{split}_accuracy"] = gap_accuracy(train.accuracy, scores[split].accuracy)
        for metric in asked_for:
            gap = metric.gap(train.others[metric.name], scores[split].others[metric.name])
            scalars[f"{stage}/gap_{split}_{metric.name}"] = gap
    return scalars


def _trust_scores(prefix: str, evaluation: Evaluation) -> dict[str, float]:
    """The interval of the accuracy, and the scores of calibration."""
    low, high = wilson_interval(evaluation.right, len(evaluation.labels))
    scores = {
        f"{prefix}_accuracy_low": low,
        f"{prefix}_accuracy_high": high,
        f"{prefix}_ece": evaluation.ece,
        f"{prefix}_brier": evaluation.brier,
    }
    if not math.isnan(evaluation.calibration_error):
        scores[f"{prefix}_calibration_error"] = evaluation.calibration_error
    return scores


def _summarize_overfitting(history: History) -> dict[str, float]:
    train, validation = history.series["train/loss"], history.series.get("val/loss", [])
    if not validation or (found := onset(train, validation)) is None:
        return {}
    return {
        "overfit/onset_epoch": float(history.before + found.epoch),
        "overfit/onset_by_epoch": float(history.before + found.by_epoch),
        "overfit/growth": gap_growth(train, validation, found.epoch),
    }
