"""`harness gc`: deletes files that belong to no run."""

from __future__ import annotations

import click

from harness.commands.asking import DECLINED, agreed
from harness.commands.store_option import store_option
from harness.errors import RequestError
from harness.tracking.deleting import collect
from harness.tracking.disk import Garbage, find_garbage, shown_size
from harness.tracking.relocation import check_in_place
from harness.tracking.store import Store


@click.command(name="gc")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, file by file, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@store_option
def command(dry_run: bool, yes: bool, store: Store) -> int | None:
    """Delete files and records that belong to no run. This cannot be undone.

    These are: runs, models and experiments that were deleted in the MLflow UI, with their files; folders of runs and
    models that the store does not have (`mlflow gc` leaves those of models); checkpoints of finished runs; partly
    written files of writers that were killed more than a day ago. Registered models and their runs are kept, and so
    are copies of the database from before `harness store relocate`.
    """
    if store.database is None:
        raise RequestError(
            f"The store {store.shown} is no SQLite file. To remove what was deleted in it, run on its server: "
            "mlflow gc --backend-store-uri URI"
        )
    if store.is_missing:
        raise RequestError(f"There is no store {store.database} yet.")
    check_in_place(store.database)
    garbage = find_garbage(store.database)
    for line in _lines(garbage):
        click.echo(line)
    if dry_run:
        for path in garbage.paths:
            click.echo(f"  {path}")
        click.echo("Nothing was deleted: this was a dry run.")
        return None
    if not garbage.found:
        return None
    if not agreed(f"Delete all of it for good ({shown_size(garbage.size)})?", yes):
        return DECLINED
    with store.exclusive():
        collect(store, garbage)
    click.echo(f"Deleted: {shown_size(garbage.size)}.")
    return None


def _lines(garbage: Garbage) -> list[str]:
    lines = [f"{shown_size(size):>8}  {count} × {what}" for what, (count, size) in garbage.found.items()]
    if not lines:
        lines = ["Nothing to do: everything that lies there belongs to a run."]
    return [*lines, *(f"left alone: {remark}" for remark in garbage.remarks)]
