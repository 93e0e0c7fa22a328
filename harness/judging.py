"""What a run came to: judged with the weights that it ends with, with those of its last epoch and of its best."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import TrainingError
from harness.evaluation import evaluate
from harness.metrics import best_epoch
from harness.models import log_probabilities
from harness.records import Fitted, Score, Splits, Stages, Weights
from harness.training import weights_of

log = logging.getLogger(__name__)


def judge(model: Any, fitted: Fitted, splits: Splits, class_names: Sequence[str]) -> Stages:
    """Judge what training came to; `model` has the weights that the run ends with.

    The test images are judged once with each set of weights, now that nothing is chosen any more, and the held-out
    images in full with the final ones. What else the weights of an epoch score, its series say; so the training images
    are judged here only if the final weights are those of no epoch that is known. Stages of the same weights have the
    same figures.

    Raises:
        TrainingError: the model answers NaN. Where only the weights of an earlier stage do, that stage is left out, and
            the log says so.
    """
    predict, ours, epochs = log_probabilities(model), weights_of(model), list(_epochs(fitted))
    known = [_series_at(fitted, epoch)["train"] for _, epoch, weights in epochs if _same(ours, weights)][:1]
    final: Mapping[str, Score] = {
        name: known[0] if known and name == "train" else evaluate(predict, split, class_names)
        for name, split in splits.named()
    }
    judged: list[tuple[Weights, Mapping[str, Score]]] = [(ours, final)]
    stages: dict[str, Mapping[str, Score]] = {}
    for stage, epoch, weights in epochs:
        scores = next((scores for known, scores in judged if _same(known, weights)), None)
        if scores is None:
            try:
                test = evaluate(log_probabilities(model, weights), splits.test, class_names)
            except TrainingError as error:
                log.warning("no %s/* metrics (epoch %d): %s", stage, fitted.history.before + epoch, error)
                continue
            scores = _series_at(fitted, epoch) | {"test": test}
            judged.append((weights, scores))
        stages[stage] = scores
    return Stages(final, stages.get("last"), stages.get("best"))


def _epochs(fitted: Fitted) -> Iterator[tuple[str, int, Weights]]:
    """Stage, epoch (from 1, of this training) and its weights."""
    yield "last", fitted.history.epochs, fitted.last
    if fitted.best is not None:
        yield "best", best_epoch(fitted.history.series["val/loss"]), fitted.best


def _series_at(fitted: Fitted, epoch: int) -> dict[str, Score]:
    series = fitted.history.series
    return {
        split: Score(series[f"{split}/loss"][epoch - 1], series[f"{split}/accuracy"][epoch - 1])
        for split in ("train", "val")
        if f"{split}/loss" in series
    }


def _same(ours: Weights, theirs: Weights) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
