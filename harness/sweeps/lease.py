"""The lease on a sweep: only one command at a time trains it. The lease is in the store, with a heartbeat.

A lease is a parameter of the parent run (`claim.1`, then `claim.2`, ...). No MLflow store lets a written parameter
change, so only one of several commands gets it. Its owner renews a tag (the heartbeat) as long as it lives. A lease
ends when its owner releases it or dies. The death of a process on this machine is seen at once; one on another machine
counts as dead when its heartbeat has stopped for a while.
"""

from __future__ import annotations

import _thread
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import psutil

from harness.errors import StoreError
from harness.machine import is_gone, is_here, is_hidden, process_in_words, seconds_elapsed
from harness.records import RunRecord, RunState
from harness.sweeps.claims import LEFT, claim_owners
from harness.sweeps.owners import BEAT_SECONDS, EXPIRY_SECONDS, jittered, left_behind, new_owner, outlast, process_of
from harness.sweeps.plan import SweepPlan, earlier_sweeps, resumable_sweeps, same_sweeps
from harness.tracking.reading import read_sweeps, select_runs
from harness.tracking.selection import JOB_TAG, PROCESS_TAG, Selection, is_sweep
from harness.tracking.shared_writes import tag_run, write_once
from harness.tracking.store import Store
from harness.tracking.unfinished import close_abandoned
from harness.tracking.writing import RunIdentity, RunWriter

log = logging.getLogger(__name__)

SETTLING_SECONDS = 1.0
"""Seconds until a server shows one command what another has written."""

HEARTBEAT_TAG = "harness.heartbeat"
RELEASED_TAG = "harness.claim_released"
LEASE = re.compile(r"claim\.([1-9][0-9]{0,8})")
CUT_OFF = "Its sweep ended before the run did."
DIED_ALONE = "Its process ended before the run did: it was killed, or the machine was switched off."


@dataclass(frozen=True)
class Holder:
    """The last lease on a sweep: its number, its owner, the owner's last heartbeat, whether it was released."""

    number: int
    process: str
    beat: str
    released: bool

    @property
    def gone(self) -> bool:
        """Whether the owner was a process on this machine that has ended."""
        return is_gone(self.process)

    def __str__(self) -> str:
        return process_in_words(self.process)


def holder_of(parent: RunRecord) -> Holder | None:
    """The last lease on the sweep; None if there was none."""
    numbers = [int(found[1]) for key in parent.parameters if (found := LEASE.fullmatch(key))]
    if not numbers:
        return None
    number, tags = max(numbers), parent.tags
    process = process_of(parent.parameters[f"claim.{number}"])
    return Holder(number, process, tags.get(HEARTBEAT_TAG, ""), tags.get(RELEASED_TAG) == str(number))


def is_held(parent: RunRecord) -> bool:
    """Whether a command is, or may be, running the sweep."""
    holder = holder_of(parent)
    return holder is not None and not holder.released and not holder.gone


class LeaseWatch:
    """Detects the end of a lease. `is_over` is called repeatedly, each time with the parent run as just read."""

    def __init__(self) -> None:
        self._seen: tuple[int, str] | None = None
        self._since = time.monotonic()

    def is_over(self, parent: RunRecord) -> bool:
        """Whether nobody holds the sweep: the lease was released, its owner is dead, or the heartbeat stopped."""
        holder = holder_of(parent)
        if holder is None or holder.released or holder.gone:
            return True
        if is_here(holder.process) and not is_hidden(holder.process):
            return False
        if self._seen != (holder.number, holder.beat):
            self._seen, self._since = (holder.number, holder.beat), time.monotonic()
        return time.monotonic() - self._since > EXPIRY_SECONDS


