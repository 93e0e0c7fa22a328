"""Runs that wait at the end of an epoch until a test has done what it does in the middle of a run.

Otherwise a test needs runs of hundreds of epochs to meet one in the middle. It works in commands that are forks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "HARNESS_TESTS_PAUSES"
"""The variable with the folder in which a file named by an epoch makes runs wait at its end."""


class Pauses:
    """Give `environment` to the command before its runs begin."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pauses"
        self._folder.mkdir()
        self.environment = {VARIABLE: str(self._folder)}

    def after(self, epoch: int, let_by: int = 0) -> None:
        """Every run waits when it has recorded this epoch, but for the first `let_by` runs that come there."""
        for number in range(let_by):
            (self._folder / f"{epoch} {number}").touch()
        (self._folder / str(epoch)).touch()

    def end(self, epoch: int | None = None) -> None:
        """No run waits any more, after this epoch or after any."""
        for file in self._folder.glob("*" if epoch is None else f"{epoch}"):
            file.unlink(missing_ok=True)


def obey() -> None:
    """Make the runs of this process, and of its forks, wait where a test wants it."""
    from harness.training.callbacks import EpochRecorder

    recorded = EpochRecorder.on_epoch_end

    def record_and_wait(recorder: Any, epoch: int, logs: dict[str, float] | None = None) -> None:
        recorded(recorder, epoch, logs)
        if (folder := os.environ.get(VARIABLE)) is not None:
            while Path(folder, str(epoch + 1)).exists() and not _let_by(Path(folder), epoch + 1):
                time.sleep(0.01)

    EpochRecorder.on_epoch_end = record_and_wait


def _let_by(folder: Path, epoch: int) -> bool:
    for file in folder.glob(f"{epoch} *"):
        try:
            file.unlink()
        except FileNotFoundError:  # another run was faster
            continue
        return True
    return False
