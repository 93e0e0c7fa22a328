"""Disk usage of a SQLite store: the files of its runs, and files that belong to no run (garbage).

A folder counts as that of a run or model only if its name is the id, and if it is, without links, below `mlruns/`
beside the database, or below the experiment's recorded location if the user has named that place
(`allowed_locations.py`).
Nothing else is measured, and nothing else is ever deleted.
"""

from __future__ import annotations

import glob
import os
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import paths
from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.allowed_locations import artifact_path
from harness.tracking.preflight import explained, opened
from harness.tracking.relocation import BEFORE_RELOCATE, artifact_root, local_path

RUN_ID = re.compile(r"[0-9a-f]{32}")
MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
"""The temporary file that `paths.atomic_path` leaves if its process was killed."""
PART_SECONDS = 24 * 3600.0
"""No file takes so many seconds to write: the writer of an older temporary file is dead."""
WORTH_COMPACTING = 1_000_000
"""Bytes of free pages from which a database is compacted; fewer are left for the next runs."""
_UNITS = {1: "B", 10**3: "kB", 10**6: "MB", 10**9: "GB"}
_DELETED = "deleted"
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class _Run:
    location: str
    state: str
    deleted: bool


@dataclass(frozen=True)
class _Model:
    location: str
    run_id: str | None
    deleted: bool


@dataclass(frozen=True)
class Inventory:
    """The recorded locations of a SQLite store at one moment, including runs that are only marked as deleted.

    `registered` maps a run's id to the version of a registered model that comes from it, `places` each folder in which
    artifacts may be to the same without links.
    """

    database: Path
    runs: Mapping[str, _Run]
    models: Mapping[str, _Model]
    registered: Mapping[str, str]
    places: Mapping[Path, Path]
    deleted_experiments: tuple[str, ...]
    free: int

    @cached_property
    def models_of(self) -> Mapping[str, list[str]]:
        """The ids of the logged models by run id."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for identity, model in self.models.items():
            if model.run_id is not None:
                found[model.run_id].append(identity)
        return found

    def of_run(self, run_id: str) -> list[Path]:
        """A run's files: the folders of its artifacts and of its models, and its checkpoint."""
        folders = [self.run_folder(run_id), *map(self.model_folder, self.models_of.get(run_id, ()))]
        checkpoint = paths.checkpoint_file(run_id)
        return [path for path in (*folders, checkpoint) if path is not None and path.exists()]

    def size(self, run_id: str) -> int:
        """The size of a run's files, in bytes."""
        return sum(map(size_of, self.of_run(run_id)))

    def run_folder(self, run_id: str) -> Path | None:
        """The folder of a run's artifacts; None if it must not be touched (see the module's docstring)."""
        return self._own_folder(self.runs[run_id].location, run_id) if run_id in self.runs else None

    def model_folder(self, model_id: str) -> Path | None:
        """The folder of a logged model; None if it must not be touched."""
        return self._own_folder(self.models[model_id].location, model_id)

    def _own_folder(self, location: str, identity: str) -> Path | None:
        path = local_path(location)
        if path is None or not (RUN_ID.fullmatch(identity) or MODEL_ID.fullmatch(identity)):
            return None
        folder = path.parent if path.name == "artifacts" else path
        if folder.name != identity:
            return None
        above = [(place, resolved) for place, resolved in self.places.items() if place in folder.parents]
        inside = any(folder.resolve() == resolved / folder.relative_to(place) for place, resolved in above)
        return folder if inside else None


@dataclass(frozen=True)
class Garbage:
    """What belongs to no run: ids, files and folders. `compact`: the database has much free space inside.

    `found` has a phrase (singular) for each kind, with the number and the bytes; `remarks` say what is not deleted.
    """

    runs: tuple[str, ...]
    models: tuple[str, ...]
    experiments: tuple[str, ...]
    paths: tuple[Path, ...]
    compact: bool
    found: Mapping[str, tuple[int, int]]
    remarks: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.found.values())


