"""Claims on the jobs of a sweep: of several machines that train it, exactly one trains each job.

A claim is a parameter of the parent run (`job.7.1`; the second claim on this job is `job.7.2`). No MLflow store lets a
written parameter change, so only one of several processes gets it. Its owner renews one tag, its heartbeat. A claim has
lapsed when its owner has left the sweep or died, or when its heartbeat stopped: then another process takes the next one
and resumes the job's run.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from harness.errors import StoreError
from harness.machine import is_gone, is_here, is_hidden, process_in_words
from harness.records import RunRecord, RunState
from harness.sweeps.contract import Choose
from harness.sweeps.owners import BEAT_SECONDS, DRAWS, StillnessWatch, jittered, left_behind, new_owner, process_of
from harness.sweeps.plan import one_a_job
from harness.sweeps.worker import Job
from harness.tracking.reading import SweepReader, read_runs
from harness.tracking.shared_writes import tag_run, write_once
from harness.tracking.store import Store

log = logging.getLogger(__name__)

CLAIM = re.compile(r"job\.(0|[1-9][0-9]{0,8})\.([1-9][0-9]{0,8})")
BEAT_TAG = "harness.heartbeat."
"""With the owner's salt: the heartbeat of all its claims."""
LEFT = "left"
"""The heartbeat of an owner that trains no more jobs of the sweep."""
LOOK_SECONDS, STALE_SECONDS = 2.0, 1.0
"""About how often a process that waits for others reads the store; and how old what it knows may be when it claims."""
LOOKS_A_SECOND = 10.0
"""So often do all machines that joined a sweep look at it together."""


@dataclass(frozen=True)
class Claim:
    """The last claim on a job: its number, its owner, and the number of the lease under which it was made."""

    number: int
    owner: str
    lease: int

    @property
    def beat_tag(self) -> str:
        return f"{BEAT_TAG}{self.owner.rpartition(' ')[2].partition('.')[0]}"

    def may_hold(self, parent: RunRecord) -> bool:
        """Whether the owner trains the job, or may do so: False if it has certainly left or ended."""
        return parent.tags.get(self.beat_tag) != LEFT and not is_gone(process_of(self.owner))


def last_claims(parent: RunRecord) -> dict[int, Claim]:
    """The last claim on each job that has one, by the job's number."""
    claims: dict[int, Claim] = {}
    for key, value in parent.parameters.items():
        if found := CLAIM.fullmatch(key):
            owner, _, lease = value.rpartition(" ")
            claim = Claim(int(found[2]), owner, int(lease) if lease.isdecimal() and len(lease) < 10 else 0)
            if claim.number > claims.get(int(found[1]), Claim(0, "", 0)).number:
                claims[int(found[1])] = claim
    return claims


def claim_owners(parent: RunRecord) -> list[str]:
    """The owners of all claims on jobs of a sweep."""
    return [value.rpartition(" ")[0] for key, value in parent.parameters.items() if CLAIM.fullmatch(key)]


def jobs_elsewhere(parent: RunRecord, mine: str = "") -> dict[int, Claim]:
    """The jobs that other processes train, or may train, by their number; `mine` is this process as an owner."""
    return {job: claim for job, claim in last_claims(parent).items() if claim.owner != mine and claim.may_hold(parent)}


