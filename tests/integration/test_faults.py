"""A disk that fills up, a store that becomes read-only, locked or unreachable while a run trains: after `harness sync`
the run equals one that nothing disturbed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from harness.tracking.models import model_folder
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.integration.conftest import SMALL, NewProject, Outcome, Project, waited
from tests.integration.mounts import fill, read_only, small_disk
from tests.pauses import Pauses
from tests.tracking.servers import mlflow_server

pytestmark = pytest.mark.slow

TRAINING = (*SMALL, "optimizer=sgd", "regime.epochs=12", "seed=1", "threads=1", "figures=few")
DISK = 160  # megabytes, of which a run wants 100 at its start
EPOCHS_BEFORE = 5


@pytest.fixture
def pauses(empty: Project) -> Pauses:
    """Lets each run wait in the middle, until it is ended."""
    pauses = Pauses(empty.folder)
    pauses.after(EPOCHS_BEFORE)
    return pauses


def in_training(project: Project, process: Any, uri: str) -> None:
    """Wait until the run, which waits too, has a few epochs in the store, without disturbing it."""
    deadline = time.monotonic() + 120
    folder = None if "://1" in uri else Path(uri.removeprefix("sqlite:///")).parent
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        # A client that opens a store while its tables are made would disturb.
        if folder is None or any(folder.glob("mlruns/*/*/artifacts/config")):
            runs = project.runs(uri)
            if runs and len(history(project, runs[0], uri).get("train/loss", [])) == EPOCHS_BEFORE:
                return
        time.sleep(0.1)


def history(project: Project, run: Run, uri: str | None = None) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every metric, as often as the store has them."""
    client = project.client(uri)
    keys = client.get_run(run.info.run_id).data.metrics
    return {
        key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)] for key in keys
    }


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from artifacts(client, run_id, item.path)
        else:
            yield item.path


def weights(client: MlflowClient, run: Run) -> list[np.ndarray]:
    """Those of the run's one model, loaded as its users do."""
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    found = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    assert [(model.model_id, str(model.status)) for model in found] == [(output.model_id, "READY")]
    (record,) = read_runs(open_store(client.tracking_uri), run_ids=[run.info.run_id])
    with model_folder(open_store(client.tracking_uri), record) as folder:
        return [np.asarray(weight) for weight in mlflow.keras.load_model(str(folder)).get_weights()]


def assert_equal(outcome: Outcome, other: Outcome, uri: str | None = None) -> None:
    """The same run in both projects, but for time and place."""
    (run,), (expected,) = outcome.project.runs(uri), other.project.runs()
    assert run.info.status == expected.info.status == "FINISHED"
    assert "harness.error" not in run.data.tags
    found, wanted = history(outcome.project, run, uri), history(other.project, expected)
    assert set(found) == set(wanted)
    for key, points in wanted.items():
        if key.startswith("time/"):
            assert [step for step, _ in found[key]] == [step for step, _ in points], key
        else:
            assert found[key] == points, key
    client, theirs = outcome.project.client(uri), other.project.client()
    names = sorted(artifacts(client, run.info.run_id))
    assert names == sorted(artifacts(theirs, expected.info.run_id))
    for name in ("per_class.json", "config/overrides.yaml"):
        if name in names:
            read = [outcome.project.artifact(run, name, uri), other.project.artifact(expected, name)]
            texts = [[line for line in file.read_text().splitlines() if "tracking.uri" not in line] for file in read]
            assert texts[0] == texts[1], name
    differing = {key for key, value in expected.data.params.items() if run.data.params.get(key) != value}
    assert differing <= {"tracking.uri"}
    for ours, weight in zip(weights(client, run), weights(theirs, expected), strict=True):
        np.testing.assert_array_equal(ours, weight)
    (model,) = client.search_logged_models([run.info.experiment_id])
    scored = {metric.key for metric in model.metrics}
    assert scored == {metric.key for metric in theirs.search_logged_models([expected.info.experiment_id])[0].metrics}


def synced(project: Project, uri: str) -> None:
    """`harness sync` brings the run home, and the next one finds nothing to do."""
    done = project.run("sync")
    assert done.returncode == 0, done.stderr
    assert "FINISHED" in done.stdout
    assert f"uploaded to {uri}" in done.stdout
    assert project.run("sync").stdout == "Nothing to do: no run has results waiting in a spool.\n"
    assert not (project.root / "spool").exists()


def kept(done: Any, reason: str) -> None:
    """The command trained to the end, said once what was wrong, and ended as one whose work is not all done."""
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Training continues.") == 1
    assert reason in done.stderr
    assert "error: " in done.stderr
    assert "was trained to its end, but not all of its results are in the store" in done.stderr
    assert done.stderr.rstrip().endswith("`harness sync` uploads them when the store can be used again.")
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr


@pytest.fixture(scope="module")
def undisturbed(new_project: NewProject) -> Outcome:
    project = new_project()
    done = project.run("train", *TRAINING)
    assert done.returncode == 0, done.stderr
    return Outcome(project, done)


