"""Options of many commands: `--store` opens the store and passes it to the command, `--import` names code of the user's
own that a run wants and that may be imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from harness.tracking.reading import cached_reads
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


def refresh_option(command: Command) -> Command:
    """Give a command the parameter `refresh: bool`."""
    return click.option(
        "--refresh",
        is_flag=True,
        help="Read all runs of a server again, also finished ones that this machine has (their tags may have changed).",
    )(command)


@contextmanager
def finished_reads(store: Store, refresh: bool) -> Iterator[None]:
    """As `cached_reads`, with the finished runs of a server that this machine has; says how old they are."""
    if not store.is_server:
        with cached_reads(store):
            yield
        return
    from harness.tracking.finished_runs import FinishedRuns

    finished = FinishedRuns(store, refresh)
    with cached_reads(store, finished):
        yield
    if finished.told:
        click.echo(f"{finished.told}; --refresh reads them again.", err=True)


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
