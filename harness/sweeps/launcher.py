"""A Hydra launcher that trains the jobs of a sweep in worker processes on this machine.

On a CPU two processes with one thread each train faster than one process with two threads: the matrix products of a
small model are too small to be split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from harness.composing import typed_config
from harness.config.schema import SWEEP_SETTINGS, Config
from harness.errors import ConfigError
from harness.machine import available_cpus, available_memory, gpus
from harness.sweeps.worker import Job, WorkerSpec
from harness.sweeps.worker_pool import WorkerPool

ADDRESS = "hydra_plugins.harness.PoolLauncher"
"""Where Hydra finds `PoolLauncher`."""

JOB_SETTING = "tracking.job="

WORKER_MEMORY = 2 * 2**30
"""Bytes that a worker may need: TensorFlow, a dataset, the compiled programs of some models."""


def plan_workers(workers: int | None, jobs: int, threads: int | None = None) -> list[WorkerSpec]:
    """The workers for `jobs` jobs: the number `workers`; if None, one per GPU, or one per core if memory allows.

    If `threads` is None, the cores are divided evenly. Raises `ConfigError` for fewer than one worker.
    """
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ConfigError(f"hydra.launcher.workers={workers}: must be a whole number, at least 1, or null.")
    devices = gpus()
    fitting = len(devices) or min(available_cpus(), available_memory() // WORKER_MEMORY)
    count = max(1, min(jobs, workers or fitting))
    share = threads or max(1, available_cpus() // count)
    return [WorkerSpec(number, share, devices[number % len(devices)] if devices else None) for number in range(count)]


class PoolLauncher(Launcher):
    """`hydra/launcher=pool`. Jobs start in order, except that a worker prefers jobs whose program it has compiled.

    Ctrl-C (or SIGTERM) once: running jobs stop at the end of their epoch, no further job starts. Twice: at once.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None
        self.task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        assert self.config is not None
        assert self.context is not None
        assert self.task is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [
            Job(_number(overrides, initial_job_idx + offset), tuple(overrides), self.config, self.context, self.task)
            for offset, overrides in enumerate(job_overrides)
        ]
        if _pool is not None:
            return _pool.work(jobs)
        with running_pool(plan_workers(self.workers, len(jobs)), typed_config(self.config)) as pool:
            return pool.work(jobs)


def _number(overrides: Sequence[str], place: int) -> int:
    """A job's number in its sweep: `place`, unless some jobs were left out."""
    given = [item.partition("=")[2] for item in overrides if item.startswith(JOB_SETTING)]
    return int(given[-1]) if given else place


_pool: WorkerPool | None = None


@contextmanager
def workers_for(launcher: Mapping[str, Any], jobs: int, config: Config) -> Iterator[WorkerPool | None]:
    """The pool's workers, started early, if the configuration selects the pool launcher; else None.

    `config` is that of any job. Raises `ConfigError` for a setting that the pool does not have, or that another
    launcher would ignore.
    """
    if launcher.get("_target_") != ADDRESS:
        for name in SWEEP_SETTINGS:
            if (value := getattr(config, name)) != getattr(Config(), name):
                raise ConfigError(
                    f"{name}={value}: only hydra/launcher=pool uses it. Remove it, or use that launcher; others "
                    "may have a setting of their own, under hydra.launcher."
                )
        yield None
        return
    if unknown := set(launcher) - {"_target_", "workers"}:
        raise ConfigError(f"hydra.launcher.{min(unknown)}: the pool has no such setting; it has workers.")
    with running_pool(plan_workers(launcher.get("workers"), jobs, config.threads), config) as pool:
        yield pool


@contextmanager
def running_pool(specs: Sequence[WorkerSpec], config: Config) -> Iterator[WorkerPool]:
    """Workers that serve every launch in the block: a sweep in batches launches several times."""
    global _pool
    _pool = WorkerPool(specs, config)
    try:
        yield _pool
    finally:
        _pool.end()
        _pool = None
