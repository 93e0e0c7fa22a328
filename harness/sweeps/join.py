"""Joins a sweep that another command has started: takes free jobs one by one, until none is left.

The sweep's jobs come from the list that its command has recorded; code, libraries, settings and data must be the same
here. If the sweep's command has gone, the last that trained its jobs makes the table and the report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.composing import SweepJobs, as_written, check_sweep, expand_sweep
from harness.config.schema import OPERATIONAL, Config, flatten, references
from harness.config.validation import check_images
from harness.data import image_shape
from harness.errors import RequestError, StoreError, UnknownRun
from harness.records import RunRecord, RunState
from harness.surroundings import environment
from harness.sweeps.claims import Claims
from harness.sweeps.finalize import Report, finish_parent, raise_if_unfinished
from harness.sweeps.job import run_job
from harness.sweeps.launch import call_hydra, check_surroundings, refuse_ties
from harness.sweeps.launcher import own_launcher, workers_for
from harness.sweeps.lease import Holder, LeaseWatch, holder_of, is_held, take_lease
from harness.sweeps.owners import jittered
from harness.sweeps.plan import SweepPlan, plan_sweep
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.recorded_jobs import RecordedJobs, present_code, read_jobs
from harness.sweeps.runner import SweepRequest, train
from harness.tracking.models import find_sweep
from harness.tracking.reading import cached_reads
from harness.tracking.selection import CONFIRMS_TAG, OVERRIDES_TAG, SEARCH_TAG, SWEEP_FINGERPRINT_TAG
from harness.tracking.store import Store
from harness.tracking.writing import RunIdentity, RunWriter
from harness.user_code import check_allowed

ASK_SECONDS = 5.0
"""About how often a sweep is looked for that has not begun."""
LATEST = "latest"
OWN_SETTINGS = (*OPERATIONAL, "tracking.")
"""Settings (or prefixes) that a machine may have for itself."""


def join(
    store: Store, named: str, overrides: Sequence[str], config_dir: str | None, wait: bool,
    display: SweepDisplay, report: Report,
) -> None:  # fmt: skip
    """Train jobs of the sweep `named` until none is free. `overrides` are settings of this machine only: its workers,
    and where its data is. `wait`: wait for the sweep if it has not begun.

    Raises `RequestError` if there is no such sweep, or code, settings or data differ here (nothing is written then);
    `SweepFailed` if the last job ended here, and not every run has finished.
    """
    _check_own(overrides)
    parent, recorded = _found(store, named, wait, display)
    if recorded is None:
        display.say(f"The sweep {parent.name} ({parent.run_id[:8]}) has ended: nothing to join.")
        return
    refuse_other_code(parent, recorded)
    if SEARCH_TAG in parent.tags:
        from harness.sweeps.search.joining import join_search

        join_search(store, parent, recorded, overrides, config_dir, display)
        return
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    hydra = [item for item in overrides if item.lstrip("+").startswith("hydra")]
    with display.doing(f"Composing {len(recorded.jobs)} jobs"), environment(MLFLOW_TRACKING_URI=store.uri):
        jobs = _jobs(recorded, [item for item in overrides if item not in hydra], hydra, config_dir)
        configs = check_sweep(jobs, config_dir=config_dir)
    check_configs(configs)
    with display.doing(f"Comparing {len(configs)} jobs with those of the sweep"):
        work = plan_sweep(jobs, configs, store)
        work = replace(work, confirms=parent.tags.get(CONFIRMS_TAG, ""))
        refuse_other_jobs(parent, recorded, work)
    sweep = SweepRequest(
        store, jobs, work, parent.tags.get(OVERRIDES_TAG, "").split(),
        partial(check_surroundings, store, configs),
        lambda extra: call_hydra(["--multirun", *flags, *hydra, *extra], run_job),
    )  # fmt: skip
    with environment(MLFLOW_TRACKING_URI=store.uri):
        _take_part(sweep, parent, recorded.threads, display, report)


def _take_part(
    sweep: SweepRequest, parent: RunRecord, threads: int | None, display: SweepDisplay, report: Report
) -> None:
    store, identity = sweep.store, RunIdentity(parent.name, parent.experiment, overrides=sweep.overrides)
    with cached_reads(store):
        plan = sweep.resuming(parent)
    due = plan.due("true")
    holder, watch = holder_of(parent), LeaseWatch()
    config = replace(sweep.config, threads=sweep.config.threads or plan.threads or threads)
    claims = Claims(store, parent.run_id, holder.number if holder is not None else 0)
    store.remember_experiment(parent.experiment, parent.experiment_id)
    claims.announce()
    with workers_for(sweep.jobs.launcher, max(len(due), 1), config) as pool:
        with display.doing("Starting workers, checking the data and the store"):
            sweep.check()
        display.say(f"Joining {parent.name} ({parent.run_id[:8]}), {_whose(parent)}.")
        writer = RunWriter(store, identity, parent.run_id, adding=True)
        try:
            with claims:
                train(sweep, plan, due, writer, pool, claims, display, waits=watch.is_over)
        except KeyboardInterrupt:
            named = parent.run_id[:8]
            display.say(f"Left the sweep. Its jobs are free for others; `harness join {named}` joins again.")
            raise
        now = claims.parent()
        if not watch.is_over(now):
            here = f"{len(claims.taken)} job{'s' * (len(claims.taken) != 1)} trained here"
            display.say(f"No job is free ({here}). The command of the sweep makes its table: {holder_of(now)}.")
            return
    left = sweep.resuming(now).due("true").values()
    if now.state is not RunState.FINISHED and not all(job.failed for job in left):
        _take_part(sweep, now, threads, display, report)  # the sweep's command has just gone: its jobs are free
    else:
        _finalize(sweep, now, holder_of(now), display, report)


def _finalize(
    sweep: SweepRequest, parent: RunRecord, holder: Holder | None, display: SweepDisplay, report: Report
) -> None:
    """All jobs have ended, and the sweep's command has gone: make the table as a resumed sweep does."""
    if parent.state is RunState.FINISHED:
        display.say("All jobs have ended.")
        return
    lease = take_lease(sweep.store, parent.run_id, holder.number if holder is not None else 0)
    if lease is None:
        display.say("All jobs have ended. Another process makes the table.")
        return
    with lease:
        plan = sweep.resuming(parent)
        runs = finish_parent(
            RunWriter(sweep.store, sweep.identity(plan), parent.run_id), plan, RunState.FINISHED, report, display
        )
    raise_if_unfinished(sweep.store, runs, len(plan.jobs))


