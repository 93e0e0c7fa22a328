"""Launches what a command line asks for through Hydra: one run, or the runs of a sweep under one parent run.

The whole request is checked before Hydra makes a folder and before anything is written: first the configuration, then
the data, then the store.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from harness import paths
from harness.composing import (
    CONFIG_NAME,
    VERSION_BASE,
    SweepJobs,
    added_folder,
    as_written,
    check_sweep,
    chooses_search,
    compose_config,
    expand_sweep,
    explained,
    group_names,
    is_of_search,
    register,
    typed_config,
)  # fmt: skip
from harness.config.schema import Config, flatten, references
from harness.config.validation import check_images
from harness.data import check_data, image_shape
from harness.errors import RequestError
from harness.run.execute import RunContext, execute
from harness.run.warm_start import check_start
from harness.surroundings import environment
from harness.sweeps.finalize import Report
from harness.sweeps.job import command_directory, run_job
from harness.sweeps.lease import close_dead
from harness.sweeps.mlflow_views import MOST_RUNS, not_decisive, show_experiment
from harness.sweeps.plan import plan_sweep
from harness.sweeps.progress import RunDisplay, SweepDisplay
from harness.sweeps.run_names import run_name
from harness.sweeps.runner import Outlook, SweepRequest, run_sweep
from harness.sweeps.watch import watch
from harness.terminal import doing
from harness.tracking.access import holds_secret, shown_uri
from harness.tracking.reading import cached_reads
from harness.tracking.store import Store, open_store
from harness.untrusted import check_root
from harness.user_code import allow, remember

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]
ShowPlan = Callable[[Outlook], None]

URI_SETTING = "tracking.uri"
PLAN, WATCH, IMPORT = "--plan", "--watch", "--import"
"""Flags of the harness, unknown to Hydra."""


def launch(
    arguments: Sequence[str], report: Report, multirun: bool = False, show_plan: ShowPlan = lambda outlook: None
) -> None:
    """Execute `arguments` (Hydra's overrides and flags, `--plan`, `--watch`): a run, a sweep, or an output.

    `report` gets the comparison of a sweep, also if the sweep was interrupted; `show_plan` gets what a sweep would do.
    Raises `ConfigError` before anything is written, `HarnessError` if the run failed, `SweepFailed` if some runs of a
    sweep failed.
    """
    request = _parse(arguments, multirun)
    if not (request.run or request.multirun):
        answer = io.StringIO()
        try:
            with explained(request.overrides), redirect_stdout(answer):
                if request.config_dir is not None:
                    added_folder(request.config_dir)
                call_hydra(command_line(request), _no_task)
        finally:
            sys.stdout.write(shown_uri(answer.getvalue()))
    elif request.watch is not None:
        _watch(request, report)
    elif request.multirun:
        _sweep(request, report, show_plan)
    else:
        _train(request, RunDisplay())


def train_run(overrides: Sequence[str], callbacks: Sequence[Any] = ()) -> tuple[Store, str]:
    """Train one run, as `harness train OVERRIDES`; its store and id. `callbacks` are Keras's. Raises as `launch`."""
    return _train(_parse(overrides, multirun=False), RunDisplay(), callbacks)


def train_sweep(overrides: Sequence[str], report: Report) -> tuple[Store, str]:
    """Train a sweep, as `harness sweep OVERRIDES`; its store and the id of its parent run. Raises as `launch`."""
    return _sweep(_parse(overrides, multirun=True), report, lambda outlook: None)


def _train(request: argparse.Namespace, display: RunDisplay, callbacks: Sequence[Any] = ()) -> tuple[Store, str]:
    with doing("Composing the configuration", display.console):
        config = compose_config(request.overrides, request.config_name or CONFIG_NAME, request.config_dir)
    allow_code([config])
    if holds_secret(config.tracking.uri):
        with kept_secret(request, config.tracking.uri) as discreet:
            return _train(discreet, display, callbacks)
    check_images(config.model, image_shape(config.dataset))
    refuse_ties(config)
    store = open_store(config.tracking.uri)
    with doing("Checking the data and the store", display.console):
        store.await_answer()
        check_surroundings(store, [config])
    display.show_configuration(config)

    failures: list[Exception] = []
    ids: list[str] = []

    def task(composed: DictConfig) -> None:
        try:
            with command_directory():
                config, overrides = typed_config(composed), list(HydraConfig.get().overrides.task)
                log_file = Path(HydraConfig.get().runtime.output_dir) / "run.log"
                context = RunContext(run_name(config, overrides), overrides, log_file=log_file)
                display.run_started(context.name)
                result = execute(config, context, display, callbacks)
            ids.append(result.run_id)
            display.run_finished(result, store.option)
            with not_decisive(result.name):
                show_experiment(store, store.ensure_experiment(result.experiment), MOST_RUNS)
        except Exception as error:
            log.info("the run failed", exc_info=True)  # to the run's file; the message is printed once, at the end
            failures.append(error)  # raised below: Hydra would print its own message

    try:
        with display.live():
            call_hydra(command_line(request), task)
    except KeyboardInterrupt:
        display.say(
            "Interrupted. The same command starts this single run again. Only runs of `harness sweep` are resumed."
        )
        raise
    for failure in failures:
        raise failure
    return store, ids[0]


def _sweep(request: argparse.Namespace, report: Report, show_plan: ShowPlan) -> tuple[Store, str]:
    """The store and the id of the parent run; an empty id with `--plan`, which trains nothing."""
    if chooses_search(request.overrides):
        from harness.sweeps.search.search_launch import launch_search

        return launch_search(request)
    display, where = SweepDisplay(), (request.config_name or CONFIG_NAME, request.config_dir)
    with display.doing("Composing the jobs"):
        jobs = expand_sweep(request.overrides, *where)
        configs = check_sweep(jobs, *where)
    allow_code(configs)
    if holds_secret(configs[0].tracking.uri):
        with kept_secret(request, configs[0].tracking.uri) as discreet:
            return _sweep(discreet, report, show_plan)
    refuse_ties(configs[0])
    with display.doing(f"Planning {len(configs)} jobs"):
        sweep = _planned(jobs, configs, lambda extra: call_hydra(command_line(request, extra), run_job))
    sweep = replace(sweep, overrides=request.overrides)
    if not request.plan:
        return sweep.store, run_sweep(sweep, display, report)
    show_plan(sweep.outlook())
    return sweep.store, ""


def launch_jobs(
    jobs: Sequence[Sequence[str]], swept: Sequence[str], confirms: str, report: Report, hydra: Sequence[str] = ()
) -> None:
    """Train jobs, each a list of overrides and not necessarily a grid, as one sweep. The jobs differ in `swept`; the
    sweep `confirms` the rows of these runs. `hydra` are overrides of Hydra's own settings. Raises as `launch`."""
    every = replace(expand_sweep(hydra), jobs=tuple(map(tuple, jobs)), swept=tuple(swept))
    sweep = _planned(every, check_sweep(every), lambda extra: call_hydra(["--multirun", *hydra, *extra], run_job))
    run_sweep(replace(sweep, work=replace(sweep.work, confirms=confirms)), SweepDisplay(), report)


def _planned(jobs: SweepJobs, configs: Sequence[Config], start: Callable[[Sequence[str]], None]) -> SweepRequest:
    for config in configs:
        check_images(config.model, image_shape(config.dataset))
    store = open_store(configs[0].tracking.uri)
    store.await_answer()
    check = partial(check_surroundings, store, configs)
    return SweepRequest(store, jobs, plan_sweep(jobs, configs, store), (), check, start)


def _watch(request: argparse.Namespace, report: Report) -> None:
    display = SweepDisplay()
    with display.doing("Composing the configuration"):
        config = compose_config(request.overrides, request.config_name or CONFIG_NAME, request.config_dir)
        store = open_store(config.tracking.uri)
        store.await_answer()
    watch(store, request.watch, display, report)


@contextmanager
def kept_secret(request: argparse.Namespace, uri: str | None) -> Iterator[argparse.Namespace]:
    """The request without the store's URI, which is passed in the environment during the block: Hydra writes its
    overrides into files that everybody can read, and the URI may hold a password."""
    rest = [item for item in request.overrides if item.lstrip("+").partition("=")[0] != URI_SETTING]
    with environment(MLFLOW_TRACKING_URI=str(uri)):
        yield argparse.Namespace(**{**vars(request), "overrides": [*rest, f"{URI_SETTING}=null"]})


def allow_code(configs: Sequence[Config]) -> None:
    """The user has typed these configurations, so the code that they name may be imported, now and later."""
    if named := {reference for config in configs for reference in references(config).values()}:
        allow(named)
        remember(named)


def refuse_ties(config: Config) -> None:
    """Refuse the settings that connect a job with its sweep: set by a user, they would write into other runs."""
    for key, value in (("parent_run", config.tracking.parent_run), ("job", config.tracking.job)):
        if value is not None:
            raise RequestError(
                f"tracking.{key}={value}: `harness sweep` itself gives this setting to its jobs. Remove it; "
                "tracking.experiment=NAME keeps runs together."
            )


def check_surroundings(store: Store, configs: Sequence[Config]) -> None:
    """Check data and store before anything starts, so that a problem is reported once and not by every job."""
    check_root()
    wanted = {repr((config.dataset, config.regime.validation)): config for config in configs}
    for config in wanted.values():
        check_data(config.dataset, config.regime.validation)
    store.ensure_experiment(configs[0].tracking.experiment)  # all jobs have the same
    close_dead(store)
    with cached_reads(store):
        for config in configs:
            check_start(store, config)
    paths.make_folder(paths.project_root() / paths.OUTPUTS)


def _parse(arguments: Sequence[str], multirun: bool) -> argparse.Namespace:
    """Parse the command line with Hydra's own parser; flags and overrides may come in any order."""
    arguments = _without_imports(arguments)
    arguments, plan, watched = _own_flags(arguments)
    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    request = parser.parse_intermixed_args(list(arguments))
    request.plan, request.watch = plan, watched
    request.flags = [item for item in arguments if item not in request.overrides]
    # The group of an experiment is already in the defaults list; both of Hydra's spellings are accepted.
    request.overrides = as_written(
        [item.removeprefix("+") if item.startswith("+experiments=") else item for item in request.overrides]
    )
    if request.config_path is not None:
        raise RequestError("--config-path: the harness has its own configuration; add to it with --config-dir DIR.")
    answers = request.help or request.hydra_help or request.cfg or request.info or request.shell_completion
    request.multirun = bool(request.multirun or (multirun and not answers))
    request.run = not request.multirun and not answers
    if (said := [item for item in request.overrides if is_of_search(item)]) and not chooses_search(request.overrides):
        raise RequestError(f"{said[0]}: only a search has it. Use `harness search`.")
    if (plan or watched is not None) and not request.multirun:
        raise RequestError(f"{PLAN if plan else WATCH}: only a sweep has it. Use `harness sweep`.")
    return request


def _without_imports(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--import REFERENCE`, which lets the code of a run that is continued be imported."""
    rest, named = list[str](), list[str]()
    waiting = iter(arguments)
    for word in waiting:
        if word == IMPORT or word.startswith(f"{IMPORT}="):
            named.append(word.partition("=")[2] or next(waiting, ""))
        else:
            rest.append(word)
    allow(named)
    return rest


def _own_flags(arguments: Sequence[str]) -> tuple[list[str], bool, str | None]:
    """The arguments without the harness's own flags; whether `--plan` was given; the value of `--watch`, or None."""
    words = (item.split("=", 1) if item.startswith(f"{WATCH}=") else [item] for item in arguments)
    rest, watched = [word for item in words for word in item if word != PLAN], None
    if WATCH in rest:
        place = rest.index(WATCH)
        named = next(iter(rest[place + 1 :]), "-")
        watched = "" if named.startswith("-") or "=" in named else named
        del rest[place : place + (2 if watched else 1)]
    return rest, PLAN in arguments, watched


def _refuse_flag(message: str) -> NoReturn:
    dashed = [word.lstrip("-").partition("=") for word in message.partition("arguments: ")[2].split()]
    if settings := [(key, value or "VALUE") for key, _, value in dashed if key in (*flatten(Config()), *group_names())]:
        raise RequestError(
            f"{message}. A setting has no dashes in front of it, and no spaces in it: "
            f"{' '.join(f'{key}={value}' for key, value in settings)}"
        )
    raise RequestError(f"{message}. `harness train --hydra-help` describes the flags.")


def command_line(request: argparse.Namespace, extra: Sequence[str] = ()) -> list[str]:
    """The flags and overrides of a request for Hydra, and `extra` behind them."""
    flags = [item for item in request.flags if item not in ("-m", "--multirun", "-r", "--run")]
    mode = ["--multirun"] if request.multirun else []
    return [*mode, *flags, *request.overrides, *extra]


def _no_task(composed: DictConfig) -> None:
    raise AssertionError("Hydra ran a task for a flag that only shows something")


def call_hydra(command_line: Sequence[str], task: Task) -> None:
    """Call `hydra.main` as a function: it reads `sys.argv`, and its errors are raised instead of printed."""
    register()
    decorated = hydra.main(config_path=str(paths.configuration_directory()), config_name=CONFIG_NAME, **VERSION_BASE)(
        task
    )
    with _arguments(command_line), _own_hydra(), environment(HYDRA_FULL_ERROR="1"):
        decorated()


@contextmanager
def _own_hydra() -> Iterator[None]:
    """The Hydra that a caller from Python may have initialized, and its logging, are there again after the block."""
    root, outer = logging.getLogger(), GlobalHydra.instance().hydra
    level, handlers = root.level, root.handlers[:]
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer
        for handler in set(root.handlers) - set(handlers):
            with suppress(OSError):  # its disk is full: what the run says of that must not be lost
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _arguments(command_line: Sequence[str]) -> Iterator[None]:
    kept = sys.argv
    sys.argv = [kept[0], *command_line]
    try:
        yield
    finally:
        sys.argv = kept
