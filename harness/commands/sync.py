"""`harness sync`: upload the results that runs spooled while their store was down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness import paths
from harness.errors import StoreError
from harness.records import RunState
from harness.sweeps.finalize import bring_up_to_date
from harness.sweeps.lease import close_dead
from harness.tracking.reading import read_runs
from harness.tracking.selection import is_sweep
from harness.tracking.shared_checkpoints import SharedCheckpoints
from harness.tracking.spool import Spool, find_spools, held
from harness.tracking.store import Store, open_store
from harness.tracking.sync import Uploaded, upload_spools


@click.command(name="sync")
@click.option("--store", metavar="URI", help="Only results for this MLflow store; by default all.")
def command(store: str | None) -> None:
    """Upload results that were spooled on this machine while the store was down, each once.

    If the store fails in the middle of a run, training continues and the results go into a spool: spool/ in the
    project's root, or a folder for temporary files if the disk is full. You may interrupt this command and call it
    again at any time. The exit code is 1 if a store is still down.
    """
    wanted = None if store is None else open_store(store)
    waiting = [spools for spools in find_spools().values() if wanted in (None, spools[0].origin.store)]
    if not waiting:
        click.echo("Nothing to do: no run has results waiting in a spool.")
    away: dict[Store | Path, StoreError] = {}
    left: list[str] = []
    late: dict[str, Store] = {}
    for spools in waiting:
        origin = spools[0].origin
        if wanted is None and not all(spool.is_marked for spool in spools):
            away[spools[0].folder] = StoreError(
                f"The spool {spools[0].folder} was not written by this user here, and is meant for the store "
                f"{origin.store.shown}. If that is right, name it: harness sync{origin.store.option or ' --store URI'}"
            )
        elif origin.store not in away:
            try:
                origin.store.await_answer()
                if (uploaded := _uploaded(spools)) is not None:
                    late[uploaded.parent_id or origin.run_id] = origin.store
                continue
            except StoreError as error:
                away[origin.store] = error
        left.append(f"  {_named(spools)} in {spools[0].folder}")
    for parent, origin_store in late.items():
        _make_anew(origin_store, parent)
    for origin_store in dict.fromkeys(late.values()):
        close_dead(origin_store)
    if away:
        reasons = "\n".join(str(error) for error in away.values())
        raise StoreError(f"{reasons}\nNothing is lost. Until the next `harness sync` these wait:\n" + "\n".join(left))


def _make_anew(store: Store, run_id: str) -> None:
    """Where a run is that of a sweep: bring what the sweep found up to date, and say so. Raises `StoreError`."""
    [run] = read_runs(store, run_ids=[run_id], include_parents=True)
    if not is_sweep(run):
        return
    named = f"The sweep {run.name} ({run_id[:8]})"
    shown = f"`harness compare {run_id[:8]} --store {store.shown}`"
    if bring_up_to_date(store, run_id):
        click.echo(f"{named}: table, figure and report have the results now; {shown} shows them.")
    else:
        click.echo(f"{named} is running in another command, which makes its table at its end; {shown} shows it now.")


def _uploaded(spools: Sequence[Spool]) -> Uploaded | None:
    """Upload one run's spool and say so; None if it is not ours to upload. Raises `StoreError`."""
    with held(spools) as ours:
        if not ours:
            click.echo(f"{_named(spools)}: still running, or being uploaded by another `harness sync`; left alone")
            return None
        uploaded = upload_spools(spools)
    if uploaded.elsewhere:
        click.echo(
            f"{_named(spools)}: trained to its end by another process in the meantime; these results are not needed"
        )
        return None
    if uploaded.state == RunState.FINISHED:
        origin = spools[0].origin
        paths.checkpoint_file(origin.run_id).unlink(missing_ok=True)  # it needs it no more
        SharedCheckpoints(origin.store, origin.run_id, origin.attempt + 1, None).remove()
    entries = "1 entry" if uploaded.written == 1 else f"{uploaded.written} entries"
    state = uploaded.state or "interrupted before its end; the same `harness sweep ...` resumes it"
    click.echo(f"{_named(spools)}: {entries} uploaded to {spools[0].origin.store.shown}; {state}")
    return uploaded


def _named(spools: Sequence[Spool]) -> str:
    origin = spools[0].origin
    return f"{origin.name} ({origin.run_id[:8]})"
