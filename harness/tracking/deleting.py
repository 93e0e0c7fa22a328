"""Deletes runs permanently: their rows in the store, artifacts, models, checkpoints and spools.

In a SQLite store all runs are first marked as deleted, as the UI does it, and the row of a run is deleted last. So
`disk.find_garbage` finds everything that a killed process has left.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from harness import paths
from harness.errors import OutsideStore, StoreError
from harness.records import RunRecord
from harness.tracking.disk import MODEL_ID, RUN_ID, Garbage, Inventory, take_inventory
from harness.tracking.preflight import explained, opened
from harness.tracking.relocation import local_path
from harness.tracking.spool import find_spools, held
from harness.tracking.store import Store
from harness.tracking.views import tags_of_views

_KEYS = {"runs": "run_uuid", "logged_models": "model_id"}
_LISTED = "IN (SELECT value FROM json_each(?))"
_RUNS_AT_ONCE = 50
"""How many runs one transaction deletes; other processes wait until it ends."""


def delete_runs(store: Store, runs: Sequence[RunRecord]) -> list[str]:
    """Delete runs; the parent run of a sweep must be last. Returns the locations of files that only the server can
    delete.

    Raises `StoreError`; the rest then still exists, or `find_garbage` finds it.
    """
    if store.database is None:
        return [each for run in runs for each in _delete_from_server(store, run)]
    run_ids = [run.run_id for run in runs]
    with _writing(store.database) as connection:
        connection.execute(
            f"UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid {_LISTED}",
            (int(time.time() * 1000), json.dumps(run_ids)),
        )
    purge(take_inventory(store.database), run_ids)
    return []


def purge(inventory: Inventory, run_ids: Sequence[str]) -> None:
    """Permanently delete runs of a SQLite store that are marked as deleted. Raises `StoreError`."""
    for start in range(0, len(run_ids), _RUNS_AT_ONCE):
        portion = run_ids[start : start + _RUNS_AT_ONCE]
        for run_id in portion:
            for path in inventory.of_run(run_id):
                remove(path)
            _forget_here(run_id)
        models = [model_id for run_id in portion for model_id in inventory.models_of.get(run_id, ())]
        views = [tag for run_id in portion for tag in tags_of_views(run_id)]
        with _writing(inventory.database) as connection:
            connection.execute(f"DELETE FROM experiment_tags WHERE key {_LISTED}", (json.dumps(views),))
        _take_rows(inventory.database, "logged_models", models)
        _take_rows(inventory.database, "runs", portion)


def collect(store: Store, garbage: Garbage) -> None:
    """Delete what belongs to no run of a SQLite store. Raises `StoreError`."""
    assert store.database is not None
    inventory = take_inventory(store.database)
    purge(inventory, [run_id for run_id in garbage.runs if run_id in inventory.runs and inventory.runs[run_id].deleted])
    models = [model_id for model_id in garbage.models if model_id in inventory.models]
    folders = [folder for folder in map(inventory.model_folder, models) if folder is not None]
    for path in (*folders, *garbage.paths):
        remove(path)
    _take_rows(store.database, "logged_models", models)
    for identity in garbage.experiments:
        with store.connected() as client:  # as `mlflow gc` does, which MLflow's client cannot
            client._tracking_client.store._hard_delete_experiment(identity)
    if garbage.compact:
        with explained(store.database), closing(opened(store.database)) as connection:
            connection.execute("VACUUM")


def registered_models(store: Store, run_ids: Iterable[str]) -> Mapping[str, str]:
    """Those of the runs whose model is registered, with the name and version of the registered model. Raises
    `StoreError`."""
    if store.database is not None:
        known = take_inventory(store.database).registered
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}
    found = {}
    for run_id in run_ids:
        with store.connected() as client:
            for version in client.search_model_versions(f"run_id = '{run_id}'"):
                found[run_id] = f"{version.name}, version {version.version}"
    return found


def remove(path: Path) -> None:
    """Delete a file, or a folder with its content. Links in it are deleted, not their targets. Raises `StoreError`."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # another command is deleting it
        pass
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed ({error.strerror or error}). Give this user permission to do so; `harness "
            "gc` deletes what is left."
        ) from error


def _forget_here(run_id: str) -> None:
    """Delete what this machine has of a run outside the store: its checkpoint and its spool."""
    remove(paths.checkpoint_file(run_id))
    spools = find_spools(run_id).get(run_id, [])
    with held(spools) as ours:
        if ours:
            for spool in spools:
                spool.remove()


@contextmanager
def _writing(database: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the database."""
    with explained(database), closing(opened(database)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def _take_rows(database: Path, table: str, identities: Sequence[str]) -> None:
    """Delete rows of `runs` or `logged_models`, and the rows of every other table that refer to them.

    MLflow itself needs three transactions per run: minutes for a few hundred runs.
    """
    if not identities:
        return
    listed = (json.dumps(identities),)
    with _writing(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for child in tables:
            for _, _, parent, column, _, _, on_delete, _ in connection.execute(
                f"PRAGMA foreign_key_list({_quoted(child)})"
            ):
                if parent == table and on_delete == "NO ACTION":  # SQLite does the others itself
                    connection.execute(f"DELETE FROM {_quoted(child)} WHERE {_quoted(column)} {_LISTED}", listed)
        connection.execute(f"DELETE FROM {table} WHERE {_KEYS[table]} {_LISTED}", listed)


def _quoted(name: str) -> str:
    """A table's or a column's name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _delete_from_server(store: Store, run: RunRecord) -> list[str]:
    """Delete a run through MLflow's client, its files first. Returns messages about what could not be deleted.

    A location that is a plain path is a path on the server, so nothing is deleted at that path on this machine.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with store.connected() as client:
        found = client.get_run(run.run_id)
        outputs = [] if found.outputs is None else found.outputs.model_outputs
        named = [client.get_logged_model(one.model_id) for one in outputs]
    models = [model for model in named if model.source_run_id == run.run_id]  # a run may name another run's model
    owners = {model.artifact_location: model.model_id for model in models} | {found.info.artifact_uri: run.run_id}
    locations = list(owners)
    left = [location for location in locations if local_path(location) is not None]
    for location, owner in owners.items():  # before any request to another server
        if location not in left:
            store.artifact_path(location)
            _check_owned(location, owner)
    for location in locations:
        if location not in left:
            with store.explained():
                get_artifact_repository(location, tracking_uri=store.uri).delete_artifacts()
    _forget_here(run.run_id)
    with store.connected() as client:
        for model in models:
            client.delete_logged_model(model.model_id)
        present = client.get_experiment(run.experiment_id).tags
        for view in set(tags_of_views(run.run_id)) & present.keys():
            client.delete_experiment_tag(run.experiment_id, view)
        client.delete_run(run.run_id)
    return left


def _check_owned(location: str, owner: str) -> None:
    """Check that a location on a server belongs to the run or model `owner` alone: a record could name a folder of many
    runs. Raises `OutsideStore`."""
    path = PurePosixPath(urlsplit(location).path)
    folder = path.parent if path.name == "artifacts" else path
    if folder.name != owner or not (RUN_ID.fullmatch(owner) or MODEL_ID.fullmatch(owner)):
        raise OutsideStore(
            f"The store records that the artifacts of {owner!r} lie in {location!r}, a place without its name, which "
            "may be that of others. Nothing was deleted."
        )
