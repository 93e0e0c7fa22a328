"""A new SQLite store, which appears whole or not at all: MLflow takes a second or two to make one."""

from __future__ import annotations

import glob
import os
import uuid
from pathlib import Path

from harness.paths import make_file, take_new_place, umask_in


def make_database(database: Path, artifacts: Path) -> None:
    """Make the store `database` with all of MLflow's tables, for a caller that holds the store's lock.

    It is made under another name in the same folder. Where another program (MLflow itself) has made the file meanwhile,
    that one stays. What an earlier process was killed over is removed. Raises `OSError` and what MLflow raises.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = database.resolve()  # not the link to it
    # The journal of a file that was taken away would be played back into the new one.
    orphans = [database.with_name(database.name + end) for end in ("-journal", "-wal", "-shm")]
    for left in (*orphans, *database.parent.glob(f".{glob.escape(database.name)}.*.part*")):
        left.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.part")
    try:
        # SQLite gives its files no more than 0644, and its journals the modes of their database.
        make_file(temporary, umask_in(database.parent))
        made = SqlAlchemyStore(f"sqlite:///{temporary}", artifacts.as_uri())
        made.engine.dispose()  # closes the file: SQLite removes its journal
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        take_new_place(temporary, database)
    finally:
        for left in database.parent.glob(f"{glob.escape(temporary.name)}*"):
            left.unlink(missing_ok=True)
