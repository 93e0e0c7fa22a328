"""Trains real runs in the process of the test."""

from __future__ import annotations

from collections.abc import Mapping

from harness.composing import compose_config
from harness.run.execute import RunContext, execute


class _Silence:
    def training_started(self, epochs: range) -> None: ...

    def epoch_ended(self, epoch: int, values: Mapping[str, float]) -> None: ...

    def epoch_completed(self, epoch: int, state: object) -> None: ...

    def training_ended(self, reason: str) -> None: ...


def train(uri: str, name: str, *overrides: str, parent: str | None = None) -> str:
    """Train a run of one epoch with Keras's `fit`, without figures, in the store `uri`. Returns its id.

    `parent` is the id of its sweep.
    """
    settings = (f"tracking.uri='{uri}'", "figures=none", "engine=keras", "regime.epochs=1", *overrides)
    return execute(compose_config(settings), RunContext(name, settings, parent), _Silence()).run_id
