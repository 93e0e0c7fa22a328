"""Options of many commands: `--store` opens the store and passes it to the command, `--import` names code of the user's
own that a run wants and that may be imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from harness.tracking.store import Store, open_store
from harness.user_code import allow

Command = TypeVar("Command", bound=Callable[..., object])


def store_option(command: Command) -> Command:
    """Give a command the parameter `store: Store`."""
    return click.option(
        "--store",
        metavar="URI",
        callback=_opened,
        help="The MLflow store; by default MLFLOW_TRACKING_URI, else the project's own.",
    )(command)


def _opened(context: click.Context, parameter: click.Parameter, uri: str | None) -> Store:
    store = open_store(uri)
    store.await_answer()
    return store


def import_option(command: Command) -> Command:
    """Let a command import the references that the user names."""
    return click.option(
        "--import",
        "imported",
        metavar="REF",
        multiple=True,
        expose_value=False,
        callback=lambda context, parameter, named: allow(named),
        help="Code of your own (package.module:function) that the run wants and that you trust.",
    )(command)
