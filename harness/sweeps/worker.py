"""The code that runs inside a worker process: its start, and the execution of a job."""

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
from harness.config.schema import settings_with

SHARED = (*settings_with("data"), "tracking.job")
"""Settings in which runs may differ and still share a compiled program."""

LOG = "run.log"
TRACEBACK = "traceback.txt"
"""Files in a job's folder. The second exists only if the process died during the job or was killed."""

DUMP = signal.SIGUSR1
"""The signal on which a worker writes its traceback, even if Python itself is stuck."""


@dataclass(frozen=True)
class WorkerSpec:
    """The resources of one worker: its number, TensorFlow's intra-op threads, and its GPU, if any."""

    number: int
    threads: int
    device: str | None


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one job of a sweep."""

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    context: HydraContext
    task: TaskFunction
    is_new: bool = False
    """Whether the store has certainly no run of it: then nobody needs to look for one."""

    @property
    def kind(self) -> tuple[str, ...]:
        """A key that is equal for jobs that can share a compiled program."""
        return tuple(item for item in self.overrides if item.partition("=")[0] not in SHARED)


@dataclass(frozen=True)
class Failure:
    """Why a job failed: a message, and the name of the error's type.

    `lasting`: a retry would fail in the same way. `folder`: where a process that died in the job has left `LOG` and
    `TRACEBACK`.
    """

    reason: str
    kind: str
    lasting: bool = False
    folder: Path | None = None


class Shared(Protocol):
    """A number in shared memory. It has no lock, because a killed process could hold the lock for ever."""

    value: int


def stop_requested() -> bool:
    """Whether this worker's sweep must stop, or its command has died; always False outside a worker."""
    return _worker is not None and (bool(_worker.stop.value) or os.getppid() != _worker.launcher)


def is_first_try() -> bool:
    """Whether the store has no run of this worker's job yet; False outside a worker, where that is not known."""
    return _worker is not None and _worker.is_new


@dataclass
class _Worker:
    """The state of this worker process."""

    spec: WorkerSpec
    stop: Shared
    launcher: int
    busy: bool = False
    is_new: bool = False


_worker: _Worker | None = None
screen: TextIO = sys.stderr
"""The command's standard error. A job's own is its log: see `_last_words`."""


def start_worker(spec: WorkerSpec, stop: Shared, pid: Shared) -> None:
    """Initialise a worker process, and report its process id through `pid`."""
    global _worker, screen
    screen = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    _worker = _Worker(spec, stop, os.getppid())
    signal.signal(signal.SIGTERM, _stop_at_once)
    signal.signal(DUMP, signal.SIG_IGN)  # between two jobs there is nothing to report
    if spec.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.device
    pid.value = os.getpid()


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """SIGTERM in a worker: a running job gets an exception, so that it closes its run; an idle worker just exits."""
    if _worker is not None and _worker.busy:
        raise KeyboardInterrupt
    os._exit(0)


_composers: dict[str, SweepComposer] = {}
"""By sweep: later jobs reuse what was composed for earlier ones."""


def compose_job(job: Job) -> DictConfig:
    """The job's configuration, Hydra's own included. Raises what Hydra and OmegaConf raise."""
    sweep = str(job.config.hydra.overrides)
    if sweep not in _composers:
        register()
        setup_globals()
        _composers[sweep] = SweepComposer(job.context.config_loader, job.config)
    config = _composers[sweep].config(job.overrides)
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = job.number, str(job.number)
    return config


def job_folder(config: DictConfig) -> Path:
    """The folder in which Hydra stores the files of a job with this configuration."""
    return Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))


def carry_out(job: Job) -> Failure | None:
    """Run one job in a worker, as Hydra's own launcher does. Returns the reason of a failure, or None."""
    assert _worker is not None
    if stop_requested():
        return None
    _worker.busy, _worker.is_new = True, job.is_new
    try:
        config = compose_job(job)
        with open_dict(config):
            if config.get("threads") is None:
                config.threads = _worker.spec.threads
            # The command has shown these warnings before it started the workers; here they only go to the logs.
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
        return done._return_value if isinstance(done._return_value, Failure) else None
    except KeyboardInterrupt:
        return None
    except Exception as error:  # noqa: BLE001 - Hydra's own, of any kind: reported as the failure of this job
        return Failure(f"{type(error).__name__}: {error}", type(error).__name__)
    finally:
        _worker.busy = False


@contextmanager
def _last_words(folder: Path) -> Iterator[None]:
    """Redirect stderr (warnings of libraries; why compiled code aborts) to the job's log, so that it does not disturb
    the progress bars. The traceback at a fault, or on the signal `DUMP`, goes to `TRACEBACK`."""
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