def test_a_disk_that_fills_up_in_the_middle(empty: Project, pauses: Pauses, undisturbed: Outcome) -> None:
    """Store, logs and spool lie on it: the folder for temporary files takes the rest."""
    temporary = empty.folder / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with small_disk(empty.root, DISK):
        process = empty.start("train", *TRAINING, environment=environment | pauses.environment)
        in_training(empty, process, empty.store)
        filler = fill(empty.root)
        pauses.end()
        done = waited(process)
        kept(done, "database or disk is full")
        refused = empty.run("train", *TRAINING, environment=environment)
        assert refused.returncode == 1
        assert "MB are free, and a run needs 100 MB. Free some space in" in refused.stderr
        away = empty.run("sync", environment=environment)
        assert (away.returncode, away.stdout) == (1, "")
        assert "Nothing is lost." in away.stderr
        filler.unlink()
        done = empty.run("sync", environment=environment)
        assert done.returncode == 0, done.stderr
        assert "FINISHED" in done.stdout
        assert list(temporary.glob("harness-spool-*/*/*")) == []
        assert_equal(Outcome(empty, done), undisturbed)


def test_a_store_that_becomes_read_only_in_the_middle(empty: Project, pauses: Pauses, undisturbed: Outcome) -> None:
    folder = empty.folder / "store"
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    process = empty.start("train", *TRAINING, f"tracking.uri={uri}", environment=pauses.environment)
    in_training(empty, process, uri)
    with read_only(folder):
        pauses.end()
        done = waited(process)
        kept(done, f"The tracking store {uri} cannot be used")
        refused = empty.run("train", *TRAINING, f"tracking.uri={uri}")
        assert refused.returncode == 1
        assert "is read-only. Give this user permission to write there" in refused.stderr
    synced(empty, uri)
    assert_equal(Outcome(empty, done), undisturbed, uri)


def test_a_database_that_another_process_keeps_locked(empty: Project, pauses: Pauses, undisturbed: Outcome) -> None:
    process = empty.start("train", *TRAINING, environment=pauses.environment)
    in_training(empty, process, empty.store)
    with closing(sqlite3.connect(empty.root / "mlflow.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pauses.end()
        done = waited(process)
        kept(done, "database is locked")
        other.execute("ROLLBACK")
    synced(empty, empty.store)
    assert_equal(Outcome(empty, done), undisturbed)


def test_a_lock_that_goes_before_the_end_costs_nothing(empty: Project, pauses: Pauses, undisturbed: Outcome) -> None:
    process = empty.start("train", *TRAINING, environment=pauses.environment)
    in_training(empty, process, empty.store)
    with closing(sqlite3.connect(empty.root / "mlflow.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pauses.after(EPOCHS_BEFORE + 3)
        pauses.end(EPOCHS_BEFORE)
        while not list(empty.root.glob("spool/*/journal.jsonl")):
            assert process.poll() is None
            time.sleep(0.05)
        other.execute("ROLLBACK")
    pauses.end()
    done = waited(process)
    assert done.returncode == 0, done.stderr
    assert "The store can be used again: everything" in done.stderr
    assert not (empty.root / "spool").exists()
    assert_equal(Outcome(empty, done), undisturbed)


def test_a_server_that_is_gone_in_the_middle_and_comes_back(
    empty: Project, pauses: Pauses, undisturbed: Outcome
) -> None:
    folder = empty.folder / "server"
    folder.mkdir()
    few = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # the usual seven take four minutes
    with ExitStack() as server:
        uri = server.enter_context(mlflow_server(folder))
        process = empty.start("train", *TRAINING, f"tracking.uri={uri}", environment=few | pauses.environment)
        in_training(empty, process, uri)
    pauses.end()
    done = waited(process)
    kept(done, f"The tracking store {uri} cannot be used")
    assert empty.run("sync", environment=few).returncode == 1
    with mlflow_server(folder, port=int(uri.rpartition(":")[2])) as again:
        synced(empty, again)
        assert_equal(Outcome(empty, done), undisturbed, again)


def test_every_worker_of_a_sweep_keeps_its_own_run(empty: Project, pauses: Pauses) -> None:
    """The store is locked until both jobs have ended: their sweep takes them for dead, until they come home."""
    grid = (*SMALL, "optimizer=sgd", "regime.epochs=12", "seed=range(2)", "threads=1", "figures=none")
    process = empty.start("sweep", *grid, "hydra.launcher.workers=2", environment=pauses.environment)
    deadline = time.monotonic() + 120
    while not any(empty.root.glob("mlruns/*/*/artifacts/config")) or (
        sum("train/loss" in run.data.metrics for run in empty.runs()) < 2
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with closing(sqlite3.connect(empty.root / "mlflow.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pauses.end()
        while sum('"End"' in journal.read_text() for journal in empty.root.glob("spool/*/journal.jsonl")) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        time.sleep(25)  # longer than they wait, at their end, for the lock to go
        other.execute("ROLLBACK")
    done = waited(process)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Training continues.") == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("error: 2 of 2 runs were trained, but not all of their results are in the store")
    assert "`harness sync` uploads them" in last
    assert Outcome(empty, done).parent.info.status == "FAILED"
    brought = empty.run("sync")
    assert brought.returncode == 0, brought.stderr
    assert "table, figure and report have the results now" in brought.stdout
    parent = Outcome(empty, brought).parent
    assert (parent.info.status, parent.data.tags["harness.finished"]) == ("FINISHED", "2")
    children = [run for run in empty.runs() if run.data.tags["harness.kind"] == "run"]
    assert [run.info.status for run in children] == ["FINISHED", "FINISHED"]
    table = empty.artifact(parent, "comparison.csv").read_text()
    for run in children:
        assert run.info.run_id in table
        assert [step for step, _ in history(empty, run)["train/loss"]] == list(range(1, 13))
        assert "harness.error" not in run.data.tags
    compared = empty.run("compare", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)
