"""`harness gc` on real stores: what belongs to no run, and what only looks so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import uuid
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from harness import paths
from harness.cli import main
from tests.commands.conftest import Filled
from tests.tracking.stores import record_model


def collected(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["gc", *arguments]) == 0
    return capsys.readouterr().out


def test_a_whole_store_has_nothing_to_give(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.run("stopped", state="KILLED", model=True)
    filled.run("running", state=None)
    before = filled.left()
    assert "Nothing to do" in collected(capsys)
    assert filled.left() == before


def test_what_was_deleted_in_the_ui_goes(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    kept = filled.run("kept", state="FAILED")
    before = filled.left()
    model = record_model(filled.client, kept, {"MLmodel": "x"})
    filled.client.delete_logged_model(model)
    filled.client.delete_run(filled.run("gone", model=True))
    said = collected(capsys, "--dry-run")
    assert "1 × deleted run, with artifacts and models" in said
    assert "1 × model that was deleted" in said
    assert "dry run" in said
    collected(capsys, "--yes")
    assert filled.left() == before


def test_what_mlflow_gc_leaves_goes(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes a run and its artifacts, and leaves its model."""
    before = filled.left()
    run_id = filled.run("gone", model=True)
    filled.client.delete_run(run_id)
    SqlAlchemyStore(f"sqlite:///{filled.root / 'mlflow.db'}", "unused")._hard_delete_run(run_id)
    shutil.rmtree(filled.folder(run_id) / "artifacts")
    said = collected(capsys, "--yes")
    assert "1 × model that was deleted or has lost its run" in said
    assert "1 × folder of a run or a model that the store does not have" in said
    assert filled.left() == before | {f"checkpoints/{run_id}.npz"}  # it may be of another store's run, which is said
    assert "checkpoints of runs that this store does not have (1)" in said
    assert filled.client.search_logged_models([filled.experiment]) == []


def test_deleted_experiments_go_with_their_runs(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.run("gone", model=True)
    filled.client.delete_experiment(filled.experiment)
    collected(capsys, "--yes")
    assert filled.left() == set()
    assert filled.client.get_experiment_by_name("study") is None


def test_only_folders_as_mlflow_makes_them_count(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    study = filled.root / "mlruns" / "study"
    odd = study / uuid.uuid4().hex
    mine = [study / "notes" / "a.txt", study / "models" / "mine" / "b.txt", odd / "data" / "c.txt", study / ("d" * 32)]
    for file in mine:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    orphans = [study / uuid.uuid4().hex, study / "models" / f"m-{uuid.uuid4().hex}"]
    for folder in orphans:
        (folder / "artifacts").mkdir(parents=True)
        (folder / "artifacts" / "file").write_text("of no run")
    collected(capsys, "--yes")
    assert all(file.exists() for file in mine)
    assert not any(folder.exists() for folder in orphans)


def test_a_store_beside_shares_the_folder(
    filled: Filled, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = filled.run("of the first", model=True, state="KILLED")
    (filled.root / "mlflow.db").rename(filled.root / "first.db")
    shutil.copyfile(empty_store, filled.root / "mlflow.db")
    before = filled.left()
    assert "Nothing to do" in collected(capsys)
    (filled.root / "first.db").rename(filled.root / "mlflow.db.before-relocate-20260101-000000")
    said = collected(capsys, "--yes")
    assert "2 × folder" in said
    assert "copies of the database from before" in said
    assert (filled.root / "mlflow.db.before-relocate-20260101-000000").exists()
    assert filled.left() == {one for one in before if run_id in one and one.startswith("checkpoints")}


def test_a_linked_folder_may_be_that_of_other_stores(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    orphan = filled.root.parent / "shared" / "study" / uuid.uuid4().hex / "artifacts"
    orphan.mkdir(parents=True)
    (filled.root / "mlruns").symlink_to(filled.root.parent / "shared")
    filled.client.delete_run(run_id := filled.run("gone"))
    said = collected(capsys, "--yes")
    assert "it is a link" in said
    assert orphan.exists()
    assert not filled.folder(run_id).exists()


def test_checkpoints_and_parts_that_nobody_needs_go(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    finished, stopped = filled.run("finished"), filled.run("stopped", state="KILLED")
    old, new = (paths.checkpoint_directory() / f".{stopped}.npz.{uuid.uuid4().hex}.part" for _ in range(2))
    own = filled.root / ".notes.part"
    for file in (old, new, own):
        file.write_text("half")
    for file in (old, own):
        os.utime(file, (time.time() - 100_000,) * 2)
    collected(capsys, "--yes")
    assert [paths.checkpoint_file(run_id).exists() for run_id in (finished, stopped)] == [False, True]
    assert [file.exists() for file in (old, new, own)] == [False, True, True]


def test_free_space_in_the_database_is_given_back(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    database = filled.root / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE filling AS SELECT zeroblob(3000000)")
        connection.execute("DROP TABLE filling")
    before = database.stat().st_size
    assert "1 × database with free space inside" in collected(capsys, "--yes")
    assert before - database.stat().st_size > 2_900_000
    assert "Nothing to do" in collected(capsys)


def test_a_project_that_was_moved_is_refused(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.client.delete_run(filled.run("gone"))
    copy = filled.root.parent / "copy"
    copy.mkdir()
    shutil.copyfile(filled.root / "mlflow.db", copy / "mlflow.db")
    before = filled.left()
    for command in (["gc", "--yes"], ["delete", "--failed", "--yes"]):
        assert main([*command, "--store", f"sqlite:///{copy / 'mlflow.db'}"]) == 1
        assert "harness store relocate" in capsys.readouterr().err
    assert filled.left() == before
