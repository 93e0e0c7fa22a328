"""The primitives for processes that share a store: write a parameter once, change tags, delete a duplicate run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from harness.errors import RequestError
from harness.tracking.access import retry_insert
from harness.tracking.store import Store


def write_once(store: Store, run_id: str, key: str, value: str) -> bool:
    """Write the parameter `key` of a run. Returns whether it is now `value`; False if another process was first.

    No MLflow store lets a parameter change, so only one of several processes succeeds. Raises `StoreError`.
    """
    from mlflow.exceptions import MlflowException

    client = store.client
    with store.explained():
        try:
            client.log_param(run_id, key, value)
        except MlflowException:
            if key not in client.get_run(run_id).data.params:
                raise
        return bool(client.get_run(run_id).data.params.get(key) == value)


def tag_run(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run. Raises `StoreError`."""
    client = store.client
    with store.explained():
        for key, value in tags.items():
            retry_insert(partial(client.set_tag, run_id, key, value))


def change_tags(store: Store, run_id: str, given: Mapping[str, str], removed: Iterable[str]) -> None:
    """Set the tags `given` of a run, and delete those in `removed`.

    Raises `RequestError` for a key or a value that MLflow refuses (nothing is changed then), `StoreError`.
    """
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException

    client = store.client
    with store.explained():
        try:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in given.items()])
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise RequestError(f"MLflow does not take these tags: {error.message}") from error
        for key in removed:
            client.delete_tag(run_id, key)


def delete_run(store: Store, run_id: str) -> None:
    """Delete a run as the UI does: it is only marked as deleted. Raises `StoreError`."""
    client = store.client
    with store.explained():
        client.delete_run(run_id)


def read_run(store: Store, run_id: str) -> Any:
    """Read a run through MLflow's client: one small request. Raises `StoreError`."""
    client = store.client
    with store.explained():
        return client.get_run(run_id)
