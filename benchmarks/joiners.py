"""Many machines that join one sweep, as threads: each claims jobs, says that it lives, and records a run that trains
nothing. What it asks of a server is what `harness join` asks, without the runs' own requests and the display."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from harness.sweeps.claims import ClaimedJobs, Claims
from harness.sweeps.worker import Job
from harness.tracking.store import Store


class TimedClaims(Claims):
    """Claims that remember how long each took, and whether another machine was first."""

    def __init__(self, store: Store, parent_id: str) -> None:
        super().__init__(store, parent_id, 1)
        self.times: list[float] = []
        self.lost = 0

    def take(self, job: int, after: int) -> bool:
        began = time.perf_counter()
        taken = super().take(job, after)
        self.times.append(time.perf_counter() - began)
        self.lost += not taken
        return taken


def join(store: Store, log: Path, machines: int, jobs: int, seconds: float) -> dict[str, Any]:
    """Let so many machines train `jobs` jobs of about so many `seconds`; `log` is that of the server. Returns how often
    a claim came too late, the seconds of a claim, and requests a second. Raises `AssertionError` unless each job was
    trained once."""
    client = store.client
    study = store.ensure_experiment("joiners")
    parent = client.create_run(study, tags={"harness.kind": "sweep"}).info.run_id
    listed = [Job(number, (f"seed={number}",), None, None, None) for number in range(jobs)]  # type: ignore[arg-type]
    trained: list[int] = []
    every: list[TimedClaims] = []

    def machine() -> None:
        time.sleep(random.uniform(0, 3))
        with TimedClaims(store, parent) as claims:
            every.append(claims)
            source = ClaimedJobs(claims, 0, (), lambda parent: True, lambda words: None, listed)
            while (job := source.next(lambda free: free[0])) is not None:
                tags = {"harness.kind": "run", "mlflow.parentRunId": parent, "harness.job": str(job.number)}
                run = client.create_run(study, tags=tags).info.run_id
                time.sleep(seconds * random.uniform(0.5, 1.5))
                client.set_terminated(run)
                trained.append(job.number)

    before, began = _requests(log), time.perf_counter()
    threads = [threading.Thread(target=machine) for _ in range(machines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    counts = Counter(trained)
    assert len(counts) == jobs
    assert set(counts.values()) == {1}
    times = sorted(each for claims in every for each in claims.times)
    requests = _requests(log) - before
    return {
        "machines": machines, "jobs": jobs, "seconds": took, "job_seconds": seconds, "requests": requests,
        "late": sum(claims.lost for claims in every), "claim_median": statistics.median(times),
        "claim_most": times[int(0.95 * len(times))],
    }  # fmt: skip


def _requests(log: Path) -> int:
    return log.read_text(errors="replace").count("HTTP/1.1")
