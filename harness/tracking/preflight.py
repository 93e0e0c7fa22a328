"""Whether a local store can take a run, found out before training starts, in milliseconds and without MLflow.

Nothing is written: the lock of a writer is taken and given back.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from harness.errors import StoreError

FREE_MEGABYTES = 100
"""A run takes five with everything that it records; the rest is for the log, the checkpoint and the others."""
LOCK_SECONDS = 20.0
LONGEST_VALUE = 2**28
"""Bytes of one value in a database: 10,000 parameters of a run as one text are 60 MB at most."""
JOURNALS = ("-journal", "-wal", "-shm")
"""What SQLite puts beside a database."""
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""A journal begins with it, and ends with it where it names a super-journal."""
MAKING_SECONDS = 10.0
CHECKED_MEGABYTES = 64
"""Databases up to this size are read through for damage: a fifth of a second. Of a larger one the first pages."""


def check_sqlite(database: Path, artifacts: Path) -> None:
    """Make sure that runs can be recorded in `database` (which need not exist yet) and in the folder `artifacts`.

    Raises `StoreError`: no right to write, a read-only or full disk, a database that is locked for long, damaged, none
    at all, or of another version of MLflow.
    """
    _check_place(database, database, "database")
    _check_place(database, database.parent, "folder")
    _check_space(database, database)
    check_artifacts(database, artifacts)
    if database.is_file() and database.stat().st_size:
        _check_lock(database)
        check_made(database)
        _check_sound(database, database.stat().st_ino)


def check_made(database: Path) -> None:
    """Make sure that MLflow's tables in `database` were made to the end.

    Raises `StoreError` for what is left where a process was killed as it made them (an earlier version of the harness,
    or MLflow). Another program may be at it just now: it is given a few seconds.
    """
    deadline = time.monotonic() + MAKING_SECONDS
    while _is_half_made(database):
        if time.monotonic() > deadline:
            raise StoreError(
                f"The tracking store {database} is only half made: a process was killed while it made the tables. "
                "There is no run in it, and never was. Take the file away, and the next command makes a new store:\n"
                f"  rm {_typed(database)}"
            )
        time.sleep(0.1)


