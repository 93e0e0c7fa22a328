"""The checkpoints of a run in the store: another machine resumes the run from the newest that can be read.

The number of epochs is in an artifact's name. So a checkpoint that was cut off, because its machine died while it was
written, does not replace the one before it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from harness.errors import HarnessError, RequestError, StoreError
from harness.tracking.models import downloaded
from harness.tracking.pending_writes import look
from harness.tracking.store import Store
from harness.untrusted import check_regular

log = logging.getLogger(__name__)

FOLDER = "checkpoint"
NAME = re.compile(rf"{FOLDER}/epoch_([0-9]{{1,9}})\.npz")
MOST_BYTES = 2**32
SHARE = 20
"""The next upload waits for so many times the duration of the last one: uploads take at most 5 % of the time."""
PATIENCE_SECONDS = 20.0
"""How long the end of a run waits for an upload."""
Found = TypeVar("Found")


class SharedCheckpoints:
    """The checkpoints of the run `run_id` in the store. They are uploaded in a thread, beside the training.

    `attempt` is the number of this try: no checkpoint is written to a run that another process has taken over.
    `seconds` is the minimum time between two uploads; None: none. A store that fails costs checkpoints, but not the
    run: no function raises `StoreError`.
    """

    def __init__(self, store: Store, run_id: str, attempt: int, seconds: float | None) -> None:
        self._store, self._run_id, self._attempt, self._seconds = store, run_id, attempt, seconds
        self._due = time.monotonic() + (seconds or 0.0)
        self._thread: threading.Thread | None = None
        self._may_exist = attempt > 1

    def upload(self, file: Path, epochs: int, last: bool = False) -> None:
        """Upload the checkpoint `file`, if the last upload has ended and was long enough ago. `last`: the run stops
        now, so upload it in any case, and wait for it."""
        if self._seconds is None:
            return
        if last:
            self._wait()
        if (time.monotonic() < self._due and not last) or self._busy:
            return
        self._may_exist = True
        kept = Path(tempfile.mkdtemp()) / f"epoch_{epochs}.npz"
        try:
            _second_name(file, kept)  # the next checkpoint replaces `file` while this one is uploaded
        except OSError as error:
            log.warning("The checkpoint of epoch %d was not uploaded: %s", epochs, error)
            return
        self._thread = threading.Thread(target=self._send, args=(kept,), name="checkpoint", daemon=True)
        self._thread.start()
        if last:
            self._wait()

    def read(self, after: int, read: Callable[[Path], Found | None]) -> Found | None:
        """What `read` returns for the newest checkpoint of more than `after` epochs, or for the one before, if it
        returns None or raises `RequestError`. None if there is none."""
        if not self._may_exist:
            return None
        try:
            for epochs, location in self._listed():
                if epochs <= after:
                    break
                with downloaded(self._store, location) as file:
                    try:
                        check_regular(file, MOST_BYTES)
                        found = read(file)
                    except (RequestError, OSError) as error:
                        log.warning("The checkpoint of epoch %d in the store cannot be used: %s", epochs, error)
                        continue
                if found is not None:
                    log.info("the checkpoint of epoch %d comes from the store", epochs)
                    return found
        except HarnessError as error:
            log.warning("The store was not asked for a checkpoint: %s", error)
        return None

    def remove(self) -> None:
        """Delete the checkpoints of a run that has finished."""
        self._wait()
        if self._may_exist and not self._busy:
            with _tolerated("The checkpoints of this run are still in the store"):
                self._delete(location for _, location in self._listed())

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)

    def _send(self, kept: Path) -> None:
        began = time.monotonic()
        try:
            with _tolerated(f"The checkpoint {kept.stem} was not uploaded"):
                if look(self._store, self._run_id).tries != self._attempt:
                    return
                before = [location for _, location in self._listed()]
                with self._store.connected() as client:
                    self._store.check_targets(self._folder(), [kept.name])
                    client.log_artifact(self._run_id, str(kept), FOLDER)
                self._delete(location for location in before if not location.endswith(f"/{kept.name}"))
        finally:
            shutil.rmtree(kept.parent, ignore_errors=True)
            now = time.monotonic()
            self._due = now + max(self._seconds or 0.0, SHARE * (now - began))

    def _folder(self) -> str:
        with self._store.connected() as client:
            return f"{client.get_run(self._run_id).info.artifact_uri.rstrip('/')}/{FOLDER}"

    def _listed(self) -> list[tuple[int, str]]:
        """The number of epochs and the location of each checkpoint, the newest first."""
        folder = self._folder()
        if (path := self._store.artifact_path(folder)) is not None and not path.is_dir():
            return []
        with self._store.connected() as client:
            names = [NAME.fullmatch(str(item.path)) for item in client.list_artifacts(self._run_id, FOLDER)]
        found = [(int(name[1]), f"{folder.removesuffix(FOLDER)}{name[0]}") for name in names if name is not None]
        return sorted(found, reverse=True)

    def _delete(self, locations: Iterator[str]) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        for location in locations:
            if (path := self._store.artifact_path(location)) is not None:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # others are still in it
                    path.parent.rmdir()
                continue
            root, _, name = location.rpartition("/")
            with self._store.explained():
                get_artifact_repository(root, tracking_uri=self._store.uri).delete_artifacts(name)


@contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """Log an error of the store in the block, after the words `what`, instead of raising it."""
    try:
        yield
    except (StoreError, OSError) as error:
        log.warning("%s: %s", what, error)


def _second_name(file: Path, other: Path) -> None:
    try:
        os.link(file, other)
    except OSError:  # another file system
        shutil.copyfile(file, other)
