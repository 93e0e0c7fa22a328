"""A store that was moved or copied is noticed before anything is written; relocating rewrites what it records."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from harness.cli import main
from harness.errors import OutsideStore, RequestError, StoreError
from harness.tracking.models import downloaded, find_trained, model_folder, run_artifact
from harness.tracking.pending_writes import Metrics, Text
from harness.tracking.registry import register_model
from harness.tracking.relocation import experiment_folder, moved, plan, relocate
from harness.tracking.shared_writes import attach
from harness.tracking.spool import Origin, Spool, find_spools
from harness.tracking.store import Store, open_store
from tests.tracking.stores import record, record_model

NAMES = ("a study/of mine", "Größe", "x" * 300)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with experiments of several names, each with a run, its artifact, its model and a version of that."""
    root = tmp_path_factory.mktemp("made") / "at home 1"
    root.mkdir()
    store = opened(root)
    client = store.client
    for number, name in enumerate(NAMES):
        run = record(client, store.ensure_experiment(name), f"run {number}", started=1000 + number)
        client.log_text(run, "given: 1", "config/config.yaml")
        record_model(client, run, {"MLmodel": "flavors: {}", "data/weights": "1 2 3"})
        register_model(store, find_trained(store, run), f"kept{number}", "champion")
    # As MLflow's own functions record them: a version of plain files of a run, and where a trace lies.
    place = client.get_run(run).info.artifact_uri
    client.create_model_version("kept2", f"{place}/config", run_id=run)
    with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute(
            "INSERT INTO trace_tags (key, value, request_id) VALUES ('mlflow.artifactLocation', ?, 'tr-1')", (place,)
        )
    return root


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A copy of it, and the original, which must be the same in the end."""
    before = contents(original)
    # MLflow keeps a run's place by its id as long as a process lives: of two stores with one run, the first one's.
    utils._artifact_repos_cache.clear()
    copied = tmp_path / "copied"
    shutil.copytree(original, copied)
    yield copied, original
    assert contents(original) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"}


def opened(root: Path) -> Store:
    return open_store(f"sqlite:///{root / 'mlflow.db'}")


def recorded(database: Path) -> list[str]:
    """Every location that the database records, wherever it does."""
    found = []
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                found += [value for value in row if isinstance(value, str) and "/mlruns" in value]
    return sorted(found)


def test_a_copy_is_noticed_by_whatever_would_write_and_one_line_says_what_to_run(
    place: tuple[Path, Path], project: Path
) -> None:
    copied, original = place
    store = opened(copied)
    run = find_trained(store, "run 0")
    for write in (
        lambda: store.ensure_experiment(NAMES[0]),
        lambda: store.ensure_experiment("another"),
        lambda: attach(store, run.run_id, original),
        lambda: register_model(store, run, "kept0", "other"),
    ):
        with pytest.raises(StoreError) as caught:
            write()
        [line] = str(caught.value).splitlines()
        assert f"{original / 'mlruns'}, not in {copied / 'mlruns'}" in line
        assert f"`harness store relocate --store sqlite:///{copied / 'mlflow.db'}`" in line


def test_relocating_makes_everything_readable_where_it_lies_and_a_copy_of_the_database_stays(
    place: tuple[Path, Path], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied, original = place
    before = (copied / "mlflow.db").read_bytes()
    uri = f"sqlite:///{copied / 'mlflow.db'}"
    assert main(["store", "relocate", "--dry-run", "--store", uri]) == 0
    assert "4 experiments, 3 runs, 3 models, 4 versions, 1 source, 1 trace" in capsys.readouterr().out
    assert (copied / "mlflow.db").read_bytes() == before
    assert main(["store", "relocate", "--store", uri]) == 0
    [kept] = copied.glob("mlflow.db.before-relocate-*")
    assert str(kept) in capsys.readouterr().out
    assert recorded(kept) == recorded(original / "mlflow.db")
    places = recorded(copied / "mlflow.db")
    assert len(places) == len(recorded(original / "mlflow.db")) > 12
    assert all(str(copied / "mlruns") in one for one in places)
    store = opened(copied)
    for number, name in enumerate(NAMES):
        run = find_trained(store, f"run {number}")
        with run_artifact(store, run, "config/config.yaml") as file, model_folder(store, run) as model:
            assert file.is_relative_to(copied)
            assert (model / "data" / "weights").read_text() == "1 2 3"
            assert model.is_relative_to(copied)
        with downloaded(store, store.client.get_model_version_download_uri(f"kept{number}", "1")) as version:
            assert (version / "MLmodel").is_file()
            assert version.is_relative_to(copied)
        attach(store, run.run_id, copied / "mlruns" / experiment_folder(name) / run.run_id / "artifacts" / "config")
    assert main(["store", "relocate", "--store", uri]) == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_a_project_that_was_moved_says_so_until_it_is_relocated(place: tuple[Path, Path], tmp_path: Path) -> None:
    first, _ = place
    relocate(plan(first / "mlflow.db"))
    second = tmp_path / "moved" / "far ü"
    second.parent.mkdir()
    first.rename(second)
    store = opened(second)
    run = find_trained(store, "run 1")
    for read in (lambda: run_artifact(store, run, "config/config.yaml"), lambda: model_folder(store, run)):
        with pytest.raises(StoreError, match=r"was moved or copied: .*relocate"), read():
            pass
    assert not first.exists()
    relocate(plan(second / "mlflow.db"))
    with run_artifact(store, run, "config/config.yaml") as file:
        assert file.read_text() == "given: 1"


def test_a_copy_of_the_database_alone_is_told_what_to_copy(place: tuple[Path, Path]) -> None:
    copied, original = place
    shutil.rmtree(copied / "mlruns")
    before = (copied / "mlflow.db").read_bytes()
    with pytest.raises(RequestError) as caught:
        relocate(plan(copied / "mlflow.db"))
    assert f"cp -Rn '{original}/mlruns'/. {copied}/mlruns/" in str(caught.value)
    assert (copied / "mlflow.db").read_bytes() == before
    assert sorted(file.name for file in copied.iterdir() if "lock" not in file.name) == ["mlflow.db"]


def test_results_that_wait_in_a_spool_of_the_project_go_to_the_copy(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied, original = place
    run = find_trained(opened(copied), "run 2")
    origin = Origin(f"sqlite:///{original / 'mlflow.db'}", run.run_id, run.name, run.experiment_id)
    monkeypatch.setenv("HARNESS_ROOT", str(copied))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spool = Spool.create(copied / "spool", origin, 1)
    spool.append(Metrics({"train/loss": 0.5}, 1, 1000))
    spool.append(Text("late.txt", "it came late"))
    spool.lock.release()
    assert main(["store", "relocate"]) == 0
    assert [one.origin.uri for parts in find_spools(run.run_id).values() for one in parts] == [opened(copied).uri]
    assert main(["sync"]) == 0
    with run_artifact(opened(copied), run, "late.txt") as file:
        assert file.read_text() == "it came late"


def test_artifacts_that_somebody_put_elsewhere_on_purpose_are_no_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, elsewhere = tmp_path / "project", tmp_path / "data"
    root.mkdir()
    (elsewhere / "mlruns").mkdir(parents=True)
    store = opened(root)
    for name, place in {"one": elsewhere / "art", "two": elsewhere / "mlruns" / "7"}.items():
        store.client.create_experiment(name, artifact_location=place.as_uri())
    store.client.create_experiment("three", artifact_location="s3://bucket/mlruns/three")
    assert moved(root / "mlflow.db") is None
    with pytest.raises(OutsideStore, match=r"neither in its own folder.*HARNESS_ARTIFACTS=PLACE"):
        store.ensure_experiment("one")
    monkeypatch.setenv("HARNESS_ARTIFACTS", f"s3://bucket/mlruns, {elsewhere}")
    for name in ("one", "two", "three"):
        assert store.ensure_experiment(name)


def test_a_store_that_is_reached_by_a_link_lies_where_it_says(tmp_path: Path) -> None:
    root, disk = tmp_path / "project", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    opened(root).ensure_experiment("one")
    (tmp_path / "link").symlink_to(root)
    (disk / "runs.db").symlink_to(root / "mlflow.db")
    for uri in (f"sqlite:///{tmp_path / 'link' / 'mlflow.db'}", f"sqlite:///{disk / 'runs.db'}"):
        linked = open_store(uri)
        assert linked == opened(root)
        assert linked.ensure_experiment("one") == "1"
    assert sorted(file.name for file in tmp_path.rglob("*.lock")) == ["mlflow.db.lock"]


def test_a_new_store_behind_a_link_is_made_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mlflow.db").symlink_to(tmp_path / "disk" / "runs.db")
    assert opened(tmp_path / "project").ensure_experiment("one") == "1"
    assert (tmp_path / "project" / "mlflow.db").is_symlink()
    assert (tmp_path / "disk" / "runs.db").stat().st_size


def test_an_experiment_whose_own_place_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "file").touch()
    store = opened(root)
    store.client.create_experiment("one", artifact_location=(tmp_path / "file" / "art").as_uri())
    with pytest.raises(StoreError, match="is not a folder"):
        store.ensure_experiment("one")


def test_folders_of_experiments_are_names_that_every_file_system_takes() -> None:
    assert experiment_folder("a/b c") == "a_b_c"
    for name in ("ü" * 300, "字" * 90, "x" * 500):
        assert 0 < len(experiment_folder(name).encode()) <= 200


def test_a_store_that_mlflow_made_from_another_folder_was_not_moved(tmp_path: Path) -> None:
    """MLflow puts the place of its experiment Default into the folder that a program happens to run in."""
    (tmp_path / "store").mkdir()
    (tmp_path / "scripts").mkdir()
    made = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
    uri = f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    subprocess.run([sys.executable, "-c", made, uri], cwd=tmp_path / "scripts", check=True)
    assert open_store(uri).ensure_experiment("study")
    assert MlflowClient(uri).get_experiment("0").artifact_location == str(tmp_path / "scripts" / "mlruns" / "0")
