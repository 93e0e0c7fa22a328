"""Writes to runs of a store that other processes may write too, or that have ended: a parameter once, tags,
artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import RequestError
from harness.tracking.access import retry_insert
from harness.tracking.store import Store


def write_once(store: Store, run_id: str, key: str, value: str) -> bool:
    """Write the parameter `key` of a run. Returns whether it is now `value`; False if another process was first.

    No MLflow store lets a parameter change, so only one of several processes succeeds. Raises `StoreError`.
    """
    from mlflow.exceptions import MlflowException

    with store.connected() as client:
        try:
            client.log_param(run_id, key, value)
        except MlflowException:
            if (found := client.get_run(run_id).data.params.get(key)) is None:
                raise
            return bool(found == value)
    return True


def tag_run(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run. Raises `StoreError`."""
    from mlflow.entities import RunTag

    with store.connected() as client:
        entries = [RunTag(key, value) for key, value in tags.items()]
        retry_insert(lambda: client.log_batch(run_id, tags=entries))


def change_tags(store: Store, run_id: str, given: Mapping[str, str], removed: Iterable[str]) -> None:
    """Set the tags `given` of a run, and delete those in `removed`.

    Raises `RequestError` for a key or a value that MLflow refuses (nothing is changed then), `StoreError`.
    """
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException

    with store.connected() as client:
        try:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in given.items()])
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise RequestError(f"MLflow does not take these tags: {error.message}") from error
        for key in removed:
            client.delete_tag(run_id, key)


def attach(store: Store, run_id: str, folder: Path) -> None:
    """Log everything in `folder` as artifacts of a run, under the same names; existing artifacts are replaced.

    The run's state and times do not change. Raises `StoreError`, and `OutsideStore` as `Store.check_targets`.
    """
    store.check_writable()
    with store.connected() as client:
        location = client.get_run(run_id).info.artifact_uri
        store.check_targets(location, (str(file.relative_to(folder)) for file in folder.rglob("*")))
        client.log_artifacts(run_id, str(folder))
