"""Trains on real images as a run does, for tests of both engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from harness.composing import compose_config
from harness.config.schema import Config
from harness.data import load_dataset, split_dataset
from harness.models import build_model
from harness.records import Fitted, History, Splits
from harness.training import TrainingState, fit, seed_everything

SUBSET = Path(__file__).resolve().parents[1] / "data"
VALIDATED = ("regime.validation.strategy=stratified", "regime.validation.size=416")
IMAGES = 608


@dataclass
class Watcher:
    """Keeps the reports of an engine, and with `keep_states` the state after each epoch. May stop training early."""

    epochs: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    stop_after: int | None = None
    keep_states: bool = False
    states: dict[int, TrainingState] = field(default_factory=dict)
    started: range = range(0)
    reason: str = ""

    def training_started(self, epochs: range) -> None:
        self.started = epochs

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append((epoch, dict(metrics)))

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None:
        if self.keep_states or epoch == self.stop_after:
            self.states[epoch] = state()
        if epoch == self.stop_after:
            raise KeyboardInterrupt

    def training_ended(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True)
class Trained:
    """The result of a training, with its configuration and images."""

    fitted: Fitted
    model: Any
    watcher: Watcher
    config: Config
    splits: Splits

    @property
    def history(self) -> History:
        return self.fitted.history


@cache
def setting(*overrides: str) -> tuple[Config, Splits]:
    """A configuration, and 608 images of the bundled subset: batches of 32 come out even, whether 416 validate or not.

    A last batch that is not full has a program of its own, which takes longer to compile than to run.
    """
    config = compose_config([f"dataset.directory={SUBSET}", f"dataset.train_size={IMAGES}", *overrides])
    return config, split_dataset(load_dataset(config.dataset), config.dataset, config.regime.validation)


def train(
    engine: str,
    *overrides: str,
    callbacks: Sequence[Any] = (),
    start: TrainingState | None = None,
    watcher: Watcher | None = None,
) -> Trained:
    """Train with the configuration and images of `setting`."""
    config, splits = setting(*overrides)
    seed_everything(config.seed)
    model = build_model(
        config.model, config.dataset.preprocessing, splits.spec, splits.train.images, config.mixed_precision
    )
    watcher = watcher or Watcher()
    fitted = fit(engine, model, config, splits.train, splits.validation, watcher, callbacks, start)
    return Trained(fitted, model, watcher, config, splits)
