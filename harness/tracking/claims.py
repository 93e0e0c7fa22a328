"""What processes that share a store settle in it: who owns a sweep, and which of two equal ones stays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.tracking.store import exclusive, explained, open_client, sqlite_file, taken_retried

__all__ = ["delete_run", "exclusive", "is_local", "read_run", "tag_run", "write_once"]


def is_local(uri: str) -> bool:
    """Whether processes that use the store can keep each other out by a lock (`exclusive`)."""
    return sqlite_file(uri) is not None


def write_once(uri: str, run_id: str, key: str, value: str) -> bool:
    """Give a run the parameter `key`; whether it is `value` now, and not another's.

    A parameter cannot be changed in any store of MLflow, so of several processes one succeeds. Raises `StoreError`.
    """
    from mlflow.exceptions import MlflowException

    client = open_client(uri)
    with explained(uri):
        try:
            client.log_param(run_id, key, value)
        except MlflowException:
            if key not in client.get_run(run_id).data.params:
                raise
        return bool(client.get_run(run_id).data.params.get(key) == value)


def tag_run(uri: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run. Raises `StoreError`."""
    client = open_client(uri)
    with explained(uri):
        for key, value in tags.items():
            taken_retried(partial(client.set_tag, run_id, key, value))


def delete_run(uri: str, run_id: str) -> None:
    """Delete a run as the UI does: it is kept, marked as deleted. Raises `StoreError`."""
    client = open_client(uri)
    with explained(uri):
        client.delete_run(run_id)


def read_run(uri: str, run_id: str) -> Any:
    """Parameters, tags and state of a run, by MLflow's client: one small request. Raises `StoreError`."""
    client = open_client(uri)
    with explained(uri):
        return client.get_run(run_id)