def take_inventory(database: Path) -> Inventory:
    """Read the inventory of a store. Raises `StoreError`."""
    with explained(database), closing(opened(database)) as connection:
        connection.execute("BEGIN")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        runs = {
            identity: _Run(location or "", state, stage == _DELETED)
            for identity, location, state, stage in connection.execute(
                "SELECT run_uuid, artifact_uri, status, lifecycle_stage FROM runs"
            )
        }
        experiments = connection.execute(
            "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
        ).fetchall()
        models: dict[str, _Model] = {}
        if "logged_models" in tables:
            models = {
                identity: _Model(location, run_id, stage == _DELETED)
                for identity, location, run_id, stage in connection.execute(
                    "SELECT model_id, artifact_location, source_run_id, lifecycle_stage FROM logged_models"
                )
            }
        [free], [page] = (connection.execute(f"PRAGMA {of}").fetchone() for of in ("freelist_count", "page_size"))
        registered = dict(_registered(connection, models))
    recorded = (_named_place(database, location) for _, location, _ in experiments if location)
    places = {place: place.resolve() for place in (artifact_root(database), *recorded) if place is not None}
    gone = tuple(str(identity) for identity, _, stage in experiments if stage == _DELETED)
    return Inventory(database, runs, models, registered, places, gone, free * page)


def _named_place(database: Path, location: str) -> Path | None:
    """The folder at `location`; None if it is not on this machine, or if only the store (not the user) names it."""
    try:
        return artifact_path(f"sqlite:///{database}", database, location)
    except StoreError:
        return None


def _registered(connection: sqlite3.Connection, models: Mapping[str, _Model]) -> Iterator[tuple[str, str]]:
    """Versions of registered models, as text, by the id of the run that the model comes from."""
    for name, version, run_id, source in connection.execute(
        "SELECT name, version, run_id, source FROM model_versions WHERE current_stage != 'Deleted_Internal'"
    ):
        named = f"{name}, version {version}"
        if run_id:
            yield run_id, named
        found = MODEL_ID.search(source or "")
        if found and (model := models.get(found[0])) is not None and model.run_id:
            yield model.run_id, named


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's content. Links are not followed; files deleted meanwhile count as 0."""
    files, total = [path], 0
    if path.is_dir() and not path.is_symlink():
        files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in files:
        with suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


def disk_usage(database: Path) -> dict[str, int]:
    """The size of a store in bytes: its `artifacts` (models included), its `database`, and its `checkpoints`."""
    files = [database.with_name(database.name + end) for end in ("", "-journal", "-wal", "-shm")]
    root, inventory = artifact_root(database), take_inventory(database)
    folders = [*map(inventory.run_folder, inventory.runs), *map(inventory.model_folder, inventory.models)]
    elsewhere = [folder for folder in folders if folder is not None and root not in folder.parents]
    return {
        "artifacts": sizes([root.resolve(), *elsewhere]),
        "database": sizes(files),
        "checkpoints": size_of(paths.checkpoint_directory()),
    }


def find_garbage(database: Path) -> Garbage:
    """Find what belongs to no run of a store.

    - Runs and experiments that were deleted in MLflow, with all their files.
    - Models that were deleted there, or whose run no longer exists.
    - Folders of runs and models that are in no database of this folder.
    - Checkpoints of finished runs, and temporary files whose writers were killed.

    A registered model and its run are never garbage. Raises `StoreError`.
    """
    listed = list(_folders(artifact_root(database)))  # before the ids: a run is recorded before it has a folder
    inventory = take_inventory(database)
    known = inventory.runs.keys() | inventory.models.keys() | _ids_beside(database)
    gone = [run_id for run_id, run in inventory.runs.items() if run.deleted]
    runs = tuple(run_id for run_id in gone if run_id not in inventory.registered)
    models = tuple(
        identity
        for identity, model in inventory.models.items()
        if model.run_id not in inventory.registered
        and model.run_id not in runs
        and (model.deleted or (model.run_id is not None and model.run_id not in inventory.runs))
    )
    orphans = [folder for folder in listed if folder.name not in known]
    finished, unknown = _checkpoints(inventory)
    experiments = inventory.deleted_experiments if len(runs) == len(gone) else ()
    parts = list(_parts(database))
    model_folders = [folder for folder in map(inventory.model_folder, models) if folder is not None]
    compact = inventory.free >= WORTH_COMPACTING
    found = {
        "deleted run, with artifacts and models": (len(runs), sum(map(inventory.size, runs))),
        "model that was deleted or has lost its run": (len(models), sizes(model_folders)),
        "deleted experiment": (len(experiments), 0),
        "folder of a run or a model that the store does not have": (len(orphans), sizes(orphans)),
        "checkpoint of a finished run": (len(finished), sizes(finished)),
        "part of a file whose writer was killed": (len(parts), sizes(parts)),
        "database with free space inside": (int(compact), inventory.free * compact),
    }
    remarks = tuple(_remarks(inventory, len(gone) - len(runs), unknown))
    found = {what: figures for what, figures in found.items() if figures[0]}
    return Garbage(runs, models, experiments, (*orphans, *finished, *parts), compact, found, remarks)


