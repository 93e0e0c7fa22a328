"""One job of a sweep, under any Hydra launcher: all that it needs is in its configuration and the store.

A failing job is recorded and logged, and does not end the sweep.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from harness.composing import typed_config
from harness.config.schema import references
from harness.errors import HarnessError, Paused, TakenOver
from harness.records import RunRecord
from harness.run.execute import RunContext, execute
from harness.sweeps.run_names import group_name, run_name
from harness.sweeps.worker import LOG, Failure, is_first_try, stop_requested
from harness.tracking.reading import read_runs
from harness.tracking.selection import SEARCH_TAG, recorded_number, recorded_settings
from harness.tracking.store import Store, open_store
from harness.training import TrainingState
from harness.user_code import allow

log = logging.getLogger(__name__)

PARENT_SETTING, JOB_SETTING = "tracking.parent_run", "tracking.job"
TIES = (PARENT_SETTING, JOB_SETTING)
"""Settings that connect a job with its sweep; the harness sets them, not the user."""
Objective = float | tuple[float, ...] | None
PAUSE_TAG = "harness.pause."
"""With a job's number, on a search: the epoch after which this job pauses."""
DEBUG_VARIABLE = "HARNESS_DEBUG"


def run_job(composed: DictConfig) -> Failure | Objective:
    """Train and record the run that Hydra composed. Returns the reason of a failure, or the run's objective, which
    sweepers such as Optuna's read; None if it was stopped."""
    try:
        with command_directory():
            return _run_job(composed)
    except TakenOver as error:
        log.warning("%s", error)
        return None
    except Exception as error:
        # To the job's own log; the display reads the message from the store. On the screen only with --debug.
        log.log(logging.ERROR if os.environ.get(DEBUG_VARIABLE) else logging.INFO, "the job failed", exc_info=True)
        lasting = isinstance(error, HarnessError) and error.lasting
        return Failure(str(error) or type(error).__name__, type(error).__name__, lasting)


def _run_job(composed: DictConfig) -> Objective:
    config = typed_config(composed)
    allow(references(config).values())  # the command has checked that the user named them
    assert config.tracking.parent_run is not None
    overrides = list(HydraConfig.get().overrides.task)
    store, parent = open_store(config.tracking.uri), config.tracking.parent_run
    number = int(HydraConfig.get().job.num) if config.tracking.job is None else config.tracking.job
    sweep = _sweep(store, parent)
    earlier = [] if is_first_try() else read_runs(store, parent_id=parent, job=number)
    swept, pause = recorded_settings(sweep), _pause(store, sweep, number)
    context = RunContext(
        name=run_name(config, overrides, swept),
        overrides=[item for item in overrides if item.partition("=")[0] not in TIES],
        parent_id=parent,
        job=number,
        group=group_name(config, overrides, swept),
        log_file=Path(HydraConfig.get().runtime.output_dir) / LOG,
        earlier=earlier,
    )
    if stop_requested():
        return None
    return objective_of(execute(config, context, _Stoppable(pause)).metrics, config.objective)


def objective_of(metrics: Mapping[str, float], asked: str) -> Objective:
    """The objective of a finished run by its name in the setting `objective`. None without a validation split.

    Example:
        >>> objective_of({"final/val_accuracy": 0.9, "final/gap_val_accuracy": 0.02}, "pareto")
        (0.9, 0.02)
    """
    accuracy, gap, loss = (metrics.get(f"final/{name}") for name in ("val_accuracy", "gap_val_accuracy", "val_loss"))
    if accuracy is None or gap is None:
        return None
    return {"gap": gap, "accuracy": accuracy, "loss": loss, "pareto": (accuracy, gap)}[asked]


@contextmanager
def command_directory() -> Iterator[None]:
    """Change to the command's working directory (`hydra.job.chdir` may have changed it), so that relative paths mean
    what the user typed. On another machine this folder may not exist; then nothing is changed."""
    folder = HydraConfig.get().runtime.cwd
    with chdir(folder) if Path(folder).is_dir() else nullcontext():
        yield


@lru_cache(maxsize=8)
def _sweep(store: Store, parent_id: str) -> RunRecord:
    """The parent run as it was at the first job: what it has recorded of its jobs does not change."""
    (parent,) = read_runs(store, run_ids=[parent_id], include_parents=True)
    store.remember_experiment(parent.experiment, parent.experiment_id)
    return parent


def _pause(store: Store, sweep: RunRecord, number: int) -> int | None:
    """The epoch after which a search wants this job to pause; None if it is to train to its end."""
    if SEARCH_TAG not in sweep.tags:
        return None
    (parent,) = read_runs(store, run_ids=[sweep.run_id], include_parents=True)
    return recorded_number(parent, f"{PAUSE_TAG}{number}") or None


class _Stoppable:
    """A training observer that stops the job at the end of an epoch when the sweep stops, as Ctrl-C does; or after the
    epoch `pause`, as a search wants it."""

    def __init__(self, pause: int | None) -> None:
        self._pause = pause

    def training_started(self, epochs: range) -> None:
        self._end_with_sweep()

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None:
        self._end_with_sweep()
        if self._pause is not None and epoch >= self._pause:
            raise Paused(
                f"The search has paused it after epoch {epoch}: it continues if it is promising (search.pruner)."
            )

    def training_ended(self, reason: str) -> None: ...

    def _end_with_sweep(self) -> None:
        if stop_requested():
            raise KeyboardInterrupt
