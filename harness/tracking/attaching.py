"""Files put among the artifacts of a run that has ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.tracking.store import Store


def attach(store: Store, run_id: str, folder: Path) -> None:
    """Put everything in `folder` among the artifacts of a run, under the same names; what has such a name is replaced.

    The run's state and times stay as they are. Raises `StoreError`, and `OutsideStore` as `check_targets`.
    """
    store.check_writable()
    client = store.client
    with store.explained():
        location = client.get_run(run_id).info.artifact_uri
    check_targets(store, location, (str(file.relative_to(folder)) for file in folder.rglob("*")))
    with store.explained():
        client.log_artifacts(run_id, str(folder))


def check_targets(store: Store, location: str, names: Iterable[str]) -> None:
    """Make sure, before artifacts are written at `location` under these names, that the place is the store's own and
    that none of them is a link to another: a file that has another name as well is not written into, but replaced.

    Raises `OutsideStore` as `places.artifact_path`."""
    targets = [store.artifact_path(f"{location.rstrip('/')}/{name}") for name in names]
    for target in targets:
        if target is not None and target.is_file() and target.stat().st_nlink > 1:
            target.unlink()
