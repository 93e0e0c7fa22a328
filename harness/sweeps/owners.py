"""Who holds a lease or a claim: a process, and a proof by which its workers are known after its death."""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections.abc import Hashable, Iterable
from contextlib import suppress

import psutil

from harness.machine import is_alive, is_here, mark_children, marked_processes, this_process

BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
"""A lease or a claim has expired if the heartbeat of its owner did not change for so many seconds. The time written in
a heartbeat is only for people: the clocks of two machines differ."""
LOOK_SECONDS = 0.2
"""Seconds between two checks whether processes have ended."""


DRAWS = random.SystemRandom()
"""For what must differ between processes. Python's own generator belongs to the runs: their seeds decide it."""


def jittered(seconds: float, by: float = 0.2) -> float:
    """A pause of about so many seconds, longer or shorter `by` this share: many processes do not act in step."""
    return seconds * DRAWS.uniform(1 - by, 1 + by)


def new_owner(parent_id: str) -> str:
    """This process as the owner of a lease or of claims on the sweep `parent_id`."""
    return f"{this_process()} {_proof(mark_children(), parent_id, uuid.uuid4().hex[:8])}"


def process_of(owner: str) -> str:
    """The owner's process, as `machine.this_process` wrote it."""
    return owner.rpartition(" ")[0]


def left_behind(parent_id: str, owners: Iterable[str]) -> list[psutil.Process]:
    """The living workers on this machine of those owners that are dead: processes with the mark of the owner. The
    process ids that the runs recorded are not trusted."""
    dead = [owner for owner in owners if is_here(process_of(owner)) and not is_alive(process_of(owner))]
    proofs = {owner.rpartition(" ")[2] for owner in dead}
    if not proofs:
        return []
    return [
        process
        for process, mark in marked_processes()
        if any(_proof(mark, parent_id, proof.partition(".")[0]) == proof for proof in proofs)
    ]


def _proof(mark: str, parent_id: str, salt: str) -> str:
    """A hash that proves which mark the owner's workers carry. Whoever sees the mark of a process can check it, but
    nobody can make it without the mark: so no record of a store can name a process that is not a worker of this sweep
    (and have it killed)."""
    return f"{salt}.{hashlib.sha256(f'{salt} {parent_id} {mark}'.encode()).hexdigest()[:32]}"


def outlast(processes: list[psutil.Process], timeout: float | None) -> list[psutil.Process]:
    """Wait until the processes have ended; returns those that are still alive after `timeout` seconds."""
    began = time.monotonic()
    while (living := [process for process in processes if _lives(process)]) and (
        timeout is None or time.monotonic() - began < timeout
    ):
        time.sleep(LOOK_SECONDS)
    return living


def _lives(process: psutil.Process) -> bool:
    """Whether a process is alive. A zombie is not, even if its parent never collects its exit code."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class StillnessWatch:
    """Detects values that stopped changing, by the clock of this machine."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def is_still(self, key: Hashable, value: object) -> bool:
        """Whether the value of `key` is the same since more than `EXPIRY_SECONDS`."""
        now = time.monotonic()
        seen, since = self._seen.get(key, (None, now))
        if seen != value:
            since = now
        self._seen[key] = (value, since)
        return now - since > EXPIRY_SECONDS
