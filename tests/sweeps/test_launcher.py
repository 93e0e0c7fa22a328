"""How the jobs of a sweep are shared out among worker processes, and what becomes of them when one dies."""

from __future__ import annotations

from functools import partial

import pytest

from harness.composing import check_sweep, expand_sweep
from harness.config.schema import Config
from harness.errors import ConfigError
from harness.sweeps import launcher
from harness.sweeps.launcher import ADDRESS, WORKER_MEMORY, plan_workers, workers_for
from harness.sweeps.worker import Job, WorkerSpec, stop_requested
from harness.sweeps.worker_pool import JobList, WorkerPool

BASIC = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, plenty of memory, no GPU."""
    monkeypatch.setattr(launcher, "available_cpus", lambda: 8)
    monkeypatch.setattr(launcher, "available_memory", lambda: 100 * WORKER_MEMORY)
    monkeypatch.setattr(launcher, "gpus", lambda: ())


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
    specs = plan_workers(workers, jobs)
    assert [spec.threads for spec in specs] == threads
    assert [spec.number for spec in specs] == list(range(len(threads)))
    assert {spec.device for spec in specs} == {None}


def test_workers_are_no_more_than_memory_allows_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "available_memory", lambda: 3 * WORKER_MEMORY + 1)
    assert len(plan_workers(None, 100)) == 3
    monkeypatch.setattr(launcher, "available_memory", lambda: 1)
    assert len(plan_workers(None, 100)) == 1


def test_each_gpu_has_a_worker_and_more_workers_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "gpus", lambda: ("0", "3"))
    assert [(spec.device, spec.threads) for spec in plan_workers(None, 100)] == [("0", 4), ("3", 4)]
    assert [spec.device for spec in plan_workers(5, 100)] == ["0", "3", "0", "3", "0"]


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two", True])
def test_a_number_of_workers_that_is_none_is_refused(workers: object) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.workers=.*at least 1"):
        plan_workers(workers, 4)  # type: ignore[arg-type]


def test_the_pool_is_the_launcher_of_a_sweep_unless_another_is_named() -> None:
    assert expand_sweep(["seed=0,1"]).launcher == {"_target_": ADDRESS, "workers": None}
    assert expand_sweep(["seed=0,1", "hydra.launcher.workers=3"]).launcher["workers"] == 3
    assert expand_sweep(["seed=0,1", "hydra/launcher=basic"]).launcher["_target_"] != ADDRESS


def test_outside_a_worker_nothing_asks_to_stop() -> None:
    assert not stop_requested()


def test_a_setting_that_the_pool_does_not_have_is_refused_before_a_worker_starts() -> None:
    with (
        pytest.raises(ConfigError, match=r"hydra\.launcher\.wrokers: .* it has workers"),
        workers_for({"_target_": ADDRESS, "workers": 1, "wrokers": 2}, 4, Config()),
    ):
        pytest.fail("it began")


def test_another_launcher_needs_no_workers() -> None:
    with workers_for(BASIC, 4, Config()) as pool:
        assert pool is None


@pytest.mark.parametrize(
    "config", [Config(timeout=5.0), Config(retries=1), Config(max_failures=2), Config(fail_fast=True)]
)
def test_what_another_launcher_would_not_heed_is_refused(config: Config) -> None:
    with (
        pytest.raises(ConfigError, match=r"^(timeout|retries|max_failures|fail_fast)=.*: only hydra/launcher=pool"),
        workers_for(BASIC, 4, config),
    ):
        pytest.fail("it began")


@pytest.mark.parametrize("swept", ["timeout=5,6", "retries=0,1", "max_failures=1,2", "fail_fast=true,false"])
def test_what_a_sweep_does_about_failures_cannot_be_swept(swept: str) -> None:
    with pytest.raises(ConfigError, match=r": cannot be swept, because it applies to the whole sweep"):
        check_sweep(expand_sweep([swept]))


def test_a_worker_keeps_to_what_it_has_compiled_for_and_helps_the_others_in_the_end() -> None:
    grid = [(f"model={model}", f"seed={seed}") for model in ("a", "b") for seed in (0, 1, 2)]
    pool = WorkerPool([], Config())
    source = JobList([Job(number, overrides, None, None, None) for number, overrides in enumerate(grid)])  # type: ignore[arg-type]
    one, two = WorkerSpec(0, 1, None), WorkerSpec(1, 1, None)
    taken = [source.next(partial(pool._choose, spec)) for spec in (one, two, one, one, one, two, two)]
    assert [job and job.number for job in taken] == [0, 3, 1, 2, 4, 5, None]


def test_jobs_that_share_a_program_are_taken_in_their_order() -> None:
    pool = WorkerPool([], Config())
    grid = [(f"seed={seed}", f"regime.epochs={epochs}") for seed in (0, 1) for epochs in (1, 2)]
    source = JobList([Job(number, overrides, None, None, None) for number, overrides in enumerate(grid)])  # type: ignore[arg-type]
    taken = [source.next(partial(pool._choose, WorkerSpec(number % 2, 1, None))) for number in range(4)]
    assert [job and job.number for job in taken] == [0, 1, 2, 3]
