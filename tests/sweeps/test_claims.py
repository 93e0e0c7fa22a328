"""Of several processes that train a sweep, one trains each job, and none is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.machine import this_process
from harness.sweeps.claims import LEFT, ClaimedJobs, Claims, claim_owners, jobs_elsewhere, last_claims
from harness.sweeps.worker import Job
from harness.tracking.shared_writes import tag_run, write_once
from harness.tracking.store import open_store
from tests.sweeps.test_lease import ELSEWHERE, ended_process, record

FAR = f"{ELSEWHERE} 0a1b2c3d.{'0' * 32}"


@pytest.fixture
def parent(project: Path) -> str:
    client = open_store().client
    return str(client.create_run(client.create_experiment("harness"), tags={"harness.kind": "sweep"}).info.run_id)


def jobs(count: int) -> list[Job]:
    return [Job(number, (f"seed={number}",), None, None, None) for number in range(count)]  # type: ignore[arg-type]


def source(parent: str, count: int, said: list[str], waits: bool = False, lease: int = 1) -> ClaimedJobs:
    claims = Claims(open_store(), parent, lease)
    return ClaimedJobs(claims, 0, (), lambda parent: waits, said.append, jobs(count))


def first(free: Sequence[Job]) -> Job:
    return free[0]


def numbers(source: ClaimedJobs) -> list[int]:
    return [job.number for job in iter(lambda: source.next(first), None) if job is not None]


def test_two_that_share_a_sweep_get_each_job_once(parent: str) -> None:
    one, two = source(parent, 5, []), source(parent, 5, [])
    taken = [one.next(first), two.next(first), two.next(first), one.next(first), one.next(first)]
    assert sorted(job.number for job in taken if job is not None) == [0, 1, 2, 3, 4]
    assert (numbers(one), numbers(two)) == ([], [])
    assert len(record(parent).parameters) == 5


def test_a_claim_lapses_when_its_owner_leaves_dies_or_is_silent(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    write_once(store, parent, "job.0.1", f"{this_process()} 11111111.{'0' * 32} 1")
    write_once(store, parent, "job.1.1", f"{ended_process()} 22222222.{'0' * 32} 1")
    write_once(store, parent, "job.2.1", f"{this_process()} 33333333.{'0' * 32} 1")
    write_once(store, parent, "job.3.1", f"{FAR} 1")
    tag_run(store, parent, {"harness.heartbeat.33333333": LEFT})
    assert sorted(jobs_elsewhere(record(parent))) == [0, 3]
    assert sorted(numbers(source(parent, 4, []))) == [1, 2]
    monkeypatch.setattr("harness.sweeps.owners.EXPIRY_SECONDS", 0.3)
    monkeypatch.setattr("harness.sweeps.claims.LOOK_SECONDS", 0.1)
    said: list[str] = []
    waiting = source(parent, 4, said, waits=True)
    taken = waiting.next(first)
    assert taken is not None
    assert taken.number == 3
    assert said
    assert "on elsewhere" in said[0]
    assert last_claims(record(parent))[3].number == 2


def test_what_is_no_claim_is_passed_over(parent: str) -> None:
    store = open_store()
    for key in ("job.01.1", "job.1.0", "job.x.1", "job.1", f"job.1.{'9' * 30}"):
        write_once(store, parent, key, "x")
    write_once(store, parent, "job.0.1", "nonsense")
    assert last_claims(record(parent)).keys() == {0}
    assert len(claim_owners(record(parent))) == 1
    assert numbers(source(parent, 2, [])) == [1]
