"""Reads runs from MLflow's SQLite tables, read-only and without MLflow: four queries for any number of runs.

If a killed process has left an unfinished transaction, a copy is read in which it is rolled back.

The tables have had these columns for years, but MLflow does not promise them as an interface. So the schema's version
is checked first, and `reading.py` uses the client for an unknown one.
"""

from __future__ import annotations

import gc
import json
import math
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.records import RunRecord, RunState
from harness.tracking.preflight import ENDLESS, STEPS, budget, connected, database_size
from harness.tracking.selection import (
    CONTEXT_TAG,
    EPOCH_METRIC,
    FINGERPRINT_TAG,
    JOB_TAG,
    KIND_TAG,
    PARENT_TAG,
    SWEEP,
    Selection,
    Series,
    Texts,
    bounded,
    digest_parameters,
    in_order,
    lacks_digests,
    read_record,
)

KNOWN_SCHEMAS = frozenset({
    "dc11669786a5",  # MLflow 3.17
    "f4a9b2c7d1e6",  # MLflow 3.18
})  # fmt: skip
"""Versions of MLflow's schema (heads of its migrations) for which the queries below were tested."""

_BUSY_SECONDS = 30.0
_COPIES = 3
_TEXT, _TEXT_OF_BYTE = 2**24, 20
"""The limit for a result in characters: a constant, and characters per byte of the database (up to six in JSON)."""

_RUNS = """
SELECT r.run_uuid, r.name, r.experiment_id, e.name, r.status, r.start_time, r.end_time, r.artifact_uri
FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id
WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
"""
_TAGGED = "r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
_LISTED = "IN (SELECT value FROM json_each(?))"

_INPUTS = f"""
SELECT i.destination_id, t.value, d.digest
FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id JOIN input_tags t ON t.input_uuid = i.input_uuid
WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND t.name = ? AND i.destination_id {_LISTED}
"""


class UnknownSchema(Exception):  # never leaves the package: `reading.py` catches it
    """The store's schema has a version for which these queries were not tested."""


