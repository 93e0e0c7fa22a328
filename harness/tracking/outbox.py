"""Where a run's writes go: to the store, and once that fails to a spool, so that training continues."""

from __future__ import annotations

import logging
from pathlib import Path

from harness.errors import NotInStore, StoreError
from harness.records import RunState
from harness.tracking.access import USUAL, refused, retries
from harness.tracking.pending_writes import End, Operation, StoredRun
from harness.tracking.spool import Origin, Spool, places
from harness.tracking.sync import upload_spools

log = logging.getLogger(__name__)


class Outbox:
    """Takes a run's operations in order. After the first that the store does not take, all go to the spool."""

    def __init__(self, origin: Origin) -> None:
        """An earlier try than `origin.attempt` may have written some of it already."""
        self._origin = origin
        again = origin.attempt > 1
        self._stored = StoredRun(origin.store, origin.run_id, origin.experiment_id, origin.attempt, again)
        self._spools: list[Spool] = []
        self._places = iter(places())
        self._reason: StoreError | None = None

    def put(self, operation: Operation) -> None:
        """Deliver one operation.

        Raises `StoreError` where the store is there but does not want it (the run was deleted, say), or where neither
        store nor any spool can be written; `TakenOver` where a later try at the run has begun.
        """
        if self._reason is None:
            try:
                self._stored.apply(operation)
                return
            except StoreError as error:
                if refused(error):
                    raise
                self._reason = error
        before = self._folder
        self._keep(operation)
        if self._folder != before:
            self._warn()

    def end(self, state: RunState, time: int) -> None:
        """Deliver the end. A spool is uploaded at once if the store can be used again.

        Raises `NotInStore` for a run that FINISHED and whose results are in a spool; other runs have an error of
        their own to tell.
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
        # Logs lie on the same disk as a rule: `logging` would print a traceback for each line that finds it full.
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
        """Why the store was given up, without how it is chosen."""
        return str(self._reason).partition("\n")[0]
