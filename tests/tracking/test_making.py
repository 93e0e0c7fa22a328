"""A new store appears whole or not at all, whatever its makers are killed over; what others left half made is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import StoreError
from harness.tracking import making, preflight
from harness.tracking.making import make_database
from harness.tracking.reading import read_runs
from harness.tracking.relocation import artifact_root
from harness.tracking.store import open_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("made") / "mlflow.db"
    make_database(database, artifact_root(database))
    return database


def half_made(folder: Path, statements: str) -> Path:
    """A database as a process leaves it that is killed in the middle of MLflow's migrations."""
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(statements)
    return database


HALVES = {
    "the first tables": "CREATE TABLE experiments (experiment_id INTEGER); CREATE TABLE runs (run_uuid TEXT)",
    "a table in the middle of its change": """
        CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('90e64c465722');
        CREATE TABLE experiments (experiment_id INTEGER); CREATE TABLE runs (run_uuid TEXT);
        CREATE TABLE _alembic_tmp_experiments (experiment_id INTEGER)""",
    "a version and nothing else": "CREATE TABLE alembic_version (version_num TEXT)",
    "no table": "CREATE TABLE gone (one TEXT); DROP TABLE gone",
}


@pytest.mark.parametrize("statements", HALVES.values(), ids=HALVES)
def test_what_an_earlier_version_left_half_made_is_told_with_the_way_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, statements: str
) -> None:
    monkeypatch.setattr(preflight, "MAKING_SECONDS", 0.2)
    database = half_made(project, statements)
    store = open_store(f"sqlite:///{database}")
    said = set()
    for use in (lambda: store.ensure_experiment("study"), lambda: store.client, lambda: read_runs(store)):
        with pytest.raises(StoreError) as caught:
            use()
        said.add(str(caught.value))
    [message] = said
    assert "only half made" in message
    command = message.splitlines()[-1].strip()
    assert command == f"rm {database}"
    subprocess.run(command, shell=True, check=True)
    assert store.ensure_experiment("study") == "1"


def test_a_store_with_an_experiment_is_never_called_half_made(project: Path) -> None:
    database = half_made(project, HALVES["a table in the middle of its change"])
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO experiments VALUES (0)")
    with pytest.raises(StoreError, match="made by an older MLflow"):
        open_store(f"sqlite:///{database}").ensure_experiment("study")


def test_the_database_of_another_program_is_left_as_it_is(project: Path) -> None:
    database = half_made(project, "CREATE TABLE songs (title TEXT)")
    before = database.read_bytes()
    with pytest.raises(StoreError, match="of another program: it has none of MLflow's tables, but songs"):
        open_store(f"sqlite:///{database}").ensure_experiment("study")
    assert database.read_bytes() == before


def test_an_empty_file_and_a_journal_without_its_database_do_not_stand_in_the_way(project: Path) -> None:
    database = project / "mlflow.db"
    database.touch()
    orphan = database.with_name("mlflow.db-journal")
    orphan.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    left = database.with_name(f".{database.name}.{'0' * 32}.part")
    left.touch()
    store = open_store(f"sqlite:///{database}")
    assert store.ensure_experiment("study") == "1"
    assert sorted(file.name for file in project.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns"]


def test_a_store_that_mlflow_makes_meanwhile_stays(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "mlflow.db"

    def meanwhile(temporary: Path, target: Path) -> None:
        shutil.copy(made, target)
        MlflowClient(f"sqlite:///{target}").create_experiment("theirs", artifact_location=str(tmp_path))
        take_new_place(temporary, target)

    take_new_place = making.take_new_place
    monkeypatch.setattr(making, "take_new_place", meanwhile)
    make_database(database, artifact_root(database))
    assert MlflowClient(f"sqlite:///{database}").get_experiment_by_name("theirs") is not None
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mlflow.db"]


def test_a_file_system_without_links_has_its_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    database = tmp_path / "mlflow.db"
    make_database(database, artifact_root(database))
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]
    assert open_store(f"sqlite:///{database}").ensure_experiment("study") == "1"


@pytest.mark.slow
def test_two_first_commands_at_once_make_one_store(project: Path) -> None:
    code = "from harness.tracking.store import open_store; print(open_store().ensure_experiment('one'))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate(timeout=120)[0] for process in both} == {"1\n"}
    assert sorted(file.name for file in project.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns"]
