"""A worker process of a sweep: what it is told when it starts, and how it carries out a job."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from types import FrameType

from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.composing import register

SHARED = ("seed", "optimizer.learning_rate", "regime.epochs")
"""Settings in which runs of one compiled program may differ."""


@dataclass(frozen=True)
class Slot:
    """The place of one worker: its number, TensorFlow's threads inside an operation, and its GPU, if any."""

    number: int
    threads: int
    device: str | None


@dataclass(frozen=True)
class Job:
    """What a worker needs to carry out one job of a sweep."""

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    context: HydraContext
    task: TaskFunction

    @property
    def kind(self) -> tuple[str, ...]:
        """What jobs have in common that can share a compiled program."""
        return tuple(item for item in self.overrides if item.partition("=")[0] not in SHARED)


def stop_requested() -> bool:
    """Whether the sweep that this worker belongs to is to end, or has died; always false outside a worker."""
    return _worker is not None and (_worker.stop.is_set() or os.getppid() != _worker.launcher)


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    slot: Slot
    stop: Event
    launcher: int
    busy: bool = False


_worker: _Worker | None = None


def start_worker(slot: Slot, stop: Event) -> None:
    """The first thing that a worker process does."""
    global _worker
    _worker = _Worker(slot, stop, os.getppid())
    signal.signal(signal.SIGTERM, _stop_at_once)
    if slot.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.device


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """SIGTERM in a worker: a job is told by an exception, so that its run is closed; an idle worker just ends."""
    if _worker is not None and _worker.busy:
        raise KeyboardInterrupt
    os._exit(0)


def carry_out(job: Job) -> str | None:
    """One job in a worker, as Hydra's own launcher does it; why it failed, or None."""
    assert _worker is not None
    if stop_requested():
        return None
    _worker.busy = True
    try:
        register()
        setup_globals()
        config = job.context.config_loader.load_sweep_config(job.config, list(job.overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = job.number
            if config.get("threads") is None:
                config.threads = _worker.slot.threads
            # What there is to warn of, the command has said before it started the workers; their logs repeat it.
            if (screen := OmegaConf.select(config, "hydra.job_logging.handlers.screen")) is not None:
                screen.level = "ERROR"
        done = run_job(
            hydra_context=job.context,
            task_function=job.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        failure = done._return_value
        return None if failure is None else str(failure) or type(failure).__name__
    except KeyboardInterrupt:
        return None
    except Exception as error:  # noqa: BLE001 - Hydra's own, of any kind: reported as the failure of this job
        return f"{type(error).__name__}: {error}"
    finally:
        _worker.busy = False
