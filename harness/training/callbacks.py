"""Keras callbacks that a regime asks for, and the one that turns an epoch of `fit` into the harness's metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from harness.config.schema import MONITORS, Config, RegimeConfig
from harness.errors import ConfigError, TrainingError
from harness.metrics import best_epoch, gap_accuracy, gap_loss
from harness.records import Fitted, History, Split, Weights
from harness.training.events import TrainingObserver
from harness.training.schedules import learning_rate_factor
from harness.training.scoring import Measures
from harness.training.state import EpochSpan, Progress, TrainingState, capture, weights_of
from harness.user_code import describe_error, load

KEPT: Mapping[str, tuple[str, ...]] = {
    "EpochRecorder": ("best_weights",),
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
}
"""What callbacks know of earlier epochs, besides the history: attributes by the name of the class."""


class EpochRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures every epoch the same way for all splits, and hands the values on: to the history, the observer, and
    (through `logs`) to the callbacks behind it, under the harness's names and under Keras's.

    It keeps the weights of the best epoch and of the last. It must be the first: what others restore comes after."""

    def __init__(
        self,
        splits: Mapping[str, Split],
        score: Callable[[Split], tuple[float, float]],
        observer: TrainingObserver,
        start: TrainingState | None = None,
        measures: Measures = lambda splits: {},
    ) -> None:
        super().__init__()
        self.history = history_so_far(start)
        self.best_weights: list[Any] | None = None
        self._last_weights: Weights = ()
        self._splits = splits
        self._score = score
        self._measures = measures
        self._observer = observer
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seconds = time.perf_counter() - self._started
        logs = logs if logs is not None else {}
        values = {"fit/loss": logs["loss"], "fit/accuracy": logs["accuracy"]}
        if not math.isfinite(values["fit/loss"]):
            raise TrainingError(
                f"The training loss became {values['fit/loss']} in epoch {epoch + 1}. A smaller "
                "optimizer.learning_rate or optimizer.clipnorm=1.0 usually helps."
            )
        with evaluated_weights(self.model):
            for name, split in self._splits.items():
                values[f"{name}/loss"], values[f"{name}/accuracy"] = self._score(split)
            asked_for = self._measures(self._splits)
            if self._is_best(values.get("val/loss", math.nan)):
                self.best_weights = list(weights_of(self.model))
        if "val" in self._splits:
            values["gap/loss"] = gap_loss(values["train/loss"], values["val/loss"])
            values["gap/accuracy"] = gap_accuracy(values["train/accuracy"], values["val/accuracy"])
        values |= asked_for
        values["optimizer/learning_rate"] = float(self.model.optimizer.learning_rate)
        values["time/epoch_seconds"] = seconds
        self.history.append(values)
        self._observer.epoch_ended(epoch + 1, values)
        logs.update(values)
        logs.update({name.replace("/", "_"): values[name] for name in MONITORS if name in values})

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._last_weights = weights_of(self.model)

    def fitted(self) -> Fitted:
        """What training came to, at its end."""
        return Fitted(self.history, self._last_weights, None if self.best_weights is None else tuple(self.best_weights))

    def _is_best(self, validation_loss: float) -> bool:
        earlier = self.history.series.get("val/loss", [])
        return math.isfinite(validation_loss) and best_epoch([*earlier, validation_loss]) > len(earlier)


@contextmanager
def evaluated_weights(model: Any) -> Iterator[None]:
    """The weights that a run ending here would end with: their averages, where the optimizer keeps such (`use_ema`).

    Keras's `SwapEMAWeights` swaps by adding and subtracting: what it puts back differs in the last digits.
    """
    if not model.optimizer.use_ema:
        yield
        return
    moving = [np.array(variable) for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, moving, strict=True):
            variable.assign(value)


class StateKeeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives the callbacks before it the state that they had when the run was cut off, and offers the whole state at the
    end of every epoch. It must be the last."""

    def __init__(
        self, callbacks: Sequence[Any], history: History, observer: TrainingObserver, start: TrainingState | None
    ) -> None:
        super().__init__()
        self._kept = {type(callback).__name__: callback for callback in callbacks if type(callback).__name__ in KEPT}
        self._history = history
        self._observer = observer
        self._progress = None if start is None else start.progress

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._progress is not None:  # only now: the callbacks themselves forget everything here
            for name, state in self._progress.callbacks.items():
                for key, value in state.items():
                    setattr(self._kept[name], key, value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._observer.epoch_completed(epoch + 1, lambda: capture(self.model, epoch + 1, self._reached()))

    def _reached(self) -> Progress:
        callbacks = {name: {key: getattr(callback, key) for key in KEPT[name]} for name, callback in self._kept.items()}
        series = {name: tuple(values) for name, values in self._history.series.items()}
        return Progress(self._history.before, series, bool(self.model.stop_training), callbacks)


def history_so_far(start: TrainingState | None) -> History:
    """The history that training starts with: empty, except for a run that is resumed."""
    if start is None:
        return History()
    if start.progress is None:
        return History(before=start.epochs)
    return History({name: list(values) for name, values in start.progress.series.items()}, start.progress.before)


def stop_reason(history: History, span: EpochSpan) -> str:
    """Why training that was to go through `span` ended after the epochs in `history`, in words."""
    trained = history.last_epoch
    return "all epochs trained" if trained == span.last else f"stopped early after epoch {trained} of {span.last}"


def own_callbacks(references: Sequence[str]) -> list[Any]:
    """Callbacks of the user's own: what functions (or classes) without arguments return. Raises as `user_code.load`,
    and `ConfigError` for what is no Keras callback."""
    made = []
    for reference in references:
        function = load(reference, {}, (), "regime.callbacks")
        try:
            callback = function()
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(f"regime.callbacks: {reference} failed: {describe_error(error)}") from error
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(
                f"regime.callbacks: {reference} returns {type(callback).__name__}; a keras.callbacks.Callback is "
                "wanted."
            )
        made.append(callback)
    return made


def regime_callbacks(config: Config, before: int = 0) -> list[Any]:
    """Early stopping and the learning-rate schedule, as Keras callbacks; the schedule begins after `before` epochs."""
    regime = config.regime
    return [*_schedule(regime, config.optimizer.learning_rate, before), *_early_stopping(regime)]


def _schedule(regime: RegimeConfig, base_rate: float, before: int) -> list[Any]:
    schedule = regime.schedule
    if schedule.name == "plateau":
        return [
            keras.callbacks.ReduceLROnPlateau(
                monitor=schedule.monitor,
                factor=schedule.factor,
                patience=schedule.patience,
                mode=_mode(schedule.monitor),
            )
        ]
    if schedule.name == "constant" and schedule.warmup_epochs == 0:
        return []
    return [
        keras.callbacks.LearningRateScheduler(
            lambda epoch: base_rate * learning_rate_factor(schedule, epoch + 1 - before, regime.epochs)
        )
    ]


def _early_stopping(regime: RegimeConfig) -> list[Any]:
    stopping = regime.early_stopping
    if not stopping.enabled:
        return []
    return [
        keras.callbacks.EarlyStopping(
            monitor=stopping.monitor,
            min_delta=stopping.min_delta,
            patience=stopping.patience,
            restore_best_weights=stopping.restore_best_weights,
            mode=_mode(stopping.monitor),
        )
    ]


def _mode(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
