"""`harness tag`: sets and removes a user's own tags of a run."""

from __future__ import annotations

from collections.abc import Mapping

import click

from harness.commands.store_option import store_option
from harness.errors import RequestError
from harness.tracking.models import find_run
from harness.tracking.shared_writes import change_tags
from harness.tracking.store import Store
from harness.tracking.writing import TAG_LIMIT

RESERVED = ("harness.", "mlflow.")


@click.command(name="tag")
@click.argument("run")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this tag. Can be given several times.")
@store_option
def command(run: str, tags: tuple[str, ...], remove: tuple[str, ...], store: Store) -> None:
    """Give a run or a sweep tags of your own, remove tags, or show them.

    RUN is a run id, the beginning of one, a name, latest (the latest sweep or run), best, or a registered model. An
    existing tag gets the new value. The UI shows tags, and filters by them.

    \b
    harness tag latest paper=figure-3
    harness tag latest --remove paper
    """
    given = dict(map(_pair, tags))
    for key in (*given, *remove):
        _check(key)
    if both := sorted(given.keys() & set(remove)):
        raise RequestError(f"{both[0]} is to be set and to be removed. Do one of them.")
    found = find_run(store, run)
    if missing := [key for key in remove if key not in found.tags]:
        own = ", ".join(_own(found.tags)) or "none"
        raise RequestError(f"The run {found.name} ({found.run_id}) has no tag {missing[0]}. Its own tags are: {own}.")
    if given or remove:
        change_tags(store, found.run_id, given, remove)
        if store.is_server:
            from harness.tracking.finished_runs import forget

            forget(store, found)
    kept = {key: value for key, value in {**found.tags, **given}.items() if key not in remove}
    click.echo(f"{found.name} ({found.run_id[:8]})")
    for key, value in sorted(_own(kept).items()):
        click.echo(f"  {key}={value}")


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that people gave a run."""
    return {key: value for key, value in tags.items() if not key.startswith(RESERVED)}


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key.strip():
        raise RequestError(f"'{text}' is no tag. Write KEY=VALUE (paper=figure-3), or --remove KEY.")
    if len(value) > TAG_LIMIT:
        raise RequestError(f"The value of the tag {key} has {len(value)} characters. A tag holds {TAG_LIMIT}.")
    return key.strip(), value


def _check(key: str) -> None:
    if key.startswith(RESERVED):
        raise RequestError(
            f"The tag {key} is not yours to change: those that begin with {' or '.join(RESERVED)} say what the harness "
            "and MLflow go by. Use another name. A run's name and description can be changed in the UI."
        )
