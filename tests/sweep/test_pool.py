"""How the jobs of a sweep are shared out among worker processes, and what becomes of them when one dies."""

from __future__ import annotations

import pytest

from harness.composing import expand_sweep
from harness.errors import ConfigError
from harness.sweep import pool
from harness.sweep.launching import POOL
from harness.sweep.pool import WORKER_MEMORY, plan_slots


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, plenty of memory, no GPU."""
    monkeypatch.setattr(pool, "available_cpus", lambda: 8)
    monkeypatch.setattr(pool, "available_memory", lambda: 100 * WORKER_MEMORY)
    monkeypatch.setattr(pool, "gpus", lambda: ())


@pytest.mark.parametrize(
    ("workers", "jobs", "threads"),
    [
        (None, 100, [1] * 8),
        (None, 2, [4, 4]),
        (1, 100, [8]),
        (3, 100, [2, 2, 2]),
        (20, 100, [1] * 20),
        (20, 5, [1] * 5),
    ],
)
def test_the_cores_are_shared_out_among_the_workers(workers: int | None, jobs: int, threads: list[int]) -> None:
    slots = plan_slots(workers, jobs)
    assert [slot.threads for slot in slots] == threads
    assert [slot.number for slot in slots] == list(range(len(threads)))
    assert {slot.device for slot in slots} == {None}


def test_workers_are_no_more_than_memory_allows_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "available_memory", lambda: 3 * WORKER_MEMORY + 1)
    assert len(plan_slots(None, 100)) == 3
    monkeypatch.setattr(pool, "available_memory", lambda: 1)
    assert len(plan_slots(None, 100)) == 1


def test_each_gpu_has_a_worker_and_more_workers_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "gpus", lambda: ("0", "3"))
    assert [(slot.device, slot.threads) for slot in plan_slots(None, 100)] == [("0", 4), ("3", 4)]
    assert [slot.device for slot in plan_slots(5, 100)] == ["0", "3", "0", "3", "0"]


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two"])
def test_a_number_of_workers_that_is_none_is_refused(workers: object) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.workers=.*at least 1"):
        plan_slots(workers, 4)  # type: ignore[arg-type]


def test_the_pool_is_the_launcher_of_a_sweep_unless_another_is_named() -> None:
    assert expand_sweep(["seed=0,1"]).launcher == {"_target_": POOL, "workers": None}
    assert expand_sweep(["seed=0,1", "hydra.launcher.workers=3"]).launcher["workers"] == 3
    assert expand_sweep(["seed=0,1", "hydra/launcher=basic"]).launcher["_target_"] != POOL


def test_outside_a_worker_nothing_asks_to_stop() -> None:
    assert not pool.stop_requested()
