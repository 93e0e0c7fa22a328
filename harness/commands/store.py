"""`harness store`: moves the store. `relocate` corrects the recorded locations after a move, `copy` copies the runs."""

from __future__ import annotations

import time

import click

from harness.commands.store_option import store_option
from harness.errors import RequestError
from harness.tracking.copying import copy_store
from harness.tracking.relocation import artifact_root, local_path, plan, relocate
from harness.tracking.spool import follow_store
from harness.tracking.store import Store, open_store

TELL_SECONDS = 5.0


@click.group(name="store")
def command() -> None:
    """Copy the store's runs to another store, or repair it after it was moved or copied."""


@command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy_command(source: str, target: str) -> None:
    """Copy all ended runs of the store FROM to the store TO, for example to a server.

    Both are addresses: sqlite:////PATH/mlflow.db or https://SERVER. Parameters, tags, metrics, artifacts, datasets and
    models are copied. A copy has an id of its own, and the old one as the tag harness.copy_of. Given again, the command
    continues an interrupted copy, and copies what is new.
    """
    stores = open_store(source), open_store(target)
    for store in stores:
        store.await_answer()
    told = time.monotonic()

    def say(words: str) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            click.echo(f"Copying run {words}", err=True)

    done = copy_store(*stores, say)
    click.echo(
        f"Copied {done.runs} runs of {done.experiments} experiments from {stores[0].shown} to {stores[1].shown}; "
        f"{done.there} were there already."
    )
    for words in done.left_out:
        click.echo(f"Not copied: {words}.", err=True)


@command.command("relocate")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@store_option
def relocate_command(dry_run: bool, store: Store) -> None:
    """Correct the paths of artifacts in a SQLite store that was moved or copied.

    MLflow records absolute paths of experiments, runs and models. They are changed to the folder beside the database.
    A copy of the old database is kept. Artifacts are neither moved nor read.
    """
    if store.database is None:
        raise RequestError(f"The store {store.shown} is no SQLite file: its server knows where its artifacts lie.")
    if store.is_missing:
        raise RequestError(f"There is no store {store.database} yet.")
    with store.exclusive():
        store.check_sound()
        move = plan(store.database)
        if not move.places:
            click.echo(f"Nothing to do: the paths in the store {store.database} are right.")
            return
        for place in dict.fromkeys(map(local_path, move.places)):
            click.echo(f"from {place}")
        click.echo(f"to   {artifact_root(store.database)}")
        click.echo(", ".join(f"{count} {what if count != 1 else what[:-1]}" for what, count in move.counts.items()))
        if move.absent:
            click.echo(f"{len(move.absent)} folders of artifacts exist only at the old place")
        if dry_run:
            click.echo("Nothing was changed: this was a dry run.")
            return
        kept = relocate(move)
        follow_store(move, store)
    click.echo(f"Done. The old database is kept as {kept}")
