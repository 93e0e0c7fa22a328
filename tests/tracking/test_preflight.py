"""A local store that cannot take a run is found out beforehand: one message for each fault, and nothing is written."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.tracking import preflight
from harness.tracking.preflight import check_sqlite
from harness.tracking.relocation import artifact_root
from harness.tracking.store import open_store

OLDER, UNKNOWN = "0a8213491aaa", "ffffffffffff"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the installed MLflow."""
    database = tmp_path_factory.mktemp("made") / "mlflow.db"
    open_store(f"sqlite:///{database}").ensure_experiment("study")
    return database


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copy(made, tmp_path / "mlflow.db"))


def refusal(database: Path) -> str:
    """What is said of the store, which is left as it was."""
    before = {file: file.read_bytes() for file in database.parent.rglob("*") if file.is_file()}
    with pytest.raises(StoreError) as caught:
        check_sqlite(database, artifact_root(database))
    assert {file: file.read_bytes() for file in database.parent.rglob("*") if file.is_file()} == before
    assert str(database) in str(caught.value)
    assert caught.value.exit_code == 1
    return str(caught.value)


def with_schema(database: Path, schema: str) -> Path:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        connection.commit()
    return database


def test_a_good_store_and_one_that_is_yet_to_be_made_are_let_through(database: Path, tmp_path: Path) -> None:
    check_sqlite(database, artifact_root(database))
    fresh = tmp_path / "new" / "mlflow.db"
    check_sqlite(fresh, artifact_root(fresh))
    assert not fresh.parent.exists()


def test_it_takes_neither_mlflow_nor_long(made: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from harness.tracking.preflight import check_sqlite
started = time.perf_counter()
check_sqlite(Path({str(made)!r}), Path({str(made.parent / "mlruns")!r}))
assert time.perf_counter() - started < 1
assert not {{"mlflow", "tensorflow", "alembic", "sqlalchemy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are notes")
    assert "the file is not a database. Nothing was changed." in refusal(tmp_path / "mlflow.db")


def test_damaged_bytes_are_found_with_a_way_to_save_the_rest(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8192:20480] = b"\xa5" * (20480 - 8192)
    database.write_bytes(content)
    said = refusal(database)
    assert re.search(r"is damaged \(.+\)\. Nothing was changed\. Restore a copy", said)
    assert f"sqlite3 {database} .recover" in said


def test_a_store_that_lost_its_end_is_damaged(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:-8192])
    assert "is damaged" in refusal(database)


def test_an_older_schema_is_told_how_to_be_brought_up_to_date_after_a_copy(database: Path) -> None:
    said = refusal(with_schema(database, OLDER))
    assert f"was made by an older MLflow (schema {OLDER};" in said
    copy, upgrade = said.splitlines()[1:]
    assert copy == f"  cp {database} {database}.{OLDER}"
    assert upgrade == f"  mlflow db upgrade sqlite:///{database}"


def test_an_unknown_schema_is_one_of_another_mlflow_with_no_way_back(database: Path) -> None:
    assert f"newer MLflow (its schema {UNKNOWN} is not known" in refusal(with_schema(database, UNKNOWN))


def test_the_schema_in_use_is_the_one_that_mlflow_itself_makes(made: Path) -> None:
    with closing(sqlite3.connect(made)) as connection:
        [(schema,)] = connection.execute("SELECT version_num FROM alembic_version")
    known, head = preflight._migrations()
    assert schema == head
    assert len(known) > 50


def test_a_database_that_is_locked_for_long_is_told_apart(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LOCK_SECONDS", 0.2)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "has been locked by another process" in refusal(database)
        other.execute("ROLLBACK")
    check_sqlite(database, artifact_root(database))


def test_too_little_free_disk_is_said_in_megabytes(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FREE_MEGABYTES", 10**9)
    assert re.search(r"is full: \d+ MB are free, and a run needs 1000000000 MB\. Free some space in", refusal(database))
