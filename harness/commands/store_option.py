"""The option `--store` of many commands: opens the store and passes it to the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from harness.tracking.store import Store, open_store

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
