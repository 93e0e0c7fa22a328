"""Files put among the artifacts of a run that has ended."""

from __future__ import annotations

from pathlib import Path

from harness.tracking.store import explained, open_client


def attach(uri: str, run_id: str, folder: Path) -> None:
    """Put everything in `folder` among the artifacts of a run, under the same names; what has such a name is replaced.

    The run's state and times stay as they are. Raises `StoreError`.
    """
    client = open_client(uri)
    with explained(uri):
        client.log_artifacts(run_id, str(folder))
