"""The state of a running run, on this machine's disk and in the store: an interrupted run is resumed from it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from harness import paths
from harness.errors import RequestError
from harness.tracking.shared_checkpoints import SharedCheckpoints
from harness.training.state import TrainingState, read_state, write_state

log = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint of a run. Each new one replaces the previous one atomically."""

    def __init__(
        self, run_id: str, seconds: float | None, fingerprint: str = "", shared: SharedCheckpoints | None = None
    ) -> None:
        """`seconds` is the minimum time between two checkpoints; 0: one per epoch; None: only when training is stopped.

        `fingerprint` is that of the run; `shared` are its checkpoints in the store.
        """
        self._file = paths.checkpoint_file(run_id)
        self._fingerprint = fingerprint
        self._seconds = seconds
        self._shared = shared
        self._last = time.monotonic()

    def read(self, weights: Sequence[tuple[int, ...]] | None = None) -> TrainingState | None:
        """The state to resume from; None if the run must start again (if there was a file, the log says why).

        `weights` are the shapes of the model's weights. A damaged file is renamed.
        """
        here = self._read_here(weights)
        if self._shared is None:
            return here
        there = self._shared.read(0 if here is None else here.epochs, lambda file: self._read_shared(file, weights))
        return there or here

    def _read_here(self, weights: Sequence[tuple[int, ...]] | None) -> TrainingState | None:
        if not self._file.is_file():
            return None
        try:
            state = read_state(self._file)
        except RequestError as error:
            self._set_aside(str(error))
            return None
        if not self._is_ours(state, ("", self._fingerprint)):  # earlier versions wrote none
            return None
        if not _has(state, weights):
            self._set_aside(f"{self._file} has the weights of another model.")
            return None
        return state

    def _read_shared(self, file: Path, weights: Sequence[tuple[int, ...]] | None) -> TrainingState | None:
        """The state in a checkpoint of the store, which may be anybody's. Raises `RequestError`."""
        state = read_state(file)
        if not _has(state, weights) or (progress := state.progress) is None:
            raise RequestError("it has the weights of another model, or no progress.")
        if any(len(values) < state.epochs - progress.before for values in progress.series.values()):
            raise RequestError("it has fewer values than epochs.")
        return state if self._is_ours(state, (self._fingerprint,)) else None

    def _is_ours(self, state: TrainingState, fingerprints: Sequence[str]) -> bool:
        if state.fingerprint in fingerprints:
            return True
        log.warning(
            "The checkpoint %s belongs to another job, so training starts again: its fingerprint is %s, that "
            "of the run %s.",
            self._file, state.fingerprint, self._fingerprint,
        )  # fmt: skip
        return False

    def _set_aside(self, why: str) -> None:
        aside = self._file.with_name(f"{self._file.name}.damaged")
        self._file.replace(aside)
        log.warning(
            "The checkpoint cannot be used and was renamed to %s, so training starts again: %s", aside.name, why
        )

    def keep_if_due(self, capture: Callable[[], TrainingState]) -> None:
        """Write the state if the last one was written long enough ago."""
        if self._seconds is not None and time.monotonic() - self._last >= self._seconds:
            self.keep(capture())

    def keep(self, state: TrainingState, last: bool = False) -> None:
        """Write the state now; `last`: training stops with it. If the disk refuses it, the checkpoint is lost, but the
        run continues."""
        try:
            write_state(self._file, replace(state, fingerprint=self._fingerprint))
        except OSError as error:
            log.warning("No checkpoint after epoch %d: %s cannot be written (%s).", state.epochs, self._file, error)
        else:
            if self._shared is not None:
                self._shared.upload(self._file, state.epochs, last)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the checkpoint of a run that has finished."""
        self._file.unlink(missing_ok=True)
        for cut_off in self._file.parent.glob(f".{self._file.name}.*"):  # by `kill -9` while it was written
            cut_off.unlink(missing_ok=True)
        if self._shared is not None:
            self._shared.remove()


def _has(state: TrainingState, weights: Sequence[tuple[int, ...]] | None) -> bool:
    return weights is None or [value.shape for value in state.weights] == list(weights)
