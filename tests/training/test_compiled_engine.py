"""The compiled engine against Keras's own `fit`: the same initial weights and batches, the same weights afterwards."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from harness.composing import compose_config
from harness.config.optimizers import OPTIMIZERS
from harness.errors import ConfigError, TrainingError
from harness.training import choose_engine, compiled_engine
from tests.training.training_runs import VALIDATED, Trained, train

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


def assert_equal_to_fit(*overrides: str, tolerance: float = 2e-5) -> Trained:
    """One epoch in both engines: float32 arithmetic in another order differs in the last digits, and no more. Returns
    what the compiled engine trained."""
    compiled, reference = (train(engine, "regime.epochs=1", *overrides) for engine in ("compiled", "keras"))
    for ours, theirs in zip(compiled.model.get_weights(), reference.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    for ours, theirs in zip(compiled.model.optimizer.variables, reference.model.optimizer.variables, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=tolerance, rtol=1e-3)
    for name in ("fit/loss", "fit/accuracy", "train/loss", "train/accuracy"):
        assert compiled.history.last(name) == pytest.approx(reference.history.last(name), abs=2e-3)
    return compiled


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_ends_where_fit_ends_and_trains(name: str) -> None:
    # Lion steps by the sign of the momentum: where that is 0 but for rounding, the weights part by two whole steps.
    small = ["optimizer.learning_rate=1e-4"] if name == "lion" else []
    tolerance = 1e-3 if name in ("muon", "lion") else 1e-4
    history = assert_equal_to_fit(f"optimizer={name}", *small, tolerance=tolerance).history
    assert history.last("train/loss") < history.last("fit/loss")  # at the end of the epoch, and during it


@pytest.mark.parametrize("head", ["logits", "softmax"])
@pytest.mark.parametrize("labels", ["integers", "one_hot"])
def test_every_head_and_loss_ends_where_fit_ends(head: str, labels: str) -> None:
    assert_equal_to_fit("optimizer=sgd", f"model.head={head}", f"regime.labels={labels}")


@pytest.mark.parametrize("head", ["logits", "softmax"])
@pytest.mark.parametrize("labels", ["integers", "one_hot"])
def test_smoothed_labels_end_where_fit_ends(head: str, labels: str) -> None:
    smoothed = "regime.label_smoothing=0.2"
    assert_equal_to_fit("optimizer=sgd", smoothed, f"model.head={head}", f"regime.labels={labels}")


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.l2=0.01",),
        ("model.batch_norm=true",),
        ("model=mlp_300_100", "model.l2=0.001", "model.batch_norm=true"),
        ("model=cnn", "model.filters=[4,8]"),
        ("model.shift=2", "model.batch_norm=true"),
        ("model=cnn", "model.filters=[4,8]", "model.shift=8", "dataset.preprocessing=standardize"),
        ("model=mlp", "model.width=16", "model.depth=3", "dataset.label_noise=0.3"),
        ("regime.batch_size=609",),
        ("regime.batch_size=1", "dataset.train_size=20"),
        ("dataset.preprocessing=standardize",),
        ("optimizer.clipnorm=0.1",),
        ("optimizer.loss_scale_factor=8.0",),
        ("optimizer.gradient_accumulation_steps=3",),
        ("optimizer.momentum=0.9", "optimizer.nesterov=true", "optimizer.use_ema=true"),
        ("model=mlp_300_100", "model.dropout=0.4", "model.batch_norm=true"),
        ("model=cnn", "model.filters=[4,8]", "model.dropout=0.2"),
        ("model.dropout=0.5", "model.shift=2", "regime.batch_size=70"),
        ("model.dropout=0.3", "mixed_precision=float16"),
    ],
    ids=" ".join,
)
def test_every_structure_ends_where_fit_ends(overrides: tuple[str, ...]) -> None:
    assert_equal_to_fit("optimizer=sgd", *overrides)


def test_runs_that_differ_in_seed_rate_and_length_share_one_program() -> None:
    compiled_engine._programs.clear()
    train("compiled", "regime.epochs=1")
    train("compiled", "regime.epochs=2", "seed=7", "optimizer.learning_rate=0.01")
    (program,) = compiled_engine._programs.values()
    assert program.epoch.experimental_get_tracing_count() == 1


def test_runs_that_differ_in_smoothing_share_none() -> None:
    compiled_engine._programs.clear()
    less, more = (train("compiled", "regime.epochs=1", f"regime.label_smoothing={share}") for share in (0.1, 0.3))
    assert len(compiled_engine._programs) == 2
    assert more.history.last("fit/loss") > less.history.last("fit/loss")


def test_a_shared_program_carries_nothing_from_run_to_run() -> None:
    alone = train("compiled", "regime.epochs=2", "model.dropout=0.3")
    train("compiled", "regime.epochs=3", "model.dropout=0.3", "seed=9", "optimizer.learning_rate=0.01")
    after = train("compiled", "regime.epochs=2", "model.dropout=0.3")
    for ours, theirs in zip(alone.model.get_weights(), after.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert alone.history.series["train/loss"] == after.history.series["train/loss"]


def test_a_process_keeps_few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_engine, "PROGRAMS_KEPT", 2)
    compiled_engine._programs.clear()
    for units in range(1, 5):
        train("compiled", "regime.epochs=1", "dataset.train_size=32", "model=mlp", f"model.hidden=[{units}]")
    assert len(compiled_engine._programs) == compiled_engine.PROGRAMS_KEPT


class CountEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback of a user's own that wants epochs only."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.seen.append(dict(logs or {}))
        if epoch == 1:
            self.model.stop_training = True


class CountBatches(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback of a user's own that wants every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.batches += 1


def test_a_callback_on_epochs_sees_them_and_may_stop_training() -> None:
    callback = CountEpochs()
    trained = train("compiled", "regime.epochs=5", *VALIDATED, callbacks=[callback])
    assert trained.history.epochs == 2
    assert callback.seen[0]["val_loss"] == trained.history.series["val/loss"][0]
    assert callback.seen[1]["loss"] == trained.history.series["fit/loss"][1]


def choice(engine: str, *callbacks: Any) -> tuple[str, str]:
    return choose_engine(compose_config([f"engine={engine}"]), callbacks)


def test_auto_compiles_unless_a_callback_must_see_every_batch() -> None:
    assert choice("auto") == ("compiled", "auto: nothing must see every batch")
    assert choice("auto", CountEpochs(), keras.callbacks.TerminateOnNaN())[0] == "compiled"
    assert choice("auto", CountBatches()) == ("keras", "auto: CountBatches must see every batch")


def test_asking_for_compiled_with_such_a_callback_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"CountBatches must see every batch.*engine=keras"):
        choice("compiled", CountBatches())


def test_the_keras_engine_shows_every_batch() -> None:
    callback = CountBatches()
    train("keras", "regime.epochs=2", callbacks=[callback])
    assert callback.batches == 2 * 19


def test_a_loss_that_is_no_number_is_an_error_with_terminate_on_nan_too() -> None:
    with pytest.raises(TrainingError, match="became nan"):
        train("compiled", "optimizer=sgd", "optimizer.learning_rate=1e20", callbacks=[keras.callbacks.TerminateOnNaN()])


def test_both_engines_agree_in_distribution_over_seeds() -> None:
    """Six seeds each, other seeds for each engine: Welch's t on the final losses finds nothing."""
    from scipy import stats

    def finals(engine: str, first: int) -> list[float]:
        runs: list[Trained] = [train(engine, "regime.epochs=3", f"seed={first + number}") for number in range(6)]
        return [run.history.last("train/loss") for run in runs]

    assert stats.ttest_ind(finals("compiled", 0), finals("keras", 100), equal_var=False).pvalue > 0.001
