"""Creates a new SQLite store atomically: MLflow takes a second or two to make its tables."""

from __future__ import annotations

import glob
import os
import uuid
from pathlib import Path

from harness.paths import make_file, take_new_place, umask_in


def make_database(database: Path, artifacts: Path) -> None:
    """Create the store `database` with all of MLflow's tables; the caller must hold the store's lock.

    It is made under a temporary name in the same folder. If another program (MLflow itself) has made the file
    meanwhile, that file stays. Leftovers of a killed process are removed. Raises `OSError` and MLflow's errors.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = database.resolve()  # not the link to it
    # SQLite would apply the journal of a deleted file to the new one.
    orphans = [database.with_name(database.name + end) for end in ("-journal", "-wal", "-shm")]
    for left in (*orphans, *database.parent.glob(f".{glob.escape(database.name)}.*.part*")):
        left.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.part")
    try:
        # SQLite creates its files with at most 0644, and its journals with the mode of their database.
        make_file(temporary, umask_in(database.parent))
        made = SqlAlchemyStore(f"sqlite:///{temporary}", artifacts.as_uri())
        made.engine.dispose()  # closes the file: SQLite removes its journal
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        take_new_place(temporary, database)
    finally:
        for left in database.parent.glob(f"{glob.escape(temporary.name)}*"):
            left.unlink(missing_ok=True)
