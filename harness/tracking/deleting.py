"""Runs taken away for good: what the store has of them, their artifacts, models, checkpoints and spools.

In a SQLite store all are marked as deleted first, as the UI does it, and the row of a run goes last: whatever a process
that was killed has left is found by `disk.find_garbage`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from harness import paths
from harness.errors import StoreError
from harness.records import RunRecord
from harness.tracking.claims import delete_run
from harness.tracking.disk import Garbage, Inventory, size_of, take_inventory
from harness.tracking.locations import local_path
from harness.tracking.soundness import explained, opened
from harness.tracking.spool import find_spools, held
from harness.tracking.store import Store


def delete_runs(store: Store, runs: Sequence[RunRecord]) -> list[str]:
    """Delete runs; of a sweep its own run is given last. What the store's server still has to do, in words.

    Raises `StoreError`: what was not deleted by then is there, or found by `find_garbage`.
    """
    if store.database is None:
        return [each for run in runs for each in _delete_from_server(store, run)]
    for run in runs:
        delete_run(store, run.run_id)
    purge(store, take_inventory(store.database), [run.run_id for run in runs])
    return []


def purge(store: Store, inventory: Inventory, run_ids: Iterable[str]) -> int:
    """Take away runs of a SQLite store that are marked as deleted; how many bytes of files that were. Raises
    `StoreError`."""
    freed = 0
    for run_id in run_ids:
        models = inventory.models_of.get(run_id, ())
        freed += sum(map(remove, inventory.of_run(run_id)))
        _forget_here(run_id)
        for model_id in models:  # its metrics belong to the run as well
            _hard_delete(store, "logged_model", model_id)
        _hard_delete(store, "run", run_id)
    return freed


def collect(store: Store, garbage: Garbage) -> int:
    """Take away what belongs to no run; how many bytes of files that were. Raises `StoreError`."""
    assert store.database is not None
    inventory = take_inventory(store.database)
    still = [run_id for run_id in garbage.runs if run_id in inventory.runs and inventory.runs[run_id].deleted]
    freed = purge(store, inventory, still)
    for model_id in inventory.models.keys() & set(garbage.models):
        folder = inventory.model_folder(model_id)
        freed += 0 if folder is None else remove(folder)
        _hard_delete(store, "logged_model", model_id)
    freed += sum(map(remove, garbage.paths))
    for identity in garbage.experiments:
        _hard_delete(store, "experiment", identity)
    if garbage.compact:
        with explained(store.database), closing(opened(store.database)) as connection:
            connection.execute("VACUUM")
    return freed


def registered_models(store: Store, run_ids: Iterable[str]) -> Mapping[str, str]:
    """Of these runs those whose model is a version of a registered model, and which. Raises `StoreError`."""
    if store.database is not None:
        known = take_inventory(store.database).registered
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}
    client, found = store.client, {}
    for run_id in run_ids:
        with store.explained():
            for version in client.search_model_versions(f"run_id = '{run_id}'"):
                found[run_id] = f"{version.name}, version {version.version}"
    return found


def remove(path: Path) -> int:
    """Take away a file, or a folder with all that is in it; its size. Links in it go, not what they point to. Raises
    `StoreError`."""
    size = size_of(path)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # another command is at it
        return 0
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed ({error.strerror or error}). Give this user the right to; `harness gc` takes "
            "away what is left."
        ) from error
    return size


def _forget_here(run_id: str) -> None:
    """Take away what this machine keeps of a run beside its store: a checkpoint, and results in a spool."""
    remove(paths.checkpoint_file(run_id))
    spools = find_spools(run_id).get(run_id, [])
    with held(spools) as ours:
        if ours:
            for spool in spools:
                spool.remove()


def _hard_delete(store: Store, what: str, identity: str) -> None:
    """Take the rows of a run, a logged model or an experiment out of the database, as `mlflow gc` does: by MLflow's own
    store, since its client cannot. Raises `StoreError`."""
    client = store.client
    with store.explained():
        getattr(client._tracking_client.store, f"_hard_delete_{what}")(identity)


def _delete_from_server(store: Store, run: RunRecord) -> list[str]:
    """Delete a run by MLflow's client, its files first; what is left, in words.

    Files whose recorded place is a path are the server's, whatever lies at that path here.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client = store.client
    with store.explained():
        found = client.get_run(run.run_id)
        outputs = [] if found.outputs is None else found.outputs.model_outputs
        models = [client.get_logged_model(one.model_id) for one in outputs]
    locations = [*(model.artifact_location for model in models), found.info.artifact_uri]
    left = [location for location in locations if local_path(location) is not None]
    for location in locations:
        if location not in left:
            with store.explained():
                get_artifact_repository(location, tracking_uri=store.uri).delete_artifacts()
    _forget_here(run.run_id)
    with store.explained():
        for model in models:
            client.delete_logged_model(model.model_id)
        client.delete_run(run.run_id)
    return left
