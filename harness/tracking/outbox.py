"""Sends a run's writes to the store; if the store fails, to a spool, so that training continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import NotInStore, StoreError
from harness.records import RunState
from harness.tracking.access import USUAL, refused, retries
from harness.tracking.pending_writes import End, Operation, StoredRun, Values
from harness.tracking.spool import Origin, Spool, places
from harness.tracking.sync import upload_spools

log = logging.getLogger(__name__)


class Outbox:
    """Takes a run's operations in order. After the first one that fails, all go to the spool."""

    def __init__(self, origin: Origin, location: str | None = None) -> None:
        """If `origin.attempt` is a retry, earlier tries may have written some operations already; `location`: that of
        the run's artifacts, if it is known."""
        self._origin = origin
        again = origin.attempt > 1
        self._stored = StoredRun(origin.store, origin.run_id, origin.experiment_id, origin.attempt, again, location)
        self._spools: list[Spool] = []
        self._places = iter(places())
        self._reason: StoreError | None = None

    def put(self, operation: Operation) -> None:
        """Deliver one operation.

        Raises `StoreError` if the store is reachable but rejects it (the run was deleted, for example), or if neither
        the store nor a spool can be written; `TakenOver` if a later try of the run has begun.
        """
        self._deliver(lambda: self._stored.apply(operation), [operation])

    def put_together(self, operations: Sequence[Values]) -> None:
        """Deliver several operations in one request. Raises as `put`, after the operations that are not rejected."""
        try:
            self._deliver(lambda: self._stored.apply_together(operations), operations)
        except StoreError:
            if self._reason is None:  # the store takes all of a request or nothing
                for operation in operations if len(operations) > 1 else ():
                    with suppress(StoreError):
                        self.put(operation)
            raise

    def _deliver(self, write: Callable[[], None], operations: Sequence[Operation]) -> None:
        if self._reason is None:
            try:
                write()
                return
            except StoreError as error:
                if refused(error):
                    raise
                self._reason = error
        before = self._folder
        for operation in operations:
            self._keep(operation)
        if self._folder != before:
            self._warn()

    def flush(self) -> None:
        """Everything is delivered when `put` returns; see `BackgroundOutbox`."""

    def leave(self) -> None:
        """Nothing waits to be written; see `BackgroundOutbox`."""

    def end(self, state: RunState, time: int) -> None:
        """Deliver the end of the run. A spool is uploaded at once if the store can be used again.

        Raises `NotInStore` for a FINISHED run with results in a spool; for other runs their own error is raised.
        """
        self.put(End(str(state), time))
        if self._reason is None:
            return
        try:
            with retries(USUAL):
                home = upload_spools(self._spools)
            name = self._origin.name
            if home.elsewhere:
                log.warning(
                    "The store can be used again: another process has trained %s to its end, so its spool "
                    "is not needed.",
                    name,
                )
            else:
                log.warning("The store can be used again: everything in the spool of %s was uploaded.", name)
        except StoreError as error:
            log.info("still in the spool: %s", error)
            if state is RunState.FINISHED:
                raise NotInStore(
                    f"{self._origin.name} ({self._origin.run_id}) was trained to its end, but not all of its results "
                    f"are in the store. {self._said}\nThey are kept in {self._folder}: `harness sync` uploads them "
                    "when the store can be used again."
                ) from self._reason
        finally:
            for spool in self._spools:
                spool.lock.release()

    @property
    def _folder(self) -> Path | None:
        return self._spools[-1].folder if self._spools else None

    def _keep(self, operation: Operation) -> None:
        reasons = []
        if self._spools:
            try:
                self._spools[-1].append(operation)
                return
            except OSError as error:
                reasons.append(f"{self._folder}: {error.strerror or error}")
        for place in self._places:
            try:
                spool = Spool.create(place, self._origin, len(self._spools) + 1)
                self._spools.append(spool)
                spool.append(operation)
                return
            except OSError as error:
                reasons.append(f"{place}: {error.strerror or error}")
        raise StoreError(
            f"{self._said}\nNor could the results be kept on this machine ({'; '.join(reasons)}). Free some space, "
            "or name another place for temporary files with TMPDIR, and start the run again."
        ) from self._reason

    def _warn(self) -> None:
        # The logs are usually on the same full disk: `logging` would print a traceback for each line.
        logging.raiseExceptions = False
        if len(self._spools) > 1:
            log.error("The disk of %s is full too: the results go to %s now.", self._spools[0].folder, self._folder)
            return
        log.error(
            "%s\nTraining continues. From here on the results of %s (%s) are kept in %s; `harness sync` uploads "
            "them when the store can be used again.",
            *(self._said, self._origin.name, self._origin.run_id, self._folder),
        )

    @property
    def _said(self) -> str:
        """Why the store failed, without the line about how a store is chosen."""
        return str(self._reason).partition("\n")[0]
