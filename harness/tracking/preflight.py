"""Checks of a local store before training starts: whether it can record a run. Takes milliseconds, without MLflow.

Nothing is written: the write lock is taken and released.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from harness.errors import StoreError
from harness.untrusted import SHARING, planted

FREE_MEGABYTES = 100
"""A run needs five for everything that it records; the rest is for logs, checkpoints and other runs."""
LOCK_SECONDS = 20.0
LONGEST_VALUE = 2**28
"""The largest value in a database, in bytes: 10,000 parameters of a run as one text are 60 MB at most."""
JOURNALS = ("-journal", "-wal", "-shm")
"""Suffixes of the files that SQLite creates beside a database."""
STEPS, STEPS_OF_BYTE = 2_000_000, 1
"""The limit for one query in steps of SQLite's virtual machine: a constant, and steps per byte of the database. Usual
are ten per row."""
_MADE_BY_MLFLOW = re.compile(
    r"CREATE (TABLE|INDEX|UNIQUE INDEX) |CREATE TRIGGER prevent_secrets_aad_mutation\s+BEFORE UPDATE ON secrets\s"
)
_SCHEMA = """
SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL
UNION ALL SELECT one.name || '.' || part.name, 'COMPUTED'
FROM sqlite_master AS one, pragma_table_xinfo(one.name) AS part
WHERE one.type = 'table' AND one.name != 'spans' AND part.hidden IN (2, 3)
"""
"""The schema of a database, and its computed columns (except that of MLflow's traces, which are not read here)."""
ENDLESS = "it gives out more than a file of its size can hold"
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""The magic number at the start of a journal; also at its end if it names a super-journal."""
MAKING_SECONDS = 10.0
CHECKED_MEGABYTES = 64
"""Databases up to this size are checked completely for damage (0.2 s); of a larger one only the first pages."""


def check_sqlite(database: Path, artifacts: Path) -> None:
    """Check that runs can be recorded in `database` (which need not exist yet) and in the folder `artifacts`.

    Raises `StoreError`: no write permission; a read-only or full disk; or the database is locked for too long, damaged,
    no database, or of another version of MLflow.
    """
    _check_place(database, database, "database")
    _check_place(database, database.parent, "folder")
    _check_space(database, database)
    check_artifacts(database, artifacts)
    if database.is_file() and database.stat().st_size:
        with explained(database), closing(opened(database)) as connection:  # the write lock: taken, and released
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        check_made(database)
        _check_sound(database, database.stat().st_ino)


def check_made(database: Path) -> None:
    """Check that `database` has all of MLflow's tables.

    Raises `StoreError` if a process (an earlier version of the harness, or MLflow) was killed while it created them.
    Another program may be creating them just now, so this waits for a few seconds.
    """
    deadline = time.monotonic() + MAKING_SECONDS
    while _is_half_made(database):
        if time.monotonic() > deadline:
            raise StoreError(
                f"The tracking store {database} is only half made: a process was killed while it made the tables. "
                "There is no run in it, and never was. Remove the file, and the next command makes a new store:\n"
                f"  rm {_typed(database)}"
            )
        time.sleep(0.1)


def _is_half_made(database: Path) -> bool:
    """Whether tables are missing and there is no experiment: MLflow makes the first experiment after the tables."""
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
    """Check that files can be written into the folder `artifacts` (which need not exist yet). Raises `StoreError` as
    `check_sqlite`."""
    _check_place(database, artifacts, "artifacts' folder")
    _check_space(database, artifacts)


def _check_place(database: Path, path: Path, what: str) -> None:
    """Check that `path`, or the folder in which it would be created, can be written; `what` is for messages."""
    found = next(place for place in (path, *path.parents) if place.exists() or place.is_symlink())
    problem = ""
    if found.is_symlink() and not found.exists():
        if not found.resolve().parent.is_dir() or found != path or what != "database":
            problem = "is a link to a place that is not there"
    elif found.is_dir() == (what == "database" and found == path):
        problem = "is a folder" if found.is_dir() else "is not a folder"
    elif not (found.is_dir() or found.is_file()):
        problem = "is no plain file"
    elif not os.access(found, os.W_OK):
        problem = "is read-only"
    if stranger := planted(path):
        raise StoreError(f"Nothing is written to the tracking store {database}: {stranger}. {SHARING}")
    if problem:
        raise StoreError(
            f"The tracking store {database} cannot be written: its {what} {found} {problem}. Give this user "
            "permission to write there (or mount it writable), or name another store with tracking.uri=sqlite:////PATH."
        )


def _check_space(database: Path, path: Path) -> None:
    folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free / 1e6
    if free < FREE_MEGABYTES:
        raise StoreError(
            f"The disk of the tracking store {database} is full: {free:.0f} MB are free, and a run needs "
            f"{FREE_MEGABYTES} MB. Free some space in {folder}, or name a store elsewhere with tracking.uri=sqlite:////PATH."
        )


@lru_cache
def _check_sound(database: Path, inode: int) -> None:
    """Check schema version and pages, once per process: recording runs does not change them."""
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
    """The schema versions that the installed MLflow knows, and the one that it uses.

    They are read from the text of its migrations: Alembic would import them, and with them MLflow, which takes seconds.
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
    """Check that opening `database` changes no other file.

    A killed process leaves a journal, from which SQLite rolls its transaction back. If the journal ends with the name
    of a super-journal (MLflow and the harness write none), SQLite deletes that file, wherever it is.
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
        except FileNotFoundError:  # there is none, or its writer has just deleted it
            continue
        if names_another:
            raise StoreError(
                f"The tracking store {database} is not opened: its journal {journal} names another file, which SQLite "
                "would delete. MLflow writes no such journal. Look at who made it; without the journal the store may "
                "be damaged."
            )


def opened(database: Path) -> sqlite3.Connection:
    """A connection to an existing file, without Python's implicit transactions. Raises as `connected`."""
    return connected(database, "rw", LOCK_SECONDS)


def connected(database: Path, mode: str, seconds: float) -> sqlite3.Connection:
    """A connection in SQLite's `mode` ("ro", "rw") to a store that has only tables, as MLflow makes it.

    Raises `StoreError` for anything that executes code of the file (views, triggers, virtual tables, computed columns),
    and as `check_journal`; and `sqlite3.Error`.
    """
    check_journal(database)
    address = f"file:{quote(str(database.absolute()))}?mode={mode}"
    within = budget(database)
    connection = sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.set_progress_handler(within, STEPS)
        for name, sql in connection.execute(_SCHEMA):
            if not _MADE_BY_MLFLOW.match(str(sql)):
                raise StoreError(
                    f"The tracking store {database} is not read: {str(name)!r:.100} in it is a view, a trigger, a "
                    "virtual table or a computed column, which is none of MLflow's."
                )
    except BaseException:
        connection.close()
        raise
    return connection


def database_size(database: Path) -> int:
    """Bytes of a database, including the files that SQLite keeps beside it."""
    files = (database, database.with_name(f"{database.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def budget(database: Path) -> Callable[[], bool]:
    """A progress handler that SQLite calls after every `STEPS` steps; it returns whether to abort the statement.

    In a damaged or malicious database pages can refer to each other, so that a small file has rows without end.
    """
    rounds = iter(range(1 + STEPS_OF_BYTE * database_size(database) // STEPS))
    return lambda: next(rounds, None) is None


@contextmanager
def explained(database: Path) -> Iterator[None]:
    """Translate SQLite's errors in the block into a `StoreError`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        raise StoreError(_in_words(database, name, str(error))) from error


def _typed(path: Path | str) -> str:
    """Quoted for a shell."""
    return shlex.quote(str(path))


def _in_words(database: Path, name: str, said: str) -> str:
    """The message for an error of SQLite, and what the user can do."""
    store = f"The tracking store {database}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"{store} has been locked by another process for {LOCK_SECONDS:.0f} seconds. Close the program that writes "
            f"to it (`fuser {_typed(database)}` or `lsof {_typed(database)}` names it), and try again."
        )
    if name.startswith("SQLITE_READONLY"):
        return f"{store} cannot be written: {said}. Mount its disk writable, or name another store with tracking.uri."
    if name == "SQLITE_INTERRUPT":
        return f"{store} is damaged: {ENDLESS}. Restore a copy."
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
