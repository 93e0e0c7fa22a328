"""Files put among the artifacts of a run that has ended."""

from __future__ import annotations

from pathlib import Path

from harness.tracking.store import Store


def attach(store: Store, run_id: str, folder: Path) -> None:
    """Put everything in `folder` among the artifacts of a run, under the same names; what has such a name is replaced.

    The run's state and times stay as they are. Raises `StoreError`.
    """
    store.check_writable()
    client = store.client
    with store.explained():
        client.log_artifacts(run_id, str(folder))
