"""Launches the search that a command line asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from harness.composing import CONFIG_NAME
from harness.sweeps.job import run_job
from harness.sweeps.launch import (
    allow_code,
    call_hydra,
    check_surroundings,
    command_line,
    kept_secret,
    refuse_ties,
)
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.search.request import compose_search, make_request
from harness.sweeps.search.runner import plan_lines, run_search
from harness.tracking.access import holds_secret
from harness.tracking.store import Store, open_store


def launch_search(request: argparse.Namespace) -> tuple[Store, str]:
    """The store and the id of the parent run; an empty id with `--plan`. Raises as `harness.sweeps.launch.launch`."""
    display = SweepDisplay(splits=("train", "val"))  # test images are for the winner, at the end
    with display.doing("Composing examples of the trials"):
        given, jobs, configs = compose_search(request.overrides, request.config_name or CONFIG_NAME, request.config_dir)
    allow_code(configs)
    if holds_secret(configs[0].tracking.uri):
        with kept_secret(request, configs[0].tracking.uri) as discreet:
            return launch_search(discreet)
    refuse_ties(configs[0])
    store = open_store(configs[0].tracking.uri)
    store.await_answer()
    to_hydra = argparse.Namespace(**{**vars(request), "overrides": [*given.hydra, *given.fixed]})

    def start(extra: Sequence[str]) -> None:
        call_hydra(command_line(to_hydra, ["hydra/sweeper=grid", *extra]), run_job)

    with display.doing("Planning the search"):
        search = make_request(
            store, request.overrides, given, jobs, configs, partial(check_surroundings, store, configs), start
        )
    if request.plan:
        for line in plan_lines(search):
            display.say(line)
        return store, ""
    return store, run_search(search, display)
