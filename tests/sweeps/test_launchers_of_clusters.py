"""The settings of the launchers for clusters, and a launcher of somebody else's; no job is trained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from harness.composing import expand_sweep
from harness.config.schema import Config
from harness.errors import ConfigError
from harness.sweeps import launcher as launchers
from harness.sweeps.contract import Worker, WorkerLost
from harness.sweeps.launcher import WorkerLauncher, own_launcher, workers_for
from harness.sweeps.ray_launcher import RayLauncher
from harness.sweeps.slurm_launcher import SlurmLauncher, _Joining
from harness.sweeps.worker import Failure, Job, WorkerSpec
from harness.sweeps.worker_pool import WorkerPool


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_extra_is_named_with_its_command(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = expand_sweep(["seed=0,1", f"hydra/launcher={name}"]).launcher
    monkeypatch.setattr(launchers, "find_spec", lambda asked: None if asked == package else object())
    with pytest.raises(
        ConfigError, match=rf"hydra/launcher={name} needs {package}.*pip install .*\[{name}\]"
    ) as refused:
        own_launcher(settings)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("slurm", "tasks=0", r"tasks=0: must be a whole number, at least 1"),
        ("slurm", "executor=lsf", "executor=lsf: must be one of slurm, local"),
        ("slurm", "resubmissions=-1", "resubmissions=-1.*at least 0"),
        ("slurm", "+partitoin=gpu", r"partitoin: there is no such setting; it has .*partition"),
        ("ray", "num_gpus=1.5", "num_gpus=1.5: a fraction is below 1"),
        ("ray", "workers=0", "workers=0: must be a number, at least 1"),
        ("ray", "num_cpus=-1", "num_cpus=-1: must be a number, at least 0"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(name: str, setting: str, words: str) -> None:
    plus, key = ("+", setting[1:]) if setting.startswith("+") else ("", setting)
    jobs = expand_sweep(["seed=0,1", f"hydra/launcher={name}", f"{plus}hydra.launcher.{key}"])
    with pytest.raises(ConfigError, match=words), workers_for(jobs.launcher, 2, Config()):
        pytest.fail("it began")


def test_the_file_for_sbatch_has_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = SlurmLauncher(
        tasks=3, time=90, partition="gpu", account="me", gres="gpu:1", cpus=4, memory="8GB",
        setup=["module load cuda"], options={"nice": 10},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"hydra/launcher=slurm: .*srun"):
        launcher.submitter(tmp_path)
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    text = launcher.submitter(tmp_path)._make_submission_file_text("COMMAND", "id")
    for line in ("partition=gpu", "account=me", "gres=gpu:1", "cpus-per-task=4", "mem=8GB", "time=90", "nice=10"):
        assert f"#SBATCH --{line}\n" in text
    assert text.index("module load cuda") < text.index("COMMAND")


def test_a_task_that_is_pre_empted_stops_its_command_and_is_queued_again() -> None:
    joining = _Joining([sys.executable, "-c", "import time; time.sleep(60)"])
    joining._process = subprocess.Popen(joining.command)
    again = joining.checkpoint()
    assert joining._process.wait(1) < 0
    assert again.function.command == joining.command


def test_a_fraction_of_a_gpu_makes_more_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    specs = {share: [one.args for one in RayLauncher(num_gpus=share).starters(100, None)] for share in (None, 0.5, 0)}  # type: ignore[attr-defined]
    assert {share: (len(one), one[0][0].device, one[0][2]) for share, one in specs.items()} == {
        None: (2, None, 1.0), 0.5: (4, None, 0.5), 0: (8, "-1", 0),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="a worker needs num_cpus=16"):
        RayLauncher(num_cpus=16).starters(100, None)


class Fragile(Worker):
    """It is lost with its first job; a lost one is never ready again."""

    def __init__(self, spec: WorkerSpec, done: list[tuple[int, int]], losses: int) -> None:
        self.spec, self.done, self.losses, self.is_lost = spec, done, losses, False

    def is_ready(self, seconds: float) -> bool:
        return not self.is_lost

    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        if self.losses:
            self.losses -= 1
            self.is_lost = self.spec.number == 0
            raise WorkerLost("Its machine was switched off.")
        self.done.append((self.spec.number, job.number))
        return None

    def stop(self) -> None: ...

    def cancel(self) -> None: ...

    def end(self) -> None: ...


class OwnLauncher(WorkerLauncher):
    """A launcher of somebody else's, with two workers."""

    def __init__(self, losses: int = 0) -> None:
        self.losses, self.done = losses, list[tuple[int, int]]()

    def starters(self, jobs: int, threads: int | None) -> Sequence[Callable[[], Worker]]:
        return [
            partial(Fragile, WorkerSpec(number, 1, None), self.done, 0 if number else self.losses) for number in (0, 1)
        ]


def test_a_launcher_of_ones_own_needs_its_address_only() -> None:
    made = own_launcher({"_target_": f"{__name__}.OwnLauncher", "losses": 1})
    assert isinstance(made, OwnLauncher)
    assert made.losses == 1
    assert made.count(5, None) == 2


def jobs(count: int) -> list[Job]:
    return [Job(number, (f"seed={number}",), None, None, None) for number in range(count)]  # type: ignore[arg-type]


def test_the_job_of_a_lost_worker_goes_to_another_and_is_done_once() -> None:
    launcher = OwnLauncher(losses=1)
    group = launcher.start(4, Config())
    told: list[int] = []
    group.record = lambda number, failure: told.append(number)
    group.work(jobs(4))
    assert sorted(job for _, job in launcher.done) == [0, 1, 2, 3]
    assert {worker for worker, _ in launcher.done} == {1}
    assert len(told) == 1
    assert group.failures == {}


def test_a_job_that_loses_every_worker_fails_in_the_end() -> None:
    worker = Fragile(WorkerSpec(1, 1, None), [], losses=3)
    pool = WorkerPool([lambda: worker], Config(retries=2))
    pool.work(jobs(2))
    assert [job for _, job in worker.done] == [1]
    assert pool.failures[0].reason == "Its machine was switched off."
