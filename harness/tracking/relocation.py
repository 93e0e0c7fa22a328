"""The artifact locations that a SQLite store records, and their correction after a move (`harness store relocate`).

MLflow records absolute locations: after a project was moved or copied, they name the old folder until they are
rewritten. Which locations are allowed is checked in `allowed_locations.py`.
"""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from harness import paths
from harness.errors import RequestError, StoreError
from harness.tracking.preflight import explained, opened

ARTIFACTS = "mlruns"
BEFORE_RELOCATE = ".before-relocate-"
LONGEST_FOLDER = 200  # bytes of a name; file systems take 255

_COLUMNS = {
    "experiments": ("experiments", "artifact_location", ""),
    "runs": ("runs", "artifact_uri", ""),
    "models": ("logged_models", "artifact_location", ""),
    "versions": ("model_versions", "storage_location", ""),
    "sources": ("model_versions", "source", ""),
    "traces": ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
}
"""Where MLflow records locations: table, column, condition."""


def artifact_root(database: Path) -> Path:
    """The folder of a SQLite store's artifacts: `mlruns/` beside the database, as MLflow would choose it."""
    return database.parent / ARTIFACTS


def experiment_folder(experiment: str) -> str:
    """The name of an experiment's folder among the artifacts."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in experiment)
    hidden = len(name) - len(name.lstrip("."))  # `..` would be another folder
    return ("_" * hidden + name[hidden:]).encode()[:LONGEST_FOLDER].decode(errors="ignore")


def local_path(location: str) -> Path | None:
    """The path of a location on this machine; None for another one (`s3://...`)."""
    address = urlsplit(location)
    if address.scheme == "file":
        return Path(url2pathname(address.path))
    return None if address.scheme else Path(location)


@dataclass(frozen=True)
class Move:
    """The outdated locations of a store that was moved or copied.

    `places` maps each old folder, as written in the store, to the new one; `counts` are the numbers of experiments,
    runs and so on with an old location; `absent` are the folders that exist only at the old place.
    """

    database: Path
    places: Mapping[str, str]
    counts: Mapping[str, int]
    absent: tuple[Path, ...]


def check_in_place(database: Path) -> None:
    """Check that the store in the file `database` records locations in its present folder.

    Raises `StoreError` for a store that was moved or copied: it would write into its old folder.
    """
    if (message := moved(database)) is not None:
        raise StoreError(message)


def moved(database: Path) -> str | None:
    """For a store that was moved or copied, a message with its recorded locations and what to do; else None."""
    old = _old_places(database)
    if not old:
        return None
    named = "" if database == paths.project_root() / "mlflow.db" else f" --store {shlex.quote(f'sqlite:///{database}')}"
    return (
        f"The tracking store {database} was moved or copied: it records that its artifacts are in "
        f"{', '.join(str(local_path(place)) for place in old)}, not in {artifact_root(database)}. "
        f"`harness store relocate{named}` corrects this."
    )


def recorded_artifacts(database: Path, experiment: str) -> Path | None:
    """The folder on this machine with the artifacts of an experiment; None if it does not exist yet or is not on this
    machine."""
    found = next((location for name, location, _ in _locations(database) if name == experiment), None)
    return None if found is None else local_path(found)


def plan(database: Path) -> Move:
    """What `relocate` would rewrite. Raises `StoreError`."""
    present = artifact_root(database)
    places: dict[str, str] = {}
    for place in _old_places(database):
        path = local_path(place)
        assert path is not None
        places |= {path.as_uri(): present.as_uri(), str(path): str(present)}
        places[place] = present.as_uri() if place.startswith("file:") else str(present)
    with explained(database), closing(opened(database)) as connection:
        counts = {what: sum(_count(connection, what, place) for place in places) for what in _COLUMNS}
        recorded = [
            location
            for table, column, _ in (_COLUMNS["runs"], _COLUMNS["models"])
            for (location,) in connection.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        ]
    absent = []
    for location in recorded:
        for old, new in places.items():
            if location.startswith(f"{old}/"):
                was, now = local_path(location), local_path(new + location[len(old) :])
                if was is not None and now is not None and was.exists() and not now.exists():
                    absent.append(was)
    return Move(database, places, {what: count for what, count in counts.items() if count}, tuple(absent))


def relocate(move: Move) -> Path:
    """Rewrite the recorded locations. Returns the path of a backup of the database, which stays beside it.

    Raises `RequestError` if artifacts exist only at the old place, and `StoreError`; then nothing is changed.
    """
    if move.absent:
        olds = dict.fromkeys(str(path) for place in move.places if (path := local_path(place)) is not None)
        present = artifact_root(move.database)
        commands = "\n".join(f"  cp -Rn {shlex.quote(old)}/. {shlex.quote(str(present))}/" for old in olds)
        raise RequestError(
            f"{len(move.absent)} artifact folders exist only at the old place ({move.absent[0]}, ...). Nothing was "
            f"changed. Copy them first:\n  mkdir -p {shlex.quote(str(present))}\n{commands}"
        )
    kept = move.database.with_name(f"{move.database.name}{BEFORE_RELOCATE}{time.strftime('%Y%m%d-%H%M%S')}")
    with explained(move.database), closing(opened(move.database)) as connection:
        with paths.atomic_path(kept) as temporary, closing(sqlite3.connect(temporary)) as copy:
            temporary.chmod(move.database.stat().st_mode)
            connection.backup(copy)
        connection.execute("BEGIN IMMEDIATE")
        for table, column, condition in _COLUMNS.values():
            for old, new in move.places.items():
                connection.execute(
                    f"UPDATE {table} SET {column} = ?3 || substr({column}, ?4) WHERE {_under(column)} {condition}",
                    (old, f"{old}/", new, len(old) + 1),
                )
        connection.execute("COMMIT")
    return kept


def _old_places(database: Path) -> list[str]:
    """The recorded locations that were this store's `mlruns/` before a move, as written in the store.

    An experiment may have any location that a user chose for it. A location is an old one if the harness chose it (the
    harness always puts artifacts beside the database), or if runs are recorded there and a database with this name is
    beside it (then this store is a copy). A location that MLflow chose for a program in another folder proves nothing:
    that folder need not even exist.
    """
    own = {root.resolve() for root in (artifact_root(database), artifact_root(database.resolve()))}
    found: dict[str, None] = {}
    for name, location, has_runs in _locations(database):
        path = local_path(location)
        if path is None or path.parent.name != ARTIFACTS or not path.is_absolute() or path.parent.resolve() in own:
            continue
        if any(root.exists() and path.parent.exists() and root.samefile(path.parent) for root in own):
            continue  # the same folder under another mount
        chosen_by_us = path.name == experiment_folder(name)
        other = path.parent.with_name(database.name)
        if chosen_by_us or (has_runs and other.exists()):
            found[location.rstrip("/").rpartition("/")[0]] = None
    return list(found)


def _locations(database: Path) -> list[tuple[str, str, bool]]:
    """Name and location of every experiment (also deleted ones), and whether it has runs; empty if there is no store
    yet."""
    if not database.is_file() or not database.stat().st_size:
        return []
    with explained(database), closing(opened(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return []
        return connection.execute(
            "SELECT name, artifact_location, EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = every.experiment_id)"
            " FROM experiments AS every ORDER BY experiment_id"
        ).fetchall()


def _count(connection: sqlite3.Connection, what: str, place: str) -> int:
    table, column, condition = _COLUMNS[what]
    statement = f"SELECT count(*) FROM {table} WHERE {_under(column)} {condition}"
    [count] = connection.execute(statement, (place, f"{place}/")).fetchone()
    return int(count)


def _under(column: str) -> str:
    """An SQL condition: a location equals a folder (first value) or is below it (second value: the folder with a /)."""
    return f"({column} = ?1 OR substr({column}, 1, length(?2)) = ?2)"
