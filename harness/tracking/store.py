"""Which tracking store, and making it ready. Everything that reads or writes runs asks here."""

from __future__ import annotations

import os
from pathlib import Path

from harness import paths

SQLITE = "sqlite:///"


def store_uri(configured: str | None = None) -> str:
    """The store's URI: `tracking.uri` where it is set, else `MLFLOW_TRACKING_URI`, else the project's own store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or paths.default_store_uri()


def sqlite_file(uri: str) -> Path | None:
    """The database file of a SQLite store; None for any other store."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None