class Lease:
    """This process's lease on a sweep. As a context manager it sends heartbeats, and releases the lease at the end.

    If another command takes over the sweep during the block (for example because this machine slept for a minute), the
    lease `is_lost`, and the main thread is interrupted.
    """

    def __init__(self, store: Store, parent_id: str, number: int) -> None:
        self._store, self._parent_id, self.number = store, parent_id, number
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._lost = False
        self._held_at = seconds_elapsed()
        self.beside: Callable[[str], dict[str, str]] = lambda beat: {}
        """The other tags of a heartbeat: those of the claims of this process."""

    def is_lost(self) -> bool:
        """Whether another command has the lease now; False if the store cannot be read.

        The store is not asked again within `BEAT_SECONDS`: a lease is taken over after `EXPIRY_SECONDS` at the
        earliest.
        """
        try:
            if not self._lost and seconds_elapsed() - self._held_at > BEAT_SECONDS:
                with self._store.connected() as client:
                    self.look(client.get_run(self._parent_id).data.params)
        except StoreError as error:
            log.info("not known whether the lease still holds: %s", error)
        return self._lost

    def look(self, parameters: Mapping[str, str]) -> None:
        """Find out whether the lease is lost from the parameters of the parent run, as just read."""
        self._lost = self._lost or f"claim.{self.number + 1}" in parameters
        self._held_at = seconds_elapsed()

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(BEAT_SECONDS)
        if not self.is_lost():
            tag_run(self._store, self._parent_id, {RELEASED_TAG: str(self.number), **self.beside(LEFT)})

    def _beat(self) -> None:
        while not self._over.wait(jittered(BEAT_SECONDS)):
            try:
                if self.is_lost():
                    _thread.interrupt_main()
                    return
                beat = f"{time.time():.1f}"
                tag_run(self._store, self._parent_id, {HEARTBEAT_TAG: beat, **self.beside(beat)})
            except StoreError as error:  # the store may come back; jobs that cannot write report it themselves
                log.info("no heartbeat: %s", error)


def take_lease(store: Store, parent_id: str, after: int = 0) -> Lease | None:
    """Lease a sweep after lease number `after` has ended (0: it had none); None if another command was faster.

    Raises `StoreError`.
    """
    owner = new_owner(parent_id)
    return Lease(store, parent_id, after + 1) if write_once(store, parent_id, f"claim.{after + 1}", owner) else None


def new_parent(store: Store, plan: SweepPlan, identity: RunIdentity) -> RunWriter | None:
    """Create the parent run of a sweep; None if another command has created one for the same jobs meanwhile.

    Raises `StoreError`.
    """
    if store.is_local:
        with store.exclusive():
            return None if earlier_sweeps(plan, store) else RunWriter(store, identity)
    own = RunWriter(store, identity)
    time.sleep(SETTLING_SECONDS)
    same = same_sweeps(plan, store)
    if len(same) == 1 or resumable_sweeps(store, same)[0].run_id == own.run_id:  # the oldest of those begun stays
        return own
    with store.connected() as client:
        client.delete_run(own.run_id)
    return None


def take_over(
    store: Store,
    parent: RunRecord,
    say: Callable[[str], None],
    timeout: float | None = None,
    elsewhere: Collection[str] = (),
) -> None:
    """Take over a sweep from a command that died: wait for its worker processes to end, and close its runs.

    The workers stop at the end of their epoch; those still alive after `timeout` seconds are killed. `say` prints a
    message for the user. `elsewhere` are the numbers of the jobs that machines which joined the sweep still train.
    """
    leases = [value for key, value in parent.parameters.items() if LEASE.fullmatch(key)]
    if left := left_behind(parent.run_id, [*leases, *claim_owners(parent)]):
        numbers = " ".join(str(process.pid) for process in left)
        bound = f"`kill -9 {numbers}` ends them now" if timeout is None else f"at most timeout={timeout:g} s"
        say(
            f"Waiting for {len(left)} workers of the interrupted command: they stop at the end of their epoch "
            f"({bound})."
        )
        if hung := outlast(left, timeout):
            say(f"{len(hung)} of them did not and were killed.")
            for process in hung:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            outlast(hung, None)
    for run in select_runs(store, Selection(parent_id=parent.run_id, running=True)):
        if run.tags.get(JOB_TAG) not in elsewhere:
            close_abandoned(store, run, RunState.KILLED, CUT_OFF, "ProcessDied")


def close_dead(store: Store) -> list[RunRecord]:
    """End the runs that are RUNNING in the store although their process has certainly ended (see `machine.is_gone`);
    returns them. Runs of a sweep whose lease is, or may be, held are left to that command.

    Raises `StoreError`.
    """
    dead = [
        run
        for run in select_runs(store, Selection(running=True))
        if (process := run.tags.get(PROCESS_TAG)) and is_gone(process)
    ]
    sweeps = {run.run_id if is_sweep(run) else run.parent_id for run in dead}
    held = {sweep.run_id for sweep in read_sweeps(store) if is_held(sweep)} if sweeps - {None} else set()
    closed = [run for run in dead if held.isdisjoint((run.run_id, run.parent_id))]
    for run in closed:
        close_abandoned(store, run, RunState.KILLED, DIED_ALONE, "ProcessDied")
        log.warning("%s (%s) was RUNNING and its process has gone: it is KILLED now.", run.name, run.run_id)
    return closed
