"""The tables of new stores: MLflow needs a second to make them, so it makes them once for each process of the tests."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import Any

real = False
"""Whether MLflow makes the tables of every store in the running test; set by conftest.py."""

_DATABASE = "mlflow.store.db.utils"
_made: bytes | None = None


def share() -> None:
    """Copy the tables that MLflow made first into every later store of this process, if it has imported MLflow."""
    database: Any = sys.modules.get(_DATABASE)
    if database is None or getattr(database._initialize_tables, "__module__", None) == __name__:
        return
    make = database._initialize_tables

    def make_or_copy(engine: Any) -> None:
        global _made
        if real or engine.dialect.name != "sqlite" or not database._is_empty_database(engine):
            make(engine)
            return
        if _made is None:
            make(engine)
        with closing(engine.raw_connection()) as connection:
            if _made is None:
                _made = connection.driver_connection.serialize()
            else:
                with closing(sqlite3.connect(":memory:")) as tables:
                    tables.deserialize(_made)
                    tables.backup(connection.driver_connection)

    database._initialize_tables = make_or_copy
