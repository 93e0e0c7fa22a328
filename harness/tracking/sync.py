"""Uploads spooled results to their store, in order, each exactly once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.pending_writes import End, StoredRun, look
from harness.tracking.spool import Spool, find_spools, held
from harness.tracking.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Uploaded:
    """The result of uploading a run's spool: how many operations were written, and the run's final state.

    `state` is None if the run's process died before it recorded one; `parent_id` is the sweep that the run belongs to;
    `elsewhere`: another try has finished the run meanwhile, so nothing of this spool was needed.
    """

    written: int
    state: str | None
    parent_id: str | None
    elsewhere: bool = False


def upload_spools(spools: Sequence[Spool], ending: bool = True) -> Uploaded:
    """Upload the parts of one run's spool, which the caller has locked, and delete them.

    `ending=False` leaves out the end of the run, because it is being resumed.
    Raises `StoreError`, also if another process is writing the run: what was uploaded is marked, the rest stays.
    """
    origin = spools[0].origin
    if any(spool.origin.uri != origin.uri for spool in spools):
        raise StoreError(f"The parts of the spool {spools[0].folder} are meant for different stores. Look at them.")
    store = origin.store
    if store.is_missing:  # MLflow would create an empty one
        raise StoreError(
            f"The tracking store {store.database} does not exist. Bring it back; the results wait in "
            f"{spools[0].folder}."
        )
    store.check_writable()
    now = look(store, origin.run_id)
    if now.tries > origin.attempt and now.state is RunState.RUNNING:
        raise StoreError(
            f"The run {origin.run_id} is being trained by another process, which has taken it over. The results of "
            f"before wait in {spools[0].folder}."
        )
    elsewhere = now.tries > origin.attempt and now.state is RunState.FINISHED
    stored = StoredRun(store, origin.run_id, origin.experiment_id, now.tries, again=True)
    written, state = 0, None
    try:
        for spool in () if elsewhere else spools:
            done = spool.done
            for number, operation in enumerate(spool.operations(), start=1):
                if isinstance(operation, End):
                    state = operation.state
                if number <= done:
                    continue
                if ending or not isinstance(operation, End):
                    stored.apply(operation)
                    written += 1
                spool.mark_done(number)
        for spool in spools:
            spool.remove()
    except OSError as error:
        raise StoreError(f"The spool {spools[0].folder} cannot be read or marked: {error}.") from error
    return Uploaded(written, str(now.state) if elsewhere else state, now.parent_id, elsewhere)


def upload_before(store: Store, run_id: str) -> None:
    """Before a run is resumed: upload what earlier tries left in a spool for this store. Raises `StoreError`."""
    for spools in find_spools(run_id).values():
        if any(spool.origin.store != store for spool in spools):
            log.warning("The spool %s is left alone: it is meant for another store.", spools[0].folder)
            continue
        with held(spools) as ours:
            if not ours:
                raise StoreError(
                    f"The run {run_id} is being trained or synced by another process ({spools[0].folder})."
                )
            uploaded = upload_spools(spools, ending=False)
            log.info("uploaded %d entries of an earlier try from %s", uploaded.written, spools[0].folder)