def _folders(root: Path) -> Iterator[Path]:
    """Folders below `mlruns/` that look like those that MLflow makes for a run or a model. Links are not followed:
    other stores may use their targets."""
    for experiment in _real_folders(root):
        for folder in _real_folders(experiment):
            candidates = [folder] if RUN_ID.fullmatch(folder.name) else []
            if folder.name == "models":
                candidates = [one for one in _real_folders(folder) if MODEL_ID.fullmatch(one.name)]
            yield from (one for one in candidates if {entry.name for entry in one.iterdir()} <= {"artifacts"})


def _real_folders(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _ids_beside(database: Path) -> set[str]:
    """The ids of runs and models in other databases of the same folder (other stores, or copies of this one), which
    share `mlruns/`."""
    found: set[str] = set()
    copies = _copies(database)
    for file in artifact_root(database).parent.iterdir():
        if not file.is_file() or file.samefile(database) or file in copies:
            continue
        with file.open("rb") as content:
            if content.read(len(_MAGIC)) != _MAGIC:
                continue
        with explained(file), closing(opened(file)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table, column in (("runs", "run_uuid"), ("logged_models", "model_id")):
                if table in tables:
                    found |= {identity for (identity,) in connection.execute(f"SELECT {column} FROM {table}")}
    return found


def _checkpoints(inventory: Inventory) -> tuple[list[Path], list[Path]]:
    """The checkpoints of finished runs, and those of runs that are not in the store."""
    files = sorted(paths.checkpoint_directory().glob("*.npz"))
    files = [file for file in files if RUN_ID.fullmatch(file.stem)]
    done = {identity for identity, run in inventory.runs.items() if run.state == RunState.FINISHED and not run.deleted}
    finished = [file for file in files if file.stem in done]
    return finished, [file for file in files if file.stem not in inventory.runs]


def _parts(database: Path) -> Iterator[Path]:
    before = time.time() - PART_SECONDS
    for folder in dict.fromkeys((database.resolve().parent, paths.checkpoint_directory())):
        for file in folder.glob(".*.part"):
            if PART.fullmatch(file.name) and file.is_file() and file.lstat().st_mtime < before:
                yield file


def _remarks(inventory: Inventory, registered: int, unknown: Collection[Path]) -> Iterator[str]:
    database = inventory.database
    if registered:
        yield f"deleted runs whose models are registered ({registered}): delete those versions first"
    if unknown:
        yield f"checkpoints of runs that this store does not have ({len(unknown)}): they may be those of another store"
    if artifact_root(database).is_symlink():
        yield f"whatever the store does not know in {artifact_root(database)}: it is a link, others may use it too"
    if copies := _copies(database):
        yield f"copies of the database from before `harness store relocate` ({shown_size(sizes(copies))})"


def _copies(database: Path) -> list[Path]:
    """The backups that `harness store relocate` has made; the user may delete them."""
    return sorted(database.parent.glob(f"{glob.escape(database.name)}{BEFORE_RELOCATE}*"))


def sizes(found: Iterable[Path]) -> int:
    """The total bytes of files and folders."""
    return sum(map(size_of, found))


def shown_size(size: float) -> str:
    """A number of bytes for people: 812 kB, 4.4 MB."""
    unit = next((unit for unit in _UNITS if size < 999.5 * unit), max(_UNITS))
    value = size / unit
    return f"{value:.0f} {_UNITS[unit]}" if value >= 99.5 or unit == 1 else f"{value:.1f} {_UNITS[unit]}"
