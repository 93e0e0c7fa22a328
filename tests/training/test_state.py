"""Training that continues from a state ends where training that was never interrupted ends."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError, RequestError
from harness.training.state import TrainingState, capture, read_state, restore_optimizer, state_of_model, write_state
from tests.training.training_runs import VALIDATED, Trained, Watcher, train

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import


TIMES = r'"time/epoch_seconds": \[.*?\]'


def continued(engine: str, *overrides: str, file: Path) -> Trained:
    first = train(engine, *overrides, "regime.epochs=2")
    write_state(file, capture(first.model, first.history.last_epoch))
    return train(engine, *overrides, "regime.epochs=3", start=read_state(file))


def same_bits(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def same_kept(ours: Trained, theirs: Trained) -> None:
    """The weights of the best epoch and of the last."""
    assert ours.fitted.best is not None
    assert theirs.fitted.best is not None
    same_bits(ours.fitted.best, theirs.fitted.best)
    same_bits(ours.fitted.last, theirs.fitted.last)


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam",),
        ("optimizer=sgd", "optimizer.momentum=0.9", "model.dropout=0.3", "model.batch_norm=true"),
        ("optimizer=adamw", "optimizer.gradient_accumulation_steps=3", "regime.labels=one_hot"),
        ("optimizer=rmsprop", "dataset.preprocessing=standardize", "model=cnn", "model.filters=[4,8]"),
        ("mixed_precision=float16", "model.head=softmax"),
        ("model.shift=2", "model.dropout=0.3", "regime.label_smoothing=0.1", "dataset.label_noise=0.2"),
    ],
    ids=" ".join,
)
def test_two_epochs_and_three_more_are_five_bit_for_bit(
    engine: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    whole = train(engine, *overrides, *VALIDATED, "regime.epochs=5")
    parts = continued(engine, *overrides, *VALIDATED, file=tmp_path / "state.npz")
    same_bits(parts.model.get_weights(), whole.model.get_weights())
    same_bits(parts.model.optimizer.variables, whole.model.optimizer.variables)
    assert parts.history.before == 2
    assert [epoch for epoch, _ in parts.watcher.epochs] == [3, 4, 5]
    assert parts.watcher.started == range(3, 6)
    for name, values in whole.history.series.items():
        if name != "time/epoch_seconds":
            assert parts.history.series[name] == values[2:], name


def cut_off(engine: str, *overrides: str, after: int) -> TrainingState:
    """The state of a run that was stopped at the end of an epoch."""
    watcher = Watcher(stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        train(engine, *overrides, watcher=watcher)
    return watcher.states[after]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_the_state_of_a_run_that_is_cut_off_is_that_of_one_that_goes_on(engine: str, tmp_path: Path) -> None:
    overrides = ("optimizer=sgd", "optimizer.momentum=0.9", "model.dropout=0.3", *VALIDATED, "regime.epochs=3")
    watcher = Watcher(keep_states=True)
    train(engine, *overrides, watcher=watcher)
    files = (tmp_path / "cut_off.npz", tmp_path / "going_on.npz")
    for file, state in zip(files, (cut_off(engine, *overrides, after=2), watcher.states[2]), strict=True):
        write_state(file, state)
    with np.load(files[0]) as ours, np.load(files[1]) as theirs:
        assert ours.files == theirs.files
        for name in ours.files:
            one, other = (str(each[name].tolist()) for each in (ours, theirs))
            assert re.sub(TIMES, "", one) == re.sub(TIMES, "", other), name


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "model.dropout=0.3"),
        ("model.shift=2", "regime.label_smoothing=0.1"),
        ("regime.schedule.name=plateau", "regime.schedule.patience=0", "optimizer.learning_rate=0.02"),
        ("regime.schedule.name=cosine", "regime.schedule.warmup_epochs=2"),
        ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.use_ema=true"),
        ("regime.early_stopping.enabled=true", "regime.early_stopping.patience=2", "optimizer.learning_rate=0.02"),
    ],
    ids=" ".join,
)
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(
    engine: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = (*VALIDATED, *overrides, "regime.epochs=8")
    watcher = Watcher(keep_states=True)
    whole = train(engine, *overrides, watcher=watcher)
    file = tmp_path / "state.npz"
    for after in (1, 3, whole.history.epochs):  # the last: cut off when all that was left is to evaluate the model
        write_state(file, watcher.states[after])
        rest = train(engine, *overrides, start=read_state(file))
        same_bits(rest.model.get_weights(), whole.model.get_weights())
        same_bits(rest.model.optimizer.variables, whole.model.optimizer.variables)
        same_kept(rest, whole)
        assert [epoch for epoch, _ in rest.watcher.epochs] == list(range(after + 1, whole.history.epochs + 1))
        assert rest.watcher.reason == whole.watcher.reason
        assert rest.history.before == 0
        for name, values in whole.history.series.items():
            if name != "time/epoch_seconds":
                assert rest.history.series[name] == values, name


def test_a_continued_run_can_be_cut_off_too_and_counts_its_best_among_its_own_epochs() -> None:
    start = capture(train("compiled", *VALIDATED, "regime.epochs=2").model, 2)
    overrides = (*VALIDATED, "optimizer.learning_rate=0.02", "regime.epochs=3")
    whole = train("compiled", *overrides, start=start)
    watcher = Watcher(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        train("compiled", *overrides, start=start, watcher=watcher)
    rest = train("compiled", *overrides, start=watcher.states[4])
    same_bits(rest.model.get_weights(), whole.model.get_weights())
    same_kept(rest, whole)
    assert (rest.history.before, rest.history.epochs, rest.watcher.started) == (2, 3, range(5, 6))


def test_the_learning_rate_and_its_schedule_are_those_of_the_new_regime(tmp_path: Path) -> None:
    trained = continued(
        "compiled", "optimizer.learning_rate=0.01", "regime.schedule.name=step", "regime.schedule.every_epochs=2",
        file=tmp_path / "state.npz",
    )  # fmt: skip
    assert trained.history.series["optimizer/learning_rate"] == pytest.approx([0.01, 0.01, 0.001])


def test_another_optimizer_starts_afresh_and_says_so(tmp_path: Path) -> None:
    first = train("compiled", "optimizer=adam", "regime.epochs=1")
    state = capture(first.model, 1)
    then = train("compiled", "optimizer=sgd", "regime.epochs=1", start=state)
    assert int(then.model.optimizer.iterations) == 19  # 608 images in batches of 32: its own steps only
    assert restore_optimizer(then.model.optimizer, state) == "fresh: the saved one is of Adam, this is SGD"
    assert restore_optimizer(first.model.optimizer, replace(state, optimizer="")).startswith("fresh: none was saved")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    state = capture(train("compiled", "regime.epochs=1").model, 1)
    with pytest.raises(ConfigError, match=r"784 x 128, 128, .*this configuration builds 784 x 300"):
        train("compiled", "model=mlp_300_100", start=state)


def test_a_model_that_keras_saved_brings_its_optimizer_along(tmp_path: Path) -> None:
    first = train("compiled", "regime.epochs=2")
    first.model.save(tmp_path / "model.keras")
    state = state_of_model(tmp_path / "model.keras")
    expected = capture(first.model, 0)
    assert (state.epochs, state.optimizer) == (0, "Adam")
    same_bits(state.weights, expected.weights)
    same_bits(state.optimizer_variables, expected.optimizer_variables)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.npz").write_bytes(content)
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(RequestError, match=r"state\.npz is no training state"):
        read_state(tmp_path / "state.npz")
    with pytest.raises(RequestError, match=r"model\.keras is no Keras model"):
        state_of_model(tmp_path / "model.keras")


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = TrainingState(7, tuple(np.full(number, number) for number in range(12)), (), "SGD", (np.array(3),))
    write_state(tmp_path / "state.npz", state)
    again = read_state(tmp_path / "state.npz")
    assert (again.epochs, again.optimizer, again.generators) == (7, "SGD", ())
    same_bits(again.weights, state.weights)
    same_bits(again.optimizer_variables, state.optimizer_variables)


def without_draws(file: Path) -> None:
    """The state as earlier versions wrote it."""
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "draws"}
    np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("override", "warned"), [("model.dropout=0.3", True), ("model.shift=2", True), ("model.l2=0.01", False)]
)
def test_a_run_that_an_earlier_version_began_resumes_and_says_what_is_different(
    override: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = (*VALIDATED, override, "regime.epochs=4")
    file = tmp_path / "state.npz"
    write_state(file, cut_off("compiled", *overrides, after=2))
    without_draws(file)
    rest = train("compiled", *overrides, start=read_state(file))
    assert [epoch for epoch, _ in rest.watcher.epochs] == [3, 4]
    assert ("from another generator" in caplog.text) is warned
    write_state(file, capture(rest.model, 4))
    assert read_state(file).draws == "threefry"