def _found(store: Store, named: str, wait: bool, display: SweepDisplay) -> tuple[RunRecord, RecordedJobs | None]:
    """The sweep and its recorded jobs; None instead of the jobs if it has ended."""
    told = False
    while True:
        missing: RequestError | StoreError
        try:
            parent = find_sweep(store, named)
            ended = not is_held(parent) and parent.state in (RunState.FINISHED, RunState.FAILED)
            if not ended or not (wait and named == LATEST):
                recorded = None if ended else read_jobs(store, parent)
                if ended or recorded is not None:
                    return parent, recorded
                missing = RequestError(
                    f"The sweep {parent.name} ({parent.run_id}) cannot be joined: its command has not recorded its "
                    "jobs. It starts just now (then --wait helps), is of an earlier version of the harness, or uses "
                    "another launcher or sweeper of Hydra than pool and grid."
                )
            else:
                missing = RequestError("The latest sweep has ended.")
        except UnknownRun as error:
            missing = error
        except RequestError as error:
            if named != LATEST:
                raise
            missing = error
        except StoreError as error:
            if not store.is_missing:
                raise
            missing = error
        if not wait:
            raise missing
        if not told:
            display.say(f"Waiting for the sweep {named} in {store.shown}. Ctrl-C ends the waiting.")
            told = True
        time.sleep(jittered(ASK_SECONDS, 0.5))


def _jobs(recorded: RecordedJobs, own: Sequence[str], hydra: Sequence[str], config_dir: str | None) -> SweepJobs:
    here = expand_sweep(hydra, config_dir=config_dir)
    launcher = own_launcher(here.launcher)
    if launcher is None or not launcher.joins:
        raise RequestError("hydra/launcher: only pool and ray join a sweep. Remove the setting.")
    words = tuple((*one.overrides, *as_written(own)) for one in recorded.jobs)
    return replace(here, jobs=words, swept=recorded.swept)


def _check_own(overrides: Sequence[str]) -> None:
    for item in overrides:
        key = item.lstrip("+~").partition("=")[0]
        if "=" not in item or not key.startswith((*OWN_SETTINGS, "hydra")) or key.startswith("tracking.uri"):
            raise RequestError(
                f"{item}: the jobs are those of the sweep. Only settings of this machine can be given, such as "
                "hydra.launcher.workers=2 or dataset.directory=DIR; --store URI names the store."
            )


def check_configs(configs: Sequence[Config]) -> None:
    """Check the configurations of jobs that another machine has recorded: ties, code of the user's own, images."""
    for config in configs:
        refuse_ties(config)
        for reference in references(config).values():
            check_allowed(reference)
        check_images(config.model, image_shape(config.dataset))


def refuse_other_code(parent: RunRecord, recorded: RecordedJobs) -> None:
    """Refuse to train with other code or libraries than the sweep's."""
    here = present_code()
    if differ := [key for key in here if recorded.code.get(key, "") != here[key]]:
        told = "; ".join(
            f"{key}: {recorded.code.get(key) or 'none'} there, {here[key] or 'none'} here" for key in differ
        )
        raise RequestError(
            f"The sweep {parent.name} ({parent.run_id[:8]}) is trained with other code: {told}. Its numbers could "
            "differ. Bring this machine to the same state, for example with `git checkout` and `pip install`."
        )


def refuse_other_jobs(parent: RunRecord, recorded: RecordedJobs, work: SweepPlan) -> None:
    """Refuse to train other jobs than those that the sweep has recorded: name data and settings that differ."""
    pairs = list(zip(recorded.jobs, work.jobs, strict=True))
    wrong = [(there, here) for there, here in pairs if (there.fingerprint, there.label) != here.identity]
    if not wrong and parent.tags.get(SWEEP_FINGERPRINT_TAG) == work.fingerprint:
        return
    told = []
    data = {here.config.dataset.name: (there.data, here.data) for there, here in wrong if there.data != here.data}
    told += [f"data of {name}: digest {there} there, {here} here" for name, (there, here) in data.items()]
    if wrong:
        mine: Mapping[str, str] = {key: str(value) for key, value in flatten(wrong[0][1].config).items()}
        told += [
            f"{key}: {value} there, {mine.get(key)} here"
            for key, value in recorded.settings.items()
            if mine.get(key) != value and not key.startswith(OPERATIONAL)
        ]
    reason = "; ".join(told) or "its fingerprint is another one"
    raise RequestError(
        f"The jobs of the sweep {parent.name} ({parent.run_id[:8]}) are others on this machine: {reason}. They must be "
        "the same; dataset.directory=DIR says where the data is."
    )


def _whose(parent: RunRecord) -> str:
    holder = holder_of(parent)
    if holder is None or not is_held(parent):
        return "whose command has gone"
    return f"which is running in {holder}"
