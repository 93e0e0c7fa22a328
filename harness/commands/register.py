"""`harness register`: the model of a run in MLflow's registry, with its scores and an alias."""

from __future__ import annotations

import shlex

import click

from harness.commands.store_option import store_option
from harness.tracking.models import find_trained
from harness.tracking.registry import check_names, described, register_model
from harness.tracking.store import Store

DEFAULT_ALIAS = "champion"


@click.command(name="register")
@click.argument("run")
@click.argument("name")
@click.option(
    "--alias",
    metavar="ALIAS",
    default=DEFAULT_ALIAS,
    show_default=True,
    help="The alias of the version; other versions lose it.",
)
@click.option(
    "--description", metavar="TEXT", help="By default: the run, its dataset and model, test accuracy and gap."
)
@store_option
def command(run: str, name: str, alias: str, description: str | None, store: Store) -> None:
    """Make the model of RUN a version of the registered model NAME, with its scores and an alias.

    RUN is a run's id, the beginning of it, or its name; latest; best; or a registered model (NAME, NAME/3, NAME@alias).
    If the run is already a version of NAME, it stays that version; the alias is moved to it.
    """
    check_names(name, alias)
    record = find_trained(store, run)
    registered = register_model(store, record, name, alias, description)
    how = "registered" if registered.new else "was registered already"
    click.echo(f"{name} version {registered.version} {how}: {described(record)}")
    moved = "" if registered.alias_was_on is None else f", no longer version {registered.alias_was_on}"
    click.echo(f"{name}@{alias} is version {registered.version}{moved}")
    model = shlex.quote(f"models:/{name}@{alias}")
    click.echo(f"predict: harness predict {shlex.quote(f'{name}@{alias}')}")
    click.echo(
        f"serve:   MLFLOW_TRACKING_URI={shlex.quote(store.shown)} mlflow models serve --model-uri {model} "
        "--env-manager local"
    )
