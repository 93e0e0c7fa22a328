"""From a command line to Hydra and back: one run, or the runs of a sweep under one parent.

The request is checked whole before Hydra makes a folder and before anything is written: the configuration first,
then the data, then the store.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from harness import paths
from harness.analysis.comparison import Comparison
from harness.composing import (
    CONFIG_NAME,
    VERSION_BASE,
    SweepJobs,
    check_sweep,
    compose_config,
    expand_sweep,
    explained,
    register,
    typed_config,
)  # fmt: skip
from harness.config import Config
from harness.continuing import check_start
from harness.data import load_splits
from harness.errors import RequestError, SweepFailed
from harness.records import RunState
from harness.run import RunContext, execute
from harness.sweep.ending import end_runs, record_failure
from harness.sweep.jobs import PARENT_SETTING, run_job
from harness.sweep.naming import run_name, sweep_name
from harness.sweep.pool import crew_for
from harness.sweep.progress import RunDisplay, SweepDisplay
from harness.sweep.summary import read_comparison, record_comparison
from harness.sweep.watching import watched
from harness.tracking.selection import SWEPT_TAG
from harness.tracking.store import ensure_experiment, store_uri
from harness.tracking.writing import RunIdentity, RunWriter

log = logging.getLogger(__name__)

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

Task = Callable[[DictConfig], Any]


def launch(arguments: Sequence[str], report: Callable[[Comparison], None], multirun: bool = False) -> None:
    """Carry out `arguments` (Hydra's overrides and flags): a run, a sweep, or one of Hydra's own answers.

    `report` is given what a sweep found, also when it is cut short. Raises `ConfigError` before anything is written;
    `HarnessError` when the run failed, `SweepFailed` when some runs of a sweep did.
    """
    request = _parse(arguments, multirun)
    if not (request.run or request.multirun):
        with explained(request.overrides):
            _call_hydra(_command_line(request), _no_task)
    elif request.multirun:
        _sweep(request, SweepDisplay(), report)
    else:
        _train(request, RunDisplay())


def _train(request: argparse.Namespace, display: RunDisplay) -> None:
    config = compose_config(request.overrides, request.config_name or CONFIG_NAME, request.config_dir)
    _check_surroundings([config])
    display.show_configuration(config)

    failures: list[Exception] = []

    def task(composed: DictConfig) -> None:
        try:
            config, overrides = typed_config(composed), list(HydraConfig.get().overrides.task)
            log_file = Path(HydraConfig.get().runtime.output_dir) / "run.log"
            context = RunContext(run_name(config, overrides), overrides, log_file=log_file)
            display.run_started(context.name)
            display.run_finished(execute(config, context, display))
        except Exception as error:
            log.info("the run failed", exc_info=True)  # to the run's file; the message is printed once, at the end
            failures.append(error)  # raised below: Hydra would print words of its own

    with display.live():
        _call_hydra(_command_line(request), task)
    for failure in failures:
        raise failure


def _sweep(request: argparse.Namespace, display: SweepDisplay, report: Callable[[Comparison], None]) -> None:
    where = (request.config_name or CONFIG_NAME, request.config_dir)
    jobs = expand_sweep(request.overrides, *where)
    configs = check_sweep(jobs, *where)
    with ExitStack() as last, crew_for(jobs.launcher, len(jobs.jobs), configs[0]) as crew:
        _check_surroundings(configs)
        parent, title = _start_parent(configs[0], jobs, request.overrides)
        if crew is not None:
            crew.record = partial(record_failure, parent, jobs, configs[0])
        state = RunState.FAILED
        try:
            with display.live(title, len(jobs.jobs)), watched(parent.uri, parent.run_id, display.show):
                try:
                    _call_hydra(_command_line(request, [f"{PARENT_SETTING}={parent.run_id}"]), run_job)
                    state = RunState.FINISHED
                except KeyboardInterrupt:
                    state = RunState.KILLED
                    raise
                finally:
                    last.enter_context(_few_retries())
                    failures = crew.failures if crew is not None else None
                    end_runs(parent, jobs, configs[0], failures, interrupted=state is RunState.KILLED)
        finally:
            finished = _finish_parent(parent, jobs, title, state, report)
    if failed := len(jobs.jobs) - finished:
        raise SweepFailed(
            f"{failed} of {len(jobs.jobs)} runs failed; the others are recorded. `harness ui` shows each failure's "
            "message (tag harness.error) and traceback (artifact traceback.txt)."
        )


def _start_parent(config: Config, jobs: SweepJobs, overrides: Sequence[str]) -> tuple[RunWriter, str]:
    title = config.tracking.run_name or sweep_name(jobs.swept, overrides)
    tags = {"harness.kind": "sweep", SWEPT_TAG: json.dumps(jobs.swept), "harness.jobs": str(len(jobs.jobs))}
    identity = RunIdentity(title, config.tracking.experiment, overrides=overrides, tags=tags)
    return RunWriter(store_uri(config.tracking.uri), identity), title


def _finish_parent(
    parent: RunWriter, jobs: SweepJobs, title: str, state: RunState, report: Callable[[Comparison], None]
) -> int:
    """Record what the sweep found, end its run, report; return how many of its jobs the store has as finished."""
    finished, comparison = 0, None
    try:
        comparison = read_comparison(parent.uri, parent.run_id, jobs.swept, title)
        if comparison is not None:
            finished = comparison.finished
            record_comparison(parent, comparison)
        parent.set_tags({"harness.finished": str(finished)})
        if finished < len(jobs.jobs) and state is RunState.FINISHED:
            state = RunState.FAILED
    except KeyboardInterrupt:
        state = RunState.KILLED
        raise
    except BaseException:
        state = RunState.FAILED
        raise
    finally:
        parent.end(state)
    if comparison is not None:
        report(comparison)
    return finished


def _check_surroundings(configs: Sequence[Config]) -> None:
    """Data and store, before anything starts: what is missing is said once, not by every job."""
    wanted = {repr((config.dataset, config.regime.validation)): config for config in configs}
    for config in wanted.values():
        load_splits(config.dataset, config.regime.validation)
    with _few_retries():
        for uri, experiment in {(store_uri(config.tracking.uri), config.tracking.experiment) for config in configs}:
            ensure_experiment(uri, experiment)
        for config in configs:
            check_start(store_uri(config.tracking.uri), config)


def _few_retries() -> AbstractContextManager[None]:
    """MLflow's own seven take minutes to give up on a server; they are for a run that has something to lose."""
    return _environment(RETRIES, os.environ.get(RETRIES, "2"))


def _parse(arguments: Sequence[str], multirun: bool) -> argparse.Namespace:
    """Hydra's own reading of the command line, flags and overrides in any order."""
    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    request = parser.parse_intermixed_args(list(arguments))
    request.flags = [item for item in arguments if item not in request.overrides]
    # An experiment is an option of a group that is in the defaults list already; both spellings of Hydra are welcome.
    request.overrides = [
        item.removeprefix("+") if item.startswith("+experiments=") else item for item in request.overrides
    ]
    if request.config_path is not None:
        raise RequestError("--config-path: the harness has its own configuration; add to it with --config-dir DIR.")
    answers = request.help or request.hydra_help or request.cfg or request.info or request.shell_completion
    request.multirun = bool(request.multirun or (multirun and not answers))
    request.run = not request.multirun and not answers
    return request


def _refuse_flag(message: str) -> NoReturn:
    raise RequestError(f"{message}. `harness train --hydra-help` describes the flags.")


def _command_line(request: argparse.Namespace, extra: Sequence[str] = ()) -> list[str]:
    flags = [item for item in request.flags if item not in ("-m", "--multirun", "-r", "--run")]
    mode = ["--multirun"] if request.multirun else []
    return [*mode, *flags, *request.overrides, *extra]


def _no_task(composed: DictConfig) -> None:
    raise AssertionError("Hydra ran a task for a flag that only shows something")


def _call_hydra(command_line: Sequence[str], task: Task) -> None:
    """`hydra.main` as a function: it reads `sys.argv`, and raises instead of printing when told so."""
    register()
    decorated = hydra.main(
        version_base=VERSION_BASE, config_path=str(paths.configuration_directory()), config_name=CONFIG_NAME
    )(task)
    with _arguments(command_line), _environment("HYDRA_FULL_ERROR", "1"):
        decorated()


@contextmanager
def _arguments(command_line: Sequence[str]) -> Iterator[None]:
    kept = sys.argv
    sys.argv = [kept[0], *command_line]
    try:
        yield
    finally:
        sys.argv = kept


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    kept = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if kept is None:
            del os.environ[name]
        else:
            os.environ[name] = kept
