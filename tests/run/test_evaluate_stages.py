"""Real weights evaluated stage by stage, on a few real images."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from harness.errors import TrainingError
from harness.models import log_probabilities
from harness.records import Fitted, Score, Stages
from harness.run.evaluate import evaluate, evaluate_stages
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


def evaluated(trained: Trained, fitted: Fitted | None = None) -> Stages:
    return evaluate_stages(trained.model, fitted or trained.fitted, trained.splits, NAMES)


def test_the_test_images_are_evaluated_with_the_weights_of_each_stage(trained: Trained) -> None:
    stages, test = evaluated(trained), trained.splits.test
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
    stages, series = evaluated(trained), trained.history.series
    epoch = int(np.argmin(series["val/loss"]))
    assert stages.best is not None
    for split in ("train", "val"):
        assert stages.best[split].loss == series[f"{split}/loss"][epoch]
        assert stages.best[split].accuracy == series[f"{split}/accuracy"][epoch]


def test_stages_of_the_same_weights_have_the_same_figures_and_are_not_evaluated_twice(trained: Trained) -> None:
    stages = evaluated(trained)
    assert stages.last is stages.final
    restored = evaluated(trained, Fitted(trained.history, last=trained.fitted.last, best=trained.fitted.last))
    assert restored.best is restored.last is restored.final


def test_the_training_images_score_what_the_last_clean_pass_says(trained: Trained) -> None:
    stages, series = evaluated(trained), trained.history.series
    assert stages.final["train"] == Score(series["train/loss"][-1], series["train/accuracy"][-1])
    assert set(stages.held_out) == {"val", "test"}
    best = Fitted(trained.history, last=trained.fitted.last, best=trained.fitted.best)
    kept = trained.model.get_weights()
    assert best.best is not None
    trained.model.set_weights(best.best)  # as early stopping does
    restored, epoch = evaluated(trained, best), int(np.argmin(series["val/loss"]))
    trained.model.set_weights(kept)
    assert restored.final["train"] == Score(series["train/loss"][epoch], series["train/accuracy"][epoch])
    assert restored.best is restored.final


@pytest.mark.parametrize(
    "override", ["optimizer.use_ema=true", "model.batch_norm=true", "model.dropout=0.4", "mixed_precision=bfloat16"]
)
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_they_score_what_evaluating_them_again_finds(engine: str, override: str) -> None:
    trained = train(engine, *VALIDATED, override, "regime.epochs=2")
    found, split = evaluated(trained).final["train"], trained.splits.train
    assert type(found) is Score, "evaluated again"
    again = evaluate(log_probabilities(trained.model), split, NAMES)
    assert found.loss == pytest.approx(again.loss, rel=1e-4 if "bfloat16" not in override else 1e-2)
    assert found.accuracy == pytest.approx(again.accuracy, abs=0.003)


def test_final_weights_of_an_epoch_that_was_not_kept_are_evaluated_again(trained: Trained) -> None:
    """Early stopping by accuracy may restore an epoch that is neither the last nor that of the least loss."""
    kept = trained.model.get_weights()
    trained.model.set_weights([array * np.float32(0.5) for array in kept])
    found = evaluated(trained).final["train"]
    loss, accuracy = trained.model.evaluate(trained.splits.train.images, trained.splits.train.labels, verbose=0)
    trained.model.set_weights(kept)
    assert found.loss == pytest.approx(loss, rel=1e-4)
    assert found.accuracy == pytest.approx(accuracy)


def test_weights_of_a_stage_that_answer_nan_cost_that_stage_only(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tuple(np.full_like(array, np.nan) for array in trained.fitted.last)
    with caplog.at_level(logging.WARNING):
        stages = evaluated(trained, Fitted(trained.history, last=broken, best=trained.fitted.best))
    assert stages.last is None
    assert stages.best is not None
    assert "no last/* metrics (epoch 12): The model answers NaN" in caplog.text


def test_a_run_that_ends_with_nan_fails(trained: Trained) -> None:
    kept = trained.model.get_weights()
    trained.model.set_weights([np.full_like(array, np.nan) for array in kept])
    with pytest.raises(TrainingError, match="answers NaN"):
        evaluated(trained)
    trained.model.set_weights(kept)
