"""`hydra/launcher=ray`: the workers of a sweep are actors of a Ray cluster. Each has a worker process beside it.

The actor is small and imports no TensorFlow. It controls its worker process as the local pool does (timeout, traceback,
replacement of a process that died), so jobs behave as they do on one machine. Ray itself retries nothing.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any

from harness.config.schema import Config
from harness.errors import ConfigError, HarnessError
from harness.machine import MARK_VARIABLE
from harness.surroundings import prepare
from harness.sweeps.contract import Worker, WorkerGroup, WorkerLost
from harness.sweeps.launcher import WorkerLauncher, check_installed
from harness.sweeps.spawning import WorkerContext
from harness.sweeps.worker import Failure, Job, WorkerSpec
from harness.sweeps.worker_pool import WorkerPool
from harness.sweeps.worker_process import WorkerProcess

log = logging.getLogger(__name__)

HANDED_ON = ("MLFLOW_", "HARNESS_", MARK_VARIABLE)
"""Environment variables, or beginnings of names, that the actors get from the command, if they have none."""
NO_GPU = "-1"
CANCELLED = Failure("cancelled", CancelledError.__name__)
ENDING_SECONDS = 10.0


class RayLauncher(WorkerLauncher):
    """`hydra/launcher=ray`. `workers`: how many jobs at a time; null: as many as the cluster has room for. Each worker
    takes `num_cpus` cores and `num_gpus` GPUs (a fraction shares one; null: one where the cluster has any).

    `address`: of the cluster; null: that of `RAY_ADDRESS` (as in `ray job submit`) or of a running one on this machine,
    else a new one on this machine.
    """

    def __init__(
        self, workers: int | None = None, num_cpus: float = 1, num_gpus: float | None = None, address: str | None = None
    ) -> None:
        check_installed("ray", "ray")
        for name, value, least in (("workers", workers, 1), ("num_cpus", num_cpus, 0), ("num_gpus", num_gpus, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < least):
                raise ConfigError(f"hydra.launcher.{name}={value}: must be a number, at least {least}.")
        if num_gpus is not None and num_gpus > 1 and num_gpus != int(num_gpus):
            raise ConfigError(f"hydra.launcher.num_gpus={num_gpus}: a fraction is below 1; above 1, a whole number.")
        self.wanted, self.num_cpus, self.num_gpus, self.address = workers, num_cpus, num_gpus, address

    def starters(self, jobs: int, threads: int | None) -> Sequence[Callable[[], Worker]]:
        import ray

        room = ray.cluster_resources()
        num_gpus = self.num_gpus if self.num_gpus is not None else float(room.get("GPU", 0) > 0)
        needs = {"CPU": self.num_cpus, "GPU": num_gpus}
        fitting = min((int(room.get(kind, 0) / need) for kind, need in needs.items() if need), default=1)
        if fitting < 1 and self.wanted is None:
            raise ConfigError(
                f"hydra/launcher=ray: a worker needs num_cpus={self.num_cpus:g} and num_gpus={num_gpus:g}, the cluster "
                f"has {room.get('CPU', 0):g} cores and {room.get('GPU', 0):g} GPUs. Let a worker need less; or, if the "
                "cluster grows, set hydra.launcher.workers=N."
            )
        count = max(1, min(jobs, self.wanted or fitting))
        share = threads or max(1, math.floor(self.num_cpus))
        device = None if num_gpus else NO_GPU
        return [
            partial(RayWorker, WorkerSpec(number, share, device), self.num_cpus, num_gpus) for number in range(count)
        ]

    def start(self, jobs: int, config: Config) -> WorkerGroup:
        started = _connect(self.address)
        try:
            return _RayPool(self.starters(jobs, config.threads), config, started)
        except BaseException:
            _disconnect(started)
            raise

    def count(self, jobs: int, threads: int | None) -> int:
        """The number of workers, without a look at the cluster."""
        return min(jobs, self.wanted or 1)


class _RayPool(WorkerPool):
    """A pool that leaves the cluster at its end."""

    def __init__(self, starters: Sequence[Callable[[], Worker]], config: Config, started: bool) -> None:
        super().__init__(starters, config)
        self._started = started

    def end(self) -> None:
        super().end()
        _disconnect(self._started)


class _Actor:
    """What runs in the cluster: a worker process, as the pool of a machine has it."""

    def __init__(self, spec: WorkerSpec, environment: Mapping[str, str]) -> None:
        for key, value in environment.items():
            os.environ.setdefault(key, value)
        os.environ[MARK_VARIABLE] = environment.get(MARK_VARIABLE, "")
        prepare()
        processes = WorkerContext()
        self._process = WorkerProcess(spec, processes.Value("b", 0, lock=False), processes)

    def ready(self) -> bool:
        return True

    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        try:
            return self._process.carry_out(job, timeout)
        except CancelledError:
            return CANCELLED

    def stop(self) -> None:
        self._process.stop()

    def cancel(self) -> None:
        self._process.cancel()

    def end(self) -> None:
        self._process.end()


class RayWorker(Worker):
    """An actor of the cluster. If it dies, alone or with its node, another takes its place as soon as there is room."""

    def __init__(self, spec: WorkerSpec, num_cpus: float, num_gpus: float) -> None:
        self.spec = spec
        self._options = {
            "num_cpus": num_cpus, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 4,
        }  # fmt: skip
        self._is_stopping = False
        self._open()

    def _open(self) -> None:
        import ray

        given = {key: value for key, value in os.environ.items() if key.startswith(HANDED_ON)}
        self._actor: Any = ray.remote(_Actor).options(**self._options).remote(self.spec, given)
        self._ready: Any = self._actor.ready.remote()

    def is_ready(self, seconds: float) -> bool:
        import ray
        from ray.exceptions import RayActorError

        if self._ready is None:
            return True
        if not ray.wait([self._ready], timeout=seconds)[0]:
            return False
        try:
            ray.get(self._ready)
        except RayActorError as error:
            if error.__class__.__name__ == "ActorDiedError" and "__init__" in str(error):
                raise HarnessError(f"A worker cannot start in the Ray cluster: {_in_words(error)}") from error
            self._open()
            return False
        self._ready = None
        return True

    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        import ray
        from ray.exceptions import RayActorError, RayError

        try:
            failure: Failure | None = ray.get(self._actor.carry_out.remote(job, timeout))
        except RayActorError as error:
            with suppress(RayError):
                ray.kill(self._actor)  # it may only have been out of reach
            if not self._is_stopping:
                self._open()
            raise WorkerLost(f"Its place in the Ray cluster was lost: {_in_words(error)}") from error
        except RayError as error:
            return Failure(f"Ray could not carry it out: {_in_words(error)}", type(error).__name__)
        if failure == CANCELLED:
            raise CancelledError
        return failure

    def stop(self) -> None:
        self._is_stopping = True
        self._actor.stop.remote()

    def cancel(self) -> None:
        self._is_stopping = True
        self._actor.cancel.remote()

    def end(self) -> None:
        import ray
        from ray.exceptions import RayError

        with suppress(RayError):
            if self._ready is None:
                ray.wait([self._actor.end.remote()], timeout=ENDING_SECONDS)
            ray.kill(self._actor)


def _connect(address: str | None) -> bool:
    """Connect to the cluster. Returns whether this process was not connected before."""
    import ray

    if ray.is_initialized():
        return False
    from ray._private import worker

    # Messages of the cluster (a node that died) would go to stdout, where the sweep's table goes.
    worker.print_to_stdstream = lambda data, *_, **__: log.info("ray: %s", " ".join(map(str, data.get("lines", ()))))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the workers say themselves that they have no GPU
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise HarnessError(
            f"hydra/launcher=ray: the cluster {address or os.environ.get('RAY_ADDRESS', 'of this machine')} cannot be "
            f"used: {_in_words(error)} hydra.launcher.address names another."
        ) from error
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    return True


def _disconnect(started: bool) -> None:
    import ray

    if started:
        ray.shutdown()


def _in_words(error: Exception) -> str:
    """The first sentence of an error of Ray's, which may be pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{(lines or [type(error).__name__])[0][:300].rstrip('.')}."