class SqliteReader:
    """A `Reader` of one database file. Each result shows one consistent state; no lock is held between two calls."""

    def __init__(self, file: Path) -> None:
        """Open `file` read-only.

        Raises:
            StoreError: it cannot be opened or is damaged.
            UnknownSchema: its version is not in `KNOWN_SCHEMAS`, or it is no MLflow store.
        """
        self._file = file
        with self._explained():
            self._connection = _read_only(file)
        try:
            versioned = self._query("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
            versions = [one for (one,) in self._query("SELECT version_num FROM alembic_version")] if versioned else []
            if len(versions) != 1 or versions[0] not in KNOWN_SCHEMAS:
                raise UnknownSchema(
                    f"The store has the schema {' '.join(versions) or 'of no version'}, not known here."
                )
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def experiments(self) -> dict[str, str]:
        rows = self._query("SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'")
        return {str(identity): bounded(str(name)) for identity, name in rows}

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        rows = self._query("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", (experiment_id,))
        return {str(key): str(value) for key, value in rows}

    def select(self, selection: Selection) -> list[RunRecord]:
        with _no_collection():
            self._query("BEGIN")  # runs and metrics of the same moment
            try:
                return self._select(selection)
            finally:
                self._connection.rollback()

    def _select(self, selection: Selection) -> list[RunRecord]:
        rows = self._query(*_statement(selection))
        identities = json.dumps([row[0] for row in rows])
        words, texts = Texts(), Texts(lines=True)
        parameters = self._texts("params", identities, words, words)
        tags = self._texts("tags", identities, words, texts)
        self._add_digests(parameters, tags, words)
        metrics, epochs = self._metrics(identities, words)
        found = (
            read_record(
                identity, name, experiment_id, words[experiment], status, start, end, artifacts,
                parameters.get(identity, {}), tags.get(identity, {}), metrics.get(identity, {}),
                epochs.get(identity, 0),
            )
            for identity, name, experiment_id, experiment, status, start, end, artifacts in rows
        )  # fmt: skip
        return in_order([run for run in found if run is not None])

    def _texts(self, table: str, identities: str, keys: Texts, values: Texts) -> dict[str, dict[str, str]]:
        """Keys and values by run. SQLite returns one JSON text per run twice as fast as a hundred rows."""

        def collect(pairs: list[tuple[str, str]]) -> dict[str, str]:
            return {keys[key]: values[value] for key, value in pairs}

        decode = json.JSONDecoder(object_pairs_hook=collect).decode
        rows = self._query(
            f"SELECT run_uuid, json_group_object(CAST(key AS TEXT), CAST(value AS TEXT)) FROM {table} "
            f"WHERE run_uuid {_LISTED} GROUP BY run_uuid",
            (identities,),
        )
        return {identity: decode(text) for identity, text in rows}

    def _add_digests(
        self, parameters: dict[str, dict[str, str]], tags: dict[str, dict[str, str]], words: Texts
    ) -> None:
        """Add the digest parameters that runs of earlier versions lack; see `selection.digest_parameters`."""
        lacking = [run for run, own in tags.items() if lacks_digests(own, parameters.get(run, {}))]
        if not lacking:
            return
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for run, context, digest in self._query(_INPUTS, (CONTEXT_TAG, json.dumps(lacking))):
            found[run][context] = words[digest]
        for run, digests in found.items():
            parameters.setdefault(run, {}).update(digest_parameters(digests))

    def _metrics(self, identities: str, words: Texts) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
        """The last value of each metric by run, and the number of epochs of each run."""
        found: defaultdict[str, dict[str, float]] = defaultdict(dict)
        epochs: dict[str, int] = {}
        for identity, key, value, is_nan, step in self._query(  # as rows: JSON would round the last digits
            f"SELECT run_uuid, key, value, is_nan, step FROM latest_metrics WHERE run_uuid {_LISTED}", (identities,)
        ):
            found[identity][words[key]] = math.nan if is_nan else value
            if key == EPOCH_METRIC:
                epochs[identity] = step
        return found, epochs

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        found: Series = {}
        for identity, key, step, value, is_nan in self._query(
            f"SELECT run_uuid, key, step, value, is_nan FROM metrics WHERE run_uuid {_LISTED} AND key {_LISTED} "
            "ORDER BY timestamp",
            (json.dumps(list(run_ids)), json.dumps(list(metrics))),
        ):
            if isinstance(value, (int, float)) and isinstance(step, int):  # `read_record` warns of malformed values
                found.setdefault(identity, {}).setdefault(key, {})[step] = math.nan if is_nan else float(value)
        return found

    def _query(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            try:
                return self._fetched(sql, tuple(values))
            except sqlite3.OperationalError as error:
                if not str(error).startswith("Could not decode"):
                    raise
                self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return self._fetched(sql, tuple(values))

    def _fetched(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """All rows, up to the size that the database can hold: in a damaged file many rows may share a page."""
        self._connection.set_progress_handler(budget(self._file), STEPS)
        rows, left = [], _TEXT + _TEXT_OF_BYTE * database_size(self._file)
        for row in self._connection.execute(sql, values):
            rows.append(row)
            for value in row:
                if type(value) is str or type(value) is bytes:
                    left -= len(value)
            if left < 0:
                raise StoreError(f"The store {self._file} is damaged: {ENDLESS}. Restore a copy.")
        return rows

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                raise StoreError(f"The store {self._file} is damaged: {ENDLESS}. Restore a copy.") from error
            raise StoreError(
                f"The store {self._file} cannot be read as an MLflow store ({error}). "
                "Name another with --store, or move this file away to begin a new one."
            ) from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch Python's garbage collector off. Records of thousands of runs are millions of objects without garbage;
    searching them again and again would take a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read_only(file: Path) -> sqlite3.Connection:
    """A connection that does not change the store. Raises as `connected`."""
    try:
        return connected(file, "ro", _BUSY_SECONDS)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
            raise
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        copy = _copied(file.resolve(), Path(folder))
        connection = connected(copy, "rw", _BUSY_SECONDS)  # SQLite rolls back the transaction of the killed process
        connection.execute("PRAGMA query_only = ON")
        return connection  # the file stays open after it is deleted


def _copied(file: Path, folder: Path) -> Path:
    """A consistent copy of a database and its journal: another process may roll back at the same time."""
    copy, journal = folder / file.name, file.with_name(f"{file.name}-journal")
    for _ in range(_COPIES):
        try:
            before = journal.stat()
            shutil.copyfile(journal, copy.with_name(journal.name))
            shutil.copyfile(file, copy)
            after = journal.stat()
        except FileNotFoundError:  # the journal was rolled back
            copy.with_name(journal.name).unlink(missing_ok=True)
            shutil.copyfile(file, copy)
            return copy
        if (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns):
            return copy
    raise StoreError(f"The store {file} is being repaired by another process. Try again when that is done.")


def _statement(selection: Selection) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, tuple[Any, ...]]] = []
    if selection.experiment_ids is not None:
        identities = json.dumps([int(identity) for identity in selection.experiment_ids])
        conditions.append((f"r.experiment_id {_LISTED}", (identities,)))
    if selection.parent_id is not None:
        conditions.append((_TAGGED, (PARENT_TAG, selection.parent_id)))
    if selection.job is not None:
        conditions.append((_TAGGED, (JOB_TAG, str(selection.job))))
    if selection.fingerprints is not None:
        listed = json.dumps(selection.fingerprints)
        conditions.append((f"r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value {_LISTED})",
                           (FINGERPRINT_TAG, listed)))  # fmt: skip
    if selection.sweeps_only:
        conditions.append((_TAGGED, (KIND_TAG, SWEEP)))
    if selection.run_ids is not None:
        conditions.append((f"r.run_uuid {_LISTED}", (json.dumps(selection.run_ids),)))
    if selection.running:
        conditions.append(("r.status = ?", (str(RunState.RUNNING),)))
    if selection.name is not None:
        conditions.append(("r.name = ?", (selection.name,)))
    if selection.prefix is not None:
        conditions.append(("substr(r.run_uuid, 1, ?) = ?", (len(selection.prefix), selection.prefix)))
    sql = _RUNS + "".join(f"AND {condition}\n" for condition, _ in conditions)
    values = [value for _, given in conditions for value in given]
    if selection.newest is not None:
        sql += "ORDER BY r.start_time DESC, r.run_uuid LIMIT ?"
        values.append(selection.newest)
    return sql, values
