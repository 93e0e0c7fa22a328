"""A worker process of a sweep: what it is told when it starts, and how it carries out a job."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, TextIO

from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.composing import SweepComposer, register

SHARED = ("seed", "optimizer.learning_rate", "regime.epochs", "tracking.job")
"""Settings in which runs of one compiled program may differ."""

LOG = "run.log"
TRACEBACK = "traceback.txt"
"""Files of a job's folder. The second is there only when the process died in the job or was ended."""

DUMP = signal.SIGUSR1
"""Has a worker write down where it is, also where Python itself is stuck."""


@dataclass(frozen=True)
class WorkerSpec:
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


@dataclass(frozen=True)
class Failure:
    """Why a job failed: in words, and by the name of the error.

    `lasting`: it would fail in the same way if it were tried again. `folder`: where a process that died in the job has
    left `LOG` and `TRACEBACK`.
    """

    reason: str
    kind: str
    lasting: bool = False
    folder: Path | None = None


class Shared(Protocol):
    """A number in memory that processes share. It has no lock: a process that is killed could take one with it."""

    value: int


def stop_requested() -> bool:
    """Whether the sweep that this worker belongs to is to end, or has died; always false outside a worker."""
    return _worker is not None and (bool(_worker.stop.value) or os.getppid() != _worker.launcher)


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    spec: WorkerSpec
    stop: Shared
    launcher: int
    busy: bool = False


_worker: _Worker | None = None
screen: TextIO = sys.stderr
"""The command's standard error. A job's own is its log: see `_last_words`."""


def start_worker(spec: WorkerSpec, stop: Shared, pid: Shared) -> None:
    """The first thing that a worker process does. It answers with its `pid`."""
    global _worker, screen
    screen = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    _worker = _Worker(spec, stop, os.getppid())
    signal.signal(signal.SIGTERM, _stop_at_once)
    signal.signal(DUMP, signal.SIG_IGN)  # between two jobs there is nothing to say
    if spec.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.device
    pid.value = os.getpid()


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """SIGTERM in a worker: a job is told by an exception, so that its run is closed; an idle worker just ends."""
    if _worker is not None and _worker.busy:
        raise KeyboardInterrupt
    os._exit(0)


def compose_job(job: Job) -> DictConfig:
    """The job's configuration, Hydra's own included. Raises what Hydra and OmegaConf raise."""
    config = _composer(job).config(job.overrides)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = job.number
    return config


_composers: dict[str, SweepComposer] = {}


def _composer(job: Job) -> SweepComposer:
    """That of the job's sweep: what it has composed for earlier jobs serves the later ones."""
    sweep = str(job.config.hydra.overrides)
    if sweep not in _composers:
        register()
        setup_globals()
        _composers[sweep] = SweepComposer(job.context.config_loader, job.config)
    return _composers[sweep]


def job_folder(config: DictConfig) -> Path:
    """Where Hydra keeps what a job of this configuration writes."""
    return Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))


def carry_out(job: Job) -> Failure | None:
    """One job in a worker, as Hydra's own launcher does it; why it failed, or None."""
    assert _worker is not None
    if stop_requested():
        return None
    _worker.busy = True
    try:
        config = compose_job(job)
        with open_dict(config):
            if config.get("threads") is None:
                config.threads = _worker.spec.threads
            # What there is to warn of, the command has said before it started the workers; their logs repeat it.
            if (handler := OmegaConf.select(config, "hydra.job_logging.handlers.screen")) is not None:
                handler.level, handler.stream = "ERROR", f"ext://{__name__}.screen"
        with _last_words(job_folder(config)):
            done = run_job(
                hydra_context=job.context,
                task_function=job.task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        if isinstance(done._return_value, Exception):
            raise done._return_value
        assert done._return_value is None or isinstance(done._return_value, Failure)
        return done._return_value
    except KeyboardInterrupt:
        return None
    except Exception as error:  # noqa: BLE001 - Hydra's own, of any kind: reported as the failure of this job
        return Failure(f"{type(error).__name__}: {error}", type(error).__name__)
    finally:
        _worker.busy = False


@contextmanager
def _last_words(folder: Path) -> Iterator[None]:
    """What libraries say (warnings; why compiled code aborts) goes to the job's log and not, mixed with others', into
    the bars on the screen; where the process is when it dies of a fault, or is asked (`DUMP`), goes to `TRACEBACK`."""
    assert _worker is not None
    folder.mkdir(parents=True, exist_ok=True)
    traceback = folder / TRACEBACK
    with (folder / LOG).open("a") as log, traceback.open("w") as dump:
        faulthandler.enable(dump)
        faulthandler.register(DUMP, dump)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen.fileno(), 2)
            faulthandler.unregister(DUMP)
            faulthandler.disable()
            traceback.unlink(missing_ok=True)
