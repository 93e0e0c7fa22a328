"""Real weights judged stage by stage, on a few real images."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from harness.errors import TrainingError
from harness.judging import judge
from harness.records import Fitted, Stages
from tests.training.training_runs import VALIDATED, Trained, train

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Ended with the weights of its last epoch, which was not its best."""
    trained = train("compiled", *VALIDATED, "optimizer.learning_rate=0.02", "regime.epochs=12")
    losses = trained.history.series["val/loss"]
    assert min(losses) < losses[-1]
    return trained


def judged(trained: Trained, fitted: Fitted | None = None) -> Stages:
    return judge(trained.model, fitted or trained.fitted, trained.splits, NAMES)


def test_the_test_images_are_judged_with_the_weights_of_each_stage(trained: Trained) -> None:
    stages, test = judged(trained), trained.splits.test
    assert stages.best is not None
    assert trained.fitted.best is not None
    kept = trained.model.get_weights()
    trained.model.set_weights(trained.fitted.best)
    loss, accuracy = trained.model.evaluate(test.images, test.labels, verbose=0)
    trained.model.set_weights(kept)
    assert stages.best["test"].loss == pytest.approx(loss, rel=1e-4)
    assert stages.best["test"].accuracy == pytest.approx(accuracy)
    assert stages.final["test"].loss != stages.best["test"].loss


def test_the_other_splits_of_an_earlier_stage_are_those_of_its_epoch(trained: Trained) -> None:
    stages, series = judged(trained), trained.history.series
    epoch = int(np.argmin(series["val/loss"]))
    assert stages.best is not None
    for split in ("train", "val"):
        assert stages.best[split].loss == series[f"{split}/loss"][epoch]
        assert stages.best[split].accuracy == series[f"{split}/accuracy"][epoch]


def test_stages_of_the_same_weights_have_the_same_figures_and_are_not_judged_twice(trained: Trained) -> None:
    stages = judged(trained)
    assert stages.last is stages.final
    restored = judged(trained, Fitted(trained.history, last=trained.fitted.last, best=trained.fitted.last))
    assert restored.best is restored.last is restored.final


def test_weights_of_a_stage_that_answer_nan_cost_that_stage_only(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tuple(np.full_like(array, np.nan) for array in trained.fitted.last)
    with caplog.at_level(logging.WARNING):
        stages = judged(trained, Fitted(trained.history, last=broken, best=trained.fitted.best))
    assert stages.last is None
    assert stages.best is not None
    assert "no last/* metrics (epoch 12): The model answers NaN" in caplog.text


def test_a_run_that_ends_with_nan_fails(trained: Trained) -> None:
    kept = trained.model.get_weights()
    trained.model.set_weights([np.full_like(array, np.nan) for array in kept])
    with pytest.raises(TrainingError, match="answers NaN"):
        judged(trained)
    trained.model.set_weights(kept)
