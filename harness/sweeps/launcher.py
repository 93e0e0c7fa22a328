"""Hydra launchers of the harness, and the one that trains the jobs of a sweep in worker processes on this machine.

On a CPU two processes with one thread each train faster than one process with two threads: the matrix products of a
small model are too small to be split.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig

from harness.composing import typed_config
from harness.config.schema import SWEEP_SETTINGS, Config
from harness.errors import ConfigError
from harness.machine import available_cpus, available_memory, gpus
from harness.sweeps.contract import Worker, WorkerGroup
from harness.sweeps.spawning import WorkerContext
from harness.sweeps.worker import Job, Shared, WorkerSpec
from harness.sweeps.worker_pool import WorkerPool
from harness.sweeps.worker_process import WorkerProcess

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


class SweepLauncher(Launcher, ABC):
    """A Hydra launcher whose jobs are trained by a `WorkerGroup`. `__init__` takes its settings
    (`hydra.launcher.NAME`)."""

    joins = True
    """Whether it can train jobs of a sweep of another command (`harness join`)."""
    config: DictConfig | None = None
    context: HydraContext | None = None
    task: TaskFunction | None = None

    @abstractmethod
    def start(self, jobs: int, config: Config) -> WorkerGroup:
        """Start whatever trains `jobs` jobs; `config` is that of any job. Raises `ConfigError` for wrong settings."""

    @abstractmethod
    def count(self, jobs: int, threads: int | None) -> int:
        """How many jobs are trained at the same time, for `--plan`."""

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
        if _group is not None:
            return _group.work(jobs)
        with _running(self, len(jobs), typed_config(self.config)) as group:
            return group.work(jobs)


class WorkerLauncher(SweepLauncher):
    """A launcher with workers on this machine or on others. `contract.Worker` says what a worker does."""

    @abstractmethod
    def starters(self, jobs: int, threads: int | None) -> Sequence[Callable[[], Worker]]:
        """Functions that start the workers for `jobs` jobs, each with so many `threads`; None: as it thinks best."""

    def start(self, jobs: int, config: Config) -> WorkerGroup:
        return WorkerPool(self.starters(jobs, config.threads), config)

    def count(self, jobs: int, threads: int | None) -> int:
        return len(self.starters(jobs, threads))


class PoolLauncher(WorkerLauncher):
    """`hydra/launcher=pool`. Jobs start in order, except that a worker prefers jobs whose program it has compiled.

    Ctrl-C (or SIGTERM) once: running jobs stop at the end of their epoch, no further job starts. Twice: at once.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def starters(self, jobs: int, threads: int | None) -> Sequence[Callable[[], Worker]]:
        processes = WorkerContext()
        stop: Shared = processes.Value("b", 0, lock=False)
        return [partial(WorkerProcess, spec, stop, processes) for spec in plan_workers(self.workers, jobs, threads)]


def _number(overrides: Sequence[str], place: int) -> int:
    """A job's number in its sweep: `place`, unless some jobs were left out."""
    given = [item.partition("=")[2] for item in overrides if item.startswith(JOB_SETTING)]
    return int(given[-1]) if given else place


def check_installed(package: str, launcher: str) -> None:
    """Raise `ConfigError` if the package of an extra, which has the launcher's name, is not installed."""
    if find_spec(package) is None:
        raise ConfigError(
            f"hydra/launcher={launcher} needs {package}, which is not installed: "
            f"pip install 'overfitting-harness[{launcher}]' (in a checkout: make setup EXTRAS={launcher})."
        )


def own_launcher(settings: Mapping[str, Any]) -> SweepLauncher | None:
    """The launcher with these settings (`hydra.launcher`); None if it is no `SweepLauncher`.

    Raises `ConfigError` for a setting that it does not have.
    """
    try:
        found = get_class(str(settings.get("_target_")))
    except Exception:  # noqa: BLE001 - whatever importing a class may raise: Hydra says it when it makes the launcher
        return None
    if not issubclass(found, SweepLauncher):
        return None
    given = {key: value for key, value in settings.items() if key != "_target_"}
    known = list(inspect.signature(found).parameters)
    if unknown := set(given) - set(known):
        raise ConfigError(f"hydra.launcher.{min(unknown)}: there is no such setting; it has {', '.join(known)}.")
    return found(**given)


_group: WorkerGroup | None = None


@contextmanager
def workers_for(settings: Mapping[str, Any], jobs: int, config: Config) -> Iterator[WorkerGroup | None]:
    """Whatever trains the jobs, started early, if the configuration selects a launcher of ours; else None.

    `config` is that of any job. Raises `ConfigError` for a setting that the launcher does not have, or that another
    launcher would ignore.
    """
    launcher = own_launcher(settings)
    if launcher is None:
        for name in SWEEP_SETTINGS:
            if (value := getattr(config, name)) != getattr(Config(), name):
                raise ConfigError(
                    f"{name}={value}: only hydra/launcher=pool, ray and slurm use it. Remove it, or use one of them; "
                    "others may have a setting of their own, under hydra.launcher."
                )
        yield None
        return
    with _running(launcher, jobs, config) as group:
        yield group


@contextmanager
def _running(launcher: SweepLauncher, jobs: int, config: Config) -> Iterator[WorkerGroup]:
    """A group that serves every launch in the block: a sweep in batches launches several times."""
    global _group
    _group = launcher.start(jobs, config)
    try:
        yield _group
    finally:
        _group.end()
        _group = None