class Claims:
    """This process's claims on jobs of a sweep, made under the lease number `lease`. As a context manager it sends
    heartbeats, and gives the claims back at the end."""

    def __init__(self, store: Store, parent_id: str, lease: int, joined: bool = True) -> None:
        """`joined`: the sweep is that of another command. Otherwise the lease sends the heartbeats (`beat`)."""
        self.store, self.parent_id, self.lease, self.joined = store, parent_id, lease, joined
        self.owner = new_owner(parent_id)
        self.taken: set[int] = set()
        """The numbers of the jobs that this process has claimed."""
        self._own = Claim(0, self.owner, lease)
        self._seen: RunRecord | None = None
        self.owners = 1
        """How many processes had claimed jobs at the last look."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)

    def take(self, job: int, after: int) -> bool:
        """Claim a job after claim number `after` on it has lapsed (0: it had none). Returns False if another process
        was first. Raises `StoreError`."""
        if write_once(self.store, self.parent_id, f"job.{job}.{after + 1}", f"{self.owner} {self.lease}"):
            self.taken.add(job)
            return True
        return False

    def parent(self) -> RunRecord:
        """The parent run as it is now. Raises `StoreError`."""
        [parent] = read_runs(self.store, run_ids=[self.parent_id], include_parents=True)
        self._seen = parent
        self.owners = max(1, len(set(claim_owners(parent))))
        return parent

    def seen_parent(self) -> RunRecord:
        """The parent run as it was read last: what it has recorded of its jobs does not change."""
        return self._seen or self.parent()

    @property
    def least_pause(self) -> float:
        """The seconds between two looks at the sweep, so that many machines do not keep the server busy. The sweep's
        own command looks as often as it likes."""
        return self.owners / LOOKS_A_SECOND if self.joined else 0.0

    def announce(self) -> None:
        """Say that this process takes part, before its workers start. Raises `StoreError` if it may not: the server
        does not let the user write."""
        tag_run(self.store, self.parent_id, {self._own.beat_tag: f"{time.time():.1f}"})

    def beat(self, text: str) -> dict[str, str]:
        """The tag with the heartbeat `text`; empty as long as there is no claim."""
        return {self._own.beat_tag: text} if self.taken else {}

    def __enter__(self) -> Claims:
        if self.joined:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        if self.joined:
            self._thread.join(BEAT_SECONDS)
        if self.taken and (self.joined or error is not None):  # else the lease says it with its own end
            self._tag(LEFT)

    def _beat(self) -> None:
        while not self._over.wait(jittered(BEAT_SECONDS)):
            if self.taken:
                self._tag(f"{time.time():.1f}")

    def _tag(self, beat: str) -> None:
        try:
            tag_run(self.store, self.parent_id, self.beat(beat))
        except StoreError as error:  # the store may come back; if it does not, the claims lapse
            log.info("no heartbeat: %s", error)


class ClaimedJobs:
    """The jobs of a sweep that other machines may train too: each is claimed before a worker gets it (a `JobSource`).

    If no job is free while others are still training, it waits, in order to take over claims that lapse: as long as
    `waits` allows it, which gets the parent run as just read. `say` prints a message for the user. `retries`: how often
    a failed job is tried again by its owner. `begun`: the numbers of jobs that had a run before this process began.
    """

    def __init__(
        self,
        claims: Claims,
        retries: int,
        begun: Collection[int],
        waits: Callable[[RunRecord], bool],
        say: Callable[[str], None],
        jobs: Sequence[Job],
    ) -> None:
        self._claims, self._retries, self._waits, self._say = claims, retries, waits, say
        self._free, self._begun = list(jobs), begun
        if claims.joined:
            DRAWS.shuffle(self._free)  # else all machines would try to claim the same job
        self._reader, self._looked_at = SweepReader(claims.store), -math.inf
        self._elsewhere: dict[int, Job] = {}
        self._last: dict[int, Claim] = {}
        self._is_waiting = True
        self._still = StillnessWatch()
        self._choosing, self._looking, self._over = threading.Lock(), threading.Lock(), threading.Event()
        self._look()

    def next(self, choose: Choose) -> Job | None:
        while not self._over.is_set():
            with self._looking:
                if self._claims.owners > 1 and time.monotonic() - self._looked_at > STALE_SECONDS:
                    self._look_at_claims()
            with self._choosing:
                job = choose(self._free) if self._free else None
                if job is not None:
                    self._free.remove(job)
            if job is not None:
                if (is_new := self._take(job)) is not None:
                    return replace(job, is_new=is_new)
                self._elsewhere[job.number] = job
            elif not self._elsewhere:
                return None
            with self._looking:
                self._look()  # those who train the others may have gone since the last look
            if not self._free:
                if not self._elsewhere or not self._is_waiting:
                    return None
                self._over.wait(jittered(max(LOOK_SECONDS, self._claims.least_pause), 0.5))
        return None

    def ended(self, job: Job) -> None:
        """The store says it to everybody."""

    def close(self) -> None:
        self._over.set()

    def _take(self, job: Job) -> bool | None:
        """Claim a job: whether it is certainly the first try of it; None if another process was first."""
        last = self._last.get(job.number)
        try:
            if not self._claims.take(job.number, last.number if last is not None else 0):
                return None
        except StoreError as error:  # the job needs the store as well: it says what is wrong, and is counted as failed
            log.warning("Job %d could not be claimed: %s", job.number, error)
            return False
        return last is None and job.number not in self._begun

    def _look_at_claims(self) -> None:
        """Find out which of the free jobs others have claimed since the last look: one request."""
        try:
            last = last_claims(self._claims.parent())
        except StoreError as error:
            log.info("claims could not be read: %s", error)
            return
        self._looked_at = time.monotonic()
        with self._choosing:
            for job in [job for job in self._free if last.get(job.number) != self._last.get(job.number)]:
                self._free.remove(job)
                self._elsewhere[job.number] = job

    def _look(self) -> None:
        """Find out from the store which jobs are free, which others train, and which have ended."""
        try:
            parent = self._claims.parent()
            last = last_claims(parent)
            ended = one_a_job(self._reader.runs(parent)) if last else {}
        except StoreError as error:
            log.warning("The store could not be read for free jobs: %s", error)
            return
        self._looked_at = time.monotonic()
        self._is_waiting = self._waits(parent)
        lapsed = {
            job
            for job, claim in last.items()
            if claim.owner != self._claims.owner and has_lapsed(parent, claim, self._still)
        }
        with self._choosing:
            self._last = last
            mine = self._claims.taken
            jobs = [*self._free, *(job for job in self._elsewhere.values() if job.number not in mine)]
            jobs = [job for job in jobs if not self._settled(ended.get(job.number), job.number, lapsed)]
            self._free = [job for job in jobs if job.number not in last or job.number in lapsed]
            waited = set(self._elsewhere)
            self._elsewhere = {job.number: job for job in jobs if job not in self._free}
            if not self._free and self._is_waiting and set(self._elsewhere) - waited:
                self._say(f"Waiting for {in_words(last, self._elsewhere)}.")

    def _settled(self, run: RunRecord | None, job: int, lapsed: set[int]) -> bool:
        """Whether a job needs no more training: it has finished, or failed in this sweep's present go."""
        if run is None or run.state is not RunState.FAILED or job not in self._last:
            return run is not None and run.state is RunState.FINISHED
        if self._last[job].lease < self._claims.lease:
            return False
        return not self._retries or job in lapsed or self._still.is_still(run.run_id, run.ended)


def has_lapsed(parent: RunRecord, claim: Claim, still: StillnessWatch) -> bool:
    """Whether nobody holds a claim: its owner has left, is dead and so are its workers, or was silent."""
    process, beat = process_of(claim.owner), parent.tags.get(claim.beat_tag, "")
    if beat == LEFT:
        return True
    if is_gone(process):
        return not left_behind(parent.run_id, [claim.owner])
    if is_here(process) and not is_hidden(process):
        return False
    return still.is_still(claim.owner, beat)


def in_words(claims: Mapping[int, Claim], jobs: Mapping[int, Job]) -> str:
    """`2 jobs that process 4711 on node3 trains, 1 that ...`: who trains these jobs."""
    owners: dict[str, int] = {}
    for job in jobs:
        if job in claims:
            named = process_in_words(process_of(claims[job].owner))
            owners[named] = owners.get(named, 0) + 1
    return " and ".join(f"{count} job{'s' * (count > 1)} of {named}" for named, count in owners.items())
