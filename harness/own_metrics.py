"""Scores that a run is asked for (`metrics`): top-k accuracies, and functions of the user's own.

A function takes labels (n,) and probabilities (n, classes) and returns a number. More is better, unless it has the
attribute `greater_is_better = False`; so that every gap is positive where the model overfits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.errors import ConfigError, TrainingError
from harness.records import FloatArray
from harness.user_code import check_options, describe_error, is_reference, load, parse

ARGUMENTS = ("labels", "probabilities")
_TOP = re.compile(r"top_([1-9][0-9]{0,4})_accuracy")
_TAKEN = frozenset({"loss", "accuracy", "ece", "brier", "calibration_error", "learning_rate", "epoch"})


@dataclass(frozen=True)
class Metric:
    """A score by name; `split/name` and `gap/name` are its series by epoch."""

    name: str
    score: Callable[[Any, FloatArray], float]
    greater_is_better: bool = True

    def gap(self, train: float, held_out: float) -> float:
        """Positive where the training split scores better."""
        return train - held_out if self.greater_is_better else held_out - train


def load_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of `Config.metrics`, built-in or by reference. Raises as `user_code.load`."""
    return tuple(_loaded(name) for name in names)


def _loaded(name: str) -> Metric:
    if (match := _TOP.fullmatch(name)) is not None:
        return Metric(name, partial(top_k_accuracy, int(match[1])))
    function = load(name, {}, ARGUMENTS, "metrics")
    return Metric(parse(name)[1], function, bool(getattr(function, "greater_is_better", True)))


def scores_of(metrics: Sequence[Metric], labels: Any, probabilities: FloatArray) -> dict[str, float]:
    """The value of each metric. Raises `TrainingError` where one raises anything or returns no number."""
    found = {}
    for metric in metrics:
        try:
            answer = metric.score(labels, probabilities)
        except Exception as error:  # whatever the user's code raises
            raise TrainingError(f"The metric {metric.name} failed: {describe_error(error)}") from error
        try:
            found[metric.name] = float(answer)
        except (TypeError, ValueError) as error:
            shape = f" of the shape {answer.shape}" if hasattr(answer, "shape") else ""
            raise TrainingError(
                f"The metric {metric.name} returns {type(answer).__name__}{shape}. It must return one number for all "
                "images."
            ) from error
    return found


def top_k_accuracy(k: int, labels: Any, probabilities: FloatArray) -> float:
    """The share of images whose class is among the `k` most probable ones.

    Example:
        >>> top_k_accuracy(2, np.array([0, 2]), np.array([[0.4, 0.5, 0.1], [0.6, 0.3, 0.1]]))
        0.5
    """
    chosen = np.take_along_axis(probabilities, np.asarray(labels, dtype=np.int64)[:, None], axis=1)
    return float(np.mean((probabilities > chosen).sum(axis=1) < k))


def metric_problems(names: Sequence[str]) -> Iterator[str]:
    """What is wrong with `Config.metrics`, without importing anything."""
    short = []
    for name in names:
        if _TOP.fullmatch(name):
            short.append(name)
        elif not is_reference(name):
            yield (
                f"metrics: {name!r} is none. Write top_5_accuracy (or another number), or package.module:function of "
                "your own, called as function(labels, probabilities)."
            )
        else:
            try:
                check_options(name, {}, ARGUMENTS, "metrics")
                short.append(parse(name)[1])
            except ConfigError as error:
                yield f"metrics: {error}"
    for name, count in Counter(short).items():
        if count > 1 or name in _TAKEN:
            yield f"metrics: {name} would be logged under a name that is taken. Give the function another name."


def by_split(scores: Mapping[str, Mapping[str, float]], metrics: Sequence[Metric]) -> dict[str, float]:
    """The series of an epoch: `train/NAME`, `val/NAME` and, where there is a validation split, `gap/NAME`."""
    values = {f"{split}/{name}": value for split, of in scores.items() for name, value in of.items()}
    for metric in metrics if "val" in scores else ():
        values[f"gap/{metric.name}"] = metric.gap(scores["train"][metric.name], scores["val"][metric.name])
    return values
