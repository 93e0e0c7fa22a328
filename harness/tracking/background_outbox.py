"""Sends a run's writes beside its training, for a store behind a network: few requests, and none is waited for."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.access import SILENT_SECONDS
from harness.tracking.outbox import Outbox
from harness.tracking.pending_writes import File, Metrics, Operation, Parameters, Tags, TrainedModel, Values, to_json

log = logging.getLogger(__name__)

SOON_SECONDS, BATCH_SECONDS, LONGEST_SECONDS = 0.3, 2.0, 30.0
"""Seconds that the first values of a run wait for others, so that one request takes them all; and the least and the
most that later ones wait: a tenth of the time that the run has taken so far. So a long run makes few requests, too."""
SHARE_WAITED = 0.1
BATCH_BYTES, BATCH_METRICS, BATCH_PARAMETERS = 400_000, 1000, 100
"""A server refuses more than a million bytes in a request. MLflow's client sends more than a thousand metrics in
several requests, and a process that is killed between two of them would leave half an epoch. It takes a hundred
parameters in a request; a run has a few more, which wait for the next one."""


class BackgroundOutbox:
    """An `Outbox` in a thread of its own: `put` returns at once. `flush` and `end` wait until everything is delivered.

    Files are sent at once, and values (parameters, tags, metrics) wait for others. So values that name an artifact
    arrive after it. Until then all are in memory, and files in a temporary folder. If the process is killed, they are
    lost, but a resumed run logs them again: its epochs are also in its checkpoint.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._changed = threading.Condition()
        self._one_at_a_time = threading.Lock()
        self._files: list[Operation] = []
        self._values: list[Values] = []
        self._began = time.monotonic()
        self._due = self._began + SOON_SECONDS
        self._hurry = self._busy = self._over = False
        self._failure: BaseException | None = None
        self._copies: Path | None = None
        self._copied = 0
        self._thread: threading.Thread | None = None

    def put(self, operation: Operation) -> None:
        """Take one operation, and copy its file. Raises what an earlier operation has raised, as `Outbox.put`."""
        if isinstance(operation, File | TrainedModel):
            operation = self._copy(operation)
        with self._changed:
            if isinstance(operation, Parameters | Tags | Metrics):
                self._values.append(operation)
            else:
                self._files.append(operation)
            if self._thread is None:
                sending = partial(copy_context().run, self._send)  # with as many retries as here
                self._thread = threading.Thread(target=sending, name="outbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        self._raise()

    def flush(self) -> None:
        """Wait until everything is in the store or in a spool. Raises as `put`."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            silence: float | None = SILENT_SECONDS
            while self._thread is not None and (self._files or self._values or self._busy):
                if not self._changed.wait(silence) and silence is not None:
                    log.warning("Waiting until the tracking store has taken the results of this run. Ctrl-C ends that.")
                    silence = None
            self._hurry = False
        self._raise()

    def end(self, state: RunState, time: int) -> None:
        """As `Outbox.end`, after everything else."""
        try:
            self.flush()
        finally:
            self._stop()
            try:
                with self._one_at_a_time:  # a second Ctrl-C has ended the flush: the thread may still be writing
                    self._outbox.end(state, time)
            finally:
                self._remove_copies()

    def leave(self) -> None:
        """Write nothing more: another process has the run."""
        self._stop(leave=True)
        self._remove_copies()

    def _stop(self, leave: bool = False) -> None:
        with self._changed:
            self._over = True
            if leave:
                self._files, self._values = [], []
            self._changed.notify_all()

    def _remove_copies(self) -> None:
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)

    def _raise(self) -> None:
        with self._changed:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _copy(self, operation: File | TrainedModel) -> Operation:
        """The operation with a copy of its file or folder, which the caller may then change or remove."""
        try:
            if self._copies is None:
                self._copies = Path(tempfile.mkdtemp())
            self._copied += 1
            copy = self._copies / str(self._copied) / Path(operation.path).name
            copy.parent.mkdir()
            if isinstance(operation, TrainedModel):
                shutil.copytree(operation.path, copy)
            else:
                shutil.copyfile(operation.path, copy)
        except OSError as error:
            raise StoreError(
                f"A file of the run could not be copied to {tempfile.gettempdir()}: {error.strerror or error}. Free "
                "some space there, or name another place for temporary files with TMPDIR."
            ) from error
        return replace(operation, path=str(copy))

    def _send(self) -> None:
        while (taken := self._next()) is not None:
            files, values = taken
            for operation in files:
                self._deliver(partial(self._outbox.put, operation))
                if isinstance(operation, File | TrainedModel):
                    shutil.rmtree(Path(operation.path).parent, ignore_errors=True)
            for batch in _batches(values):
                self._deliver(partial(self._outbox.put_together, batch))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _deliver(self, put: Callable[[], None]) -> None:
        try:
            with self._one_at_a_time:
                put()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that trains
            with self._changed:
                self._failure = self._failure or error

    def _next(self) -> tuple[list[Operation], list[Values]] | None:
        """Wait for operations that are due; None at the end."""
        with self._changed:
            while True:
                wait = self._due - time.monotonic()
                values_due = bool(self._values) and (self._hurry or wait <= 0) and not self._files
                if self._files or values_due:
                    break
                if self._over:
                    return None
                self._changed.wait(max(wait, 0) if self._values else None)
            self._busy = True
            files, self._files = self._files, []
            values: list[Values] = []
            if values_due:
                values, self._values = (self._values, []) if self._hurry else _fitting(self._values)
                now = time.monotonic()
                self._due = now + min(max(BATCH_SECONDS, SHARE_WAITED * (now - self._began)), LONGEST_SECONDS)
            return files, values


def _fitting(values: Sequence[Values]) -> tuple[list[Values], list[Values]]:
    """The values without the parameters that are too many for one request, and these."""
    taken: list[Values] = []
    left: list[Values] = []
    room = BATCH_PARAMETERS
    for operation in values:
        if not isinstance(operation, Parameters):
            taken.append(operation)
            continue
        entries = list(operation.values.items())
        for part, place in ((entries[:room], taken), (entries[room:], left)):
            if part:
                place.append(Parameters(dict(part)))
        room = max(room - len(entries), 0)
    return taken, left


def _batches(values: Sequence[Values]) -> Iterator[list[Values]]:
    """Portions that fit into one request each, in order."""
    batch: list[Values] = []
    size = metrics = 0
    for operation in values:
        length = len(json.dumps(to_json(operation)))
        count = len(operation.values) if isinstance(operation, Metrics) else 0
        if batch and (size + length > BATCH_BYTES or metrics + count > BATCH_METRICS):
            yield batch
            batch, size, metrics = [], 0, 0
        batch.append(operation)
        size, metrics = size + length, metrics + count
    if batch:
        yield batch
