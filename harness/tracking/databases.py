"""A database that several machines share (PostgreSQL, MySQL), without an MLflow server in front of it."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import StoreError
from harness.tracking.allowed_locations import NAMED, named_places

_SHARED = re.compile(r"(postgresql|mysql|mssql)(\+\w+)?://")


def is_shared_database(uri: str) -> bool:
    """Whether a store is such a database."""
    return _SHARED.match(uri) is not None


def has_tables(uri: str) -> bool:
    """Whether the database has all tables of MLflow's. MLflow would make or migrate them when it opens it."""
    from mlflow.store.db.utils import _all_tables_exist, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(uri)
    try:
        return bool(_all_tables_exist(engine))
    finally:
        engine.dispose()


def without_tables(shown: str) -> str:
    """What to do about a database without all of the tables, which is to be read."""
    return (
        f"The database {shown} does not have all tables of this MLflow's stores, and reading does not make them. If it "
        "is new, `harness train` or `mlflow server` makes them. If it is of an earlier MLflow, make a backup, then "
        "`mlflow db upgrade`."
    )


def shared_root(shown: str) -> str:
    """The place for the artifacts of new experiments: the first one in `HARNESS_ARTIFACTS` that is absolute.

    Raises `StoreError` if there is none: MLflow would write them into the working directory.
    """
    place = next((one for one in named_places() if "://" in one or one.startswith("/")), None)
    if place is None:
        raise StoreError(
            f"The database {shown} has no place for artifacts: they would go to a folder of this machine. Use "
            "an MLflow server in front of it (docs/server.md), or name a place that all machines share: "
            f"{NAMED}=/shared/runs or {NAMED}=s3://bucket/runs in the environment."
        )
    return (Path(place).as_uri() if place.startswith("/") else place).rstrip("/")
