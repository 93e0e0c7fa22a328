"""(9) Claims of the jobs of a sweep, from 10 to 10,000 jobs: a claim, and a look at which jobs are free; and hundreds
of machines that join a sweep on one server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.joiners import join
from benchmarks.servers import serving
from benchmarks.surroundings import Places
from harness.machine import this_process
from harness.sweeps.claims import Claims, last_claims
from harness.tracking.store import Store, open_store

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 5
JOINED, QUICK_JOINED = (300, 600, 30.0), (10, 20, 1.0)
"""Machines, jobs, and seconds of a job."""


def measure(places: Places, quick: bool) -> None:
    """On a SQLite store in a temporary folder; the sweep has all its claims but the last few."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'mlflow.db'}")
        for jobs in SIZES[: 3 if quick else None]:
            found[str(jobs)] = times = _measured(store, jobs)
            print(f"{jobs:,} jobs: " + ", ".join(f"{key} {value * 1000:.0f} ms" for key, value in times.items()))
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as uri:
        joined = join(open_store(uri), Path(folder) / "server.log", *(QUICK_JOINED if quick else JOINED))
        print(joined, flush=True)
    places.write("claims", quick, {"seconds": found, "joined": joined})


def _measured(store: Store, jobs: int) -> dict[str, float]:
    client = store.client
    parent = client.create_run(store.ensure_experiment("harness"), tags={"harness.kind": "sweep"}).info.run_id
    _fill(store, parent, jobs - ROUNDS)
    claims = Claims(store, parent, 1)
    numbers = iter(range(jobs - ROUNDS, jobs))
    return {
        "claim": _least(lambda: claims.take(next(numbers), 0)),
        "look": _least(lambda: last_claims(claims.parent())),
    }


def _fill(store: Store, parent: str, count: int) -> None:
    """Claims of another process on the first jobs."""
    from mlflow.entities import Param

    owner = f"{this_process()} 0a1b2c3d.{'0' * 32} 1"
    entries = [Param(f"job.{number}.1", owner) for number in range(count)]
    for first in range(0, count, 100):
        store.client.log_batch(parent, params=entries[first : first + 100])


def _least(act: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times)
