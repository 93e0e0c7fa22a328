"""Joins a search that another command has started: suggests and trains trials beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from harness.composing import CONFIG_NAME
from harness.records import RunRecord, RunState
from harness.surroundings import environment
from harness.sweeps.claims import Claims
from harness.sweeps.job import run_job
from harness.sweeps.join import check_configs, refuse_other_jobs
from harness.sweeps.launch import call_hydra, check_surroundings
from harness.sweeps.launcher import workers_for
from harness.sweeps.lease import LeaseWatch, holder_of
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.recorded_jobs import RecordedJobs
from harness.sweeps.search.request import SearchRequest, compose_search, make_request, read_words
from harness.sweeps.search.search_runner import ENDLESS, run_search, train_trials, trials_of
from harness.tracking.store import Store
from harness.tracking.writing import RunIdentity, RunWriter


def join_search(
    store: Store, parent: RunRecord, recorded: RecordedJobs, overrides: Sequence[str], config_dir: str | None,
    display: SweepDisplay,
) -> None:  # fmt: skip
    """Train trials of the search `parent` until its budget is spent. `overrides` are settings of this machine. If the
    search's command has gone by then, confirm the winner here.

    Raises `RequestError` if settings or data differ here; nothing is written then.
    """
    display = SweepDisplay(display.console, splits=("train", "val"))
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    hydra = [item for item in overrides if item.lstrip("+").startswith("hydra")]
    words = [*read_words(store, parent), *overrides]
    with environment(MLFLOW_TRACKING_URI=store.uri):
        with display.doing("Composing examples of the trials"):
            given, jobs, configs = compose_search(words, CONFIG_NAME, config_dir)
        check_configs(configs)
        search = make_request(
            store, words, given, jobs, configs, partial(check_surroundings, store, configs),
            lambda extra: call_hydra(["--multirun", *flags, *hydra, *extra], run_job),
        )  # fmt: skip
        refuse_other_jobs(parent, recorded, search.examples)
        _take_part(search, parent, recorded.threads, display)


def _take_part(search: SearchRequest, parent: RunRecord, threads: int | None, display: SweepDisplay) -> None:
    store, watch, holder = search.store, LeaseWatch(), holder_of(parent)
    identity = RunIdentity(parent.name, parent.experiment, overrides=search.overrides)
    config = replace(search.config, threads=search.config.threads or threads)
    claims = Claims(store, parent.run_id, holder.number if holder is not None else 0)
    store.remember_experiment(parent.experiment, parent.experiment_id)
    claims.announce()
    with workers_for(search.given.launcher, search.most_jobs or ENDLESS, config) as pool:
        assert pool is not None
        with display.doing("Starting workers, checking the data and the store"):
            search.check()
        display.say(f"Joining {parent.name} ({parent.run_id[:8]}).")
        writer = RunWriter(store, identity, parent.run_id, adding=True)
        try:
            with claims:
                trials = trials_of(search, claims.parent())
                train_trials(search, trials, writer, pool, claims, display, waits=watch.is_over)
        except KeyboardInterrupt:
            named = parent.run_id[:8]
            display.say(f"Left the search. Its trials are free for others; `harness join {named}` joins again.")
            raise
        now = claims.parent()
        here = f"{len(claims.taken)} job{'s' * (len(claims.taken) != 1)} trained here"
    if not watch.is_over(now):
        display.say(f"No trial is left ({here}). The command of the search ends it: {holder_of(now)}.")
    elif now.state is RunState.FINISHED:
        display.say(f"The search has ended ({here}).")
    else:
        run_search(search, display)
