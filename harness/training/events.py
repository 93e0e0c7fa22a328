"""The events that an engine reports while it trains. An engine knows no tracker and no screen, only these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from harness.training.state import TrainingState


class TrainingObserver(Protocol):
    """Told what happens; slow observers slow training down."""

    def training_started(self, epochs: range) -> None:
        """Training is about to start and will go through these epochs at most: `range(1, 11)`; later ones, where it
        continues another."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Epoch `epoch` has ended with these values of every series."""

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None:
        """Everything that belongs to `epoch` is done, callbacks included; `state()` is what to resume from.

        May raise `KeyboardInterrupt` to stop training here.
        """

    def training_ended(self, reason: str) -> None:
        """Training has ended in an orderly way; `reason` says why, in words."""
