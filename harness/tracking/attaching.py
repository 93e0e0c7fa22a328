"""Adds artifacts to a run that has ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.tracking.store import Store


def attach(store: Store, run_id: str, folder: Path) -> None:
    """Log everything in `folder` as artifacts of a run, under the same names; existing artifacts are replaced.

    The run's state and times do not change. Raises `StoreError`, and `OutsideStore` as `check_targets`.
    """
    store.check_writable()
    client = store.client
    with store.explained():
        location = client.get_run(run_id).info.artifact_uri
    check_targets(store, location, (str(file.relative_to(folder)) for file in folder.rglob("*")))
    with store.explained():
        client.log_artifacts(run_id, str(folder))


def check_targets(store: Store, location: str, names: Iterable[str]) -> None:
    """Before artifacts are written at `location` under these names: check that the location belongs to the store and
    that no target is a link. A file with a second hard link is replaced, so that the other name keeps its content.

    Raises `OutsideStore` as `places.artifact_path`."""
    targets = [store.artifact_path(f"{location.rstrip('/')}/{name}") for name in names]
    for target in targets:
        if target is not None and target.is_file() and target.stat().st_nlink > 1:
            target.unlink()
