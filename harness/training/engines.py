"""The engines by name, and the choice that `engine=auto` makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.config import Config
from harness.records import History, Split
from harness.training import keras_engine
from harness.training.events import TrainingObserver

Scorer = Callable[[Split], tuple[float, float]]
"""Loss (mean cross-entropy) and accuracy of the model's present weights on a split, in inference mode."""

Engine = Callable[[Any, Config, Split, Split | None, Scorer, TrainingObserver], History]

ENGINES: Mapping[str, Engine] = {"keras": keras_engine.fit}


def choose_engine(config: Config) -> tuple[str, str]:
    """The engine's name, and the reason in words."""
    if config.engine == "auto":
        return "keras", "auto: the only engine there is"
    return config.engine, "asked for"


def fit(
    engine: str,
    model: Any,
    config: Config,
    train: Split,
    validation: Split | None,
    score: Scorer,
    observer: TrainingObserver,
) -> History:
    """Compile `model` and train it in place on `train`; every series of design has one value an epoch in the result.

    Raises `TrainingError` when the loss is no longer a number.
    """
    return ENGINES[engine](model, config, train, validation, score, observer)
