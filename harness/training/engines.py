"""The engines by name, and the choice of `engine=auto`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.config.schema import Config, references
from harness.errors import ConfigError, HarnessError, TrainingError
from harness.records import Fitted, Split
from harness.training import compiled_engine, keras_engine
from harness.training.events import TrainingObserver
from harness.training.state import TrainingState
from harness.user_code import describe_error

Engine = Callable[[Any, Config, Split, Split | None, TrainingObserver, Sequence[Any], TrainingState | None], Fitted]

ENGINES: Mapping[str, Engine] = {"compiled": compiled_engine.fit, "keras": keras_engine.fit}


_TRACED = ("model.", "regime.loss")
"""The beginnings of the settings whose functions are part of a compiled step."""


def choose_engine(
    config: Config, callbacks: Sequence[Any] = (), model: Any = None, train: Split | None = None
) -> tuple[str, str]:
    """The engine's name, and the reason in words. A `model` of the user's own is tried on `train`.

    Raises `ConfigError` if the compiled engine is asked for and cannot train the model, or one of the Keras
    `callbacks` wants to see every batch.
    """
    watchers = [type(callback).__name__ for callback in callbacks if watches_batches(callback)]
    if config.engine == "compiled" and watchers:
        raise ConfigError(
            f"engine=compiled: {', '.join(watchers)} must see every batch, and a compiled epoch returns to Python only "
            "at its end. Use engine=keras or engine=auto."
        )
    if watchers and config.engine == "auto":
        return "keras", f"auto: {', '.join(watchers)} must see every batch"
    named = references(config)
    own = ", ".join(named[key] for key in named if key.startswith(_TRACED))
    if own and config.engine != "keras" and model is not None and train is not None:
        if (problem := compiled_engine.obstacle(model, config, train)) and config.engine == "compiled":
            raise ConfigError(f"engine=compiled: it cannot train {own} ({problem}). Use engine=keras or engine=auto.")
        if problem:
            return "keras", f"auto: the compiled engine cannot train {own} ({problem})"
    if config.engine != "auto":
        return config.engine, "asked for"
    return "compiled", "auto: nothing must see every batch"


def watches_batches(callback: Any) -> bool:
    """Whether a Keras callback does something at each batch. `TerminateOnNaN` may as well do it once an epoch."""
    import keras

    base = keras.callbacks.Callback
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return not isinstance(callback, keras.callbacks.TerminateOnNaN) and any(
        getattr(type(callback), hook) is not getattr(base, hook) for hook in hooks
    )


def fit(
    engine: str,
    model: Any,
    config: Config,
    train: Split,
    validation: Split | None,
    observer: TrainingObserver,
    callbacks: Sequence[Any] = (),
    start: TrainingState | None = None,
) -> Fitted:
    """Compile `model` and train it in place on `train`; every series of the history has one value an epoch.

    `callbacks` are Keras callbacks besides those that the configuration asks for. Training begins with the weights and
    optimizer state of `start`, and with the epoch after its last; its learning rate, schedule and number of epochs are
    those of `config`. Raises `TrainingError` when the loss is no longer a number, `ConfigError` when `start` is of
    another model.
    """
    try:
        return ENGINES[engine](model, config, train, validation, observer, callbacks, start)
    except HarnessError:
        raise
    except Exception as error:  # whatever the user's layers raise
        if not (named := references(config)):
            raise
        raise TrainingError(f"Training with {', '.join(named.values())} failed: {describe_error(error)}") from error


def load_callbacks(config: Config) -> list[Any]:
    """The callbacks of the user's own (`regime.callbacks`). Raises as `callbacks.own_callbacks`."""
    if not config.regime.callbacks:
        return []
    from harness.training.callbacks import own_callbacks

    return own_callbacks(config.regime.callbacks)