def _is_half_made(database: Path) -> bool:
    """Whether tables are missing and there is no experiment: MLflow makes the first one when the tables are ready."""
    _, head = _migrations()
    with explained(database), closing(opened(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not tables & {"experiments", "_alembic_tmp_experiments", "alembic_version"}:
            raise StoreError(
                f"The tracking store {database} is the database of another program: it has none of MLflow's tables, "
                f"but {', '.join(sorted(tables)[:3])}. Name another file with tracking.uri=sqlite:////PATH; "
                f"or, to have both in one file: mlflow db upgrade {_typed(f'sqlite:///{database}')}"
            )
        if "alembic_version" in tables and (head,) in connection.execute("SELECT version_num FROM alembic_version"):
            return False
        return not any(
            connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
            for name in ("experiments", "_alembic_tmp_experiments", "runs")
            if name in tables
        )


def check_artifacts(database: Path, artifacts: Path) -> None:
    """Make sure that files can be written into the folder `artifacts` (which need not exist yet). Raises `StoreError`
    as `check_sqlite`."""
    _check_place(database, artifacts, "artifacts' folder")
    _check_space(database, artifacts)


def _check_place(database: Path, path: Path, what: str) -> None:
    """Whether `path`, or what would have to be made for it, can be written; `what` says what it is."""
    found = next(place for place in (path, *path.parents) if place.exists() or place.is_symlink())
    problem = ""
    if found.is_symlink() and not found.exists():
        if not found.resolve().parent.is_dir() or found != path or what != "database":
            problem = "is a link to a place that is not there"
    elif found.is_dir() == (what == "database" and found == path):
        problem = "is a folder" if found.is_dir() else "is not a folder"
    elif not os.access(found, os.W_OK):
        problem = "is read-only"
    if problem:
        raise StoreError(
            f"The tracking store {database} cannot be written: its {what} {found} {problem}. Give this user the "
            "right to write there (or mount it writable), or name another store with tracking.uri=sqlite:////PATH."
        )


def _check_space(database: Path, path: Path) -> None:
    folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free / 1e6
    if free < FREE_MEGABYTES:
        raise StoreError(
            f"The disk of the tracking store {database} is full: {free:.0f} MB are free, and a run wants "
            f"{FREE_MEGABYTES} MB. Make room in {folder}, or name a store elsewhere with tracking.uri=sqlite:////PATH."
        )


def _check_lock(database: Path) -> None:
    """Take the lock of a writer, and give it back."""
    with explained(database), closing(opened(database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


@lru_cache
def _check_sound(database: Path, inode: int) -> None:
    """Version and pages, once a process: they do not change while runs are made."""
    with explained(database), closing(opened(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if database.stat().st_size <= CHECKED_MEGABYTES * 1e6:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(found.removeprefix("*** in database main ***").split()))
        if "alembic_version" in tables:
            _check_version(
                database, {found for (found,) in connection.execute("SELECT version_num FROM alembic_version")}
            )


def _check_version(database: Path, found: set[str]) -> None:
    known, head = _migrations()
    if found == {head} or not found:
        return
    here, schema = f"MLflow {version('mlflow')}", " ".join(sorted(found))
    if found <= known:
        raise StoreError(
            f"The tracking store {database} was made by an older MLflow (schema {schema}; {here} needs {head}). Make a "
            f"copy of the file first, then bring it up to date, which cannot be undone:\n"
            f"  cp {_typed(database)} {_typed(f'{database}.{schema}')}\n"
            f"  mlflow db upgrade {_typed(f'sqlite:///{database}')}"
        )
    raise StoreError(
        f"The tracking store {database} was migrated by another, newer MLflow (its schema {schema} is not known to "
        f"{here}), and there is no way back. Use that version of MLflow, or a copy of the file from before, or name "
        "another store with tracking.uri=sqlite:////PATH."
    )


@lru_cache
def _migrations() -> tuple[frozenset[str], str]:
    """Every schema that the installed MLflow knows, and the one that it uses.

    Read from the text of its migrations: Alembic would import them, and with them MLflow, which takes seconds.
    """
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    own: set[str] = set()
    earlier: set[str] = set()
    for file in (Path(package.origin).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        for name, value in re.findall(r"^(revision|down_revision) = (.+)$", file.read_text(), flags=re.MULTILINE):
            (own if name == "revision" else earlier).update(re.findall(r"\w{12}", value))
    (head,) = own - earlier
    return frozenset(own), head


def check_journal(database: Path) -> None:
    """Make sure that opening `database` touches no other file.

    A process that was killed leaves a journal, from which SQLite undoes what it was writing. Where the journal ends in
    the name of a super-journal (MLflow and the harness write none), SQLite deletes that file, wherever it is.
    Raises `StoreError` for such a journal, and for links in place of SQLite's own files.
    """
    for place in {database.absolute(), database.resolve()}:
        for end in JOURNALS:
            beside = place.with_name(place.name + end)
            if beside.is_symlink() or (beside.exists() and not beside.is_file()):
                raise StoreError(f"The tracking store {database} is not opened: {beside} is no plain file. Look at it.")
        journal = place.with_name(f"{place.name}-journal")
        try:
            with journal.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - len(JOURNAL_MAGIC)))
                names_another = file.read() == JOURNAL_MAGIC
        except FileNotFoundError:  # there is none, or its writer has just taken it away
            continue
        if names_another:
            raise StoreError(
                f"The tracking store {database} is not opened: its journal {journal} names another file, which SQLite "
                "would delete. MLflow writes no such journal. Look at who made it; without the journal the store may "
                "be damaged."
            )


def opened(database: Path) -> sqlite3.Connection:
    """A connection to a file that is there, without transactions of Python's own. Raises as `connected`."""
    return connected(database, "rw", LOCK_SECONDS)


def connected(database: Path, mode: str, seconds: float) -> sqlite3.Connection:
    """A connection in SQLite's `mode` ("ro", "rw") to a store that consists of tables, as MLflow makes it.

    Raises `StoreError` for views, which may have no end, and for virtual tables, as `check_journal`; and
    `sqlite3.Error`.
    """
    check_journal(database)
    address = f"file:{quote(str(database.absolute()))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"
        ).fetchone()
        if found is not None:
            raise StoreError(
                f"The tracking store {database} is not read: it has a view or a virtual table, {found[0]!r}, which is "
                "none of MLflow's."
            )
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def explained(database: Path) -> Iterator[None]:
    """What SQLite raises in the block becomes a `StoreError` in words."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        raise StoreError(_in_words(database, name, str(error))) from error


def _typed(path: Path | str) -> str:
    """As a shell wants it."""
    return shlex.quote(str(path))


def _in_words(database: Path, name: str, said: str) -> str:
    """What SQLite means by its error, and what to do."""
    store = f"The tracking store {database}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"{store} has been locked by another process for {LOCK_SECONDS:.0f} seconds. Close the program that writes "
            f"to it (`fuser {_typed(database)}` or `lsof {_typed(database)}` names it), and try again."
        )
    if name.startswith("SQLITE_READONLY"):
        return f"{store} cannot be written: {said}. Mount its disk writable, or name another store with tracking.uri."
    if name.startswith("SQLITE_NOTADB"):
        return (
            f"{store} cannot be used: the file is not a database. Nothing was changed. If it should be one, restore a "
            "copy; else move it away, or name another store with tracking.uri=sqlite:////PATH."
        )
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return f"{store} cannot be used: {said}. Look at its disk and at the rights on its folder."
    return (
        f"{store} is damaged ({said}). Nothing was changed. Restore a copy, or save what can be read into a new file, "
        f"and put that in its place:\n  sqlite3 {_typed(database)} .recover | sqlite3 recovered.db"
    )
