"""Writes beside the training: complete, in few requests, and their errors are raised where the run is recorded."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.errors import StoreError, TakenOver
from harness.records import RunState
from harness.run.log import log_missing_epochs
from harness.tracking import background_outbox, pending_writes
from harness.tracking.background_outbox import BackgroundOutbox
from harness.tracking.outbox import Outbox
from harness.tracking.pending_writes import File, Metrics, Parameters, StoredRun, Tags
from harness.tracking.spool import Origin, find_spools
from harness.tracking.store import Store, open_store
from harness.tracking.writing import RunIdentity, RunWriter, tracked_run
from harness.training import TrainingState
from harness.training.state import Progress

IDENTITY = RunIdentity("a run", "study")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def store(folder: Path, project: Path) -> Store:
    return open_store(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def behind_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any store is treated as one that is not on this machine."""
    monkeypatch.setattr(Store, "is_local", False)


def begin(store: Store) -> tuple[BackgroundOutbox, MlflowClient, str]:
    run = RunWriter(store, IDENTITY)
    outbox = BackgroundOutbox(Outbox(Origin(store.uri, run.run_id, "a run", run.experiment_id)))
    return outbox, MlflowClient(store.uri), run.run_id


def test_everything_arrives_in_few_requests_and_values_after_the_file_that_they_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    usual = StoredRun.apply_together
    monkeypatch.setattr(StoredRun, "apply_together", lambda run, some: (written.append(list(some)), usual(run, some)))
    monkeypatch.setattr(background_outbox, "SOON_SECONDS", 60.0)
    outbox, client, run_id = begin(store)
    kept = tmp_path / "table.csv"
    kept.write_text("1")
    outbox.put(Parameters({f"p{number}": "1" for number in range(250)}))
    outbox.put(Tags({"table": "table.csv"}))
    outbox.put(File(str(kept), "tables"))
    kept.write_text("changed after it was logged")
    for epoch in range(1, 201):
        outbox.put(Metrics(dict.fromkeys("abcd", epoch / 2), epoch, epoch))
    assert written == []
    outbox.end(RunState.FINISHED, 1000)
    run = client.get_run(run_id)
    assert (run.info.status, len(run.data.params), run.data.tags["table"]) == ("FINISHED", 250, "table.csv")
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "d")] == [
        (epoch, epoch / 2) for epoch in range(1, 201)
    ]
    assert Path(client.download_artifacts(run_id, "tables/table.csv")).read_text() == "1"
    assert len(written) == 1


def test_a_large_parameter_does_not_make_a_request_that_a_server_refuses(store: Store) -> None:
    values = [Parameters({f"{number}.{place}": "x" * 5000 for place in range(50)}) for number in range(4)]
    assert [len(batch) for batch in background_outbox._batches(values)] == [1, 1, 1, 1]


def test_no_epoch_is_divided_between_two_requests() -> None:
    """MLflow's client sends a thousand metrics at most: a process that is killed would leave half an epoch."""
    values = [Metrics(dict.fromkeys(map(str, range(300)), 0.0), epoch, epoch) for epoch in range(1, 8)]
    assert [[one.step for one in batch] for batch in background_outbox._batches(values)] == [[1, 2, 3], [4, 5, 6], [7]]


def test_values_do_not_wait_for_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_outbox, "SOON_SECONDS", 0.05)
    outbox, client, run_id = begin(store)
    outbox.put(Parameters({"p": "1"}))
    deadline = time.monotonic() + 10
    while not client.get_run(run_id).data.params and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.get_run(run_id).data.params == {"p": "1"}
    outbox.end(RunState.FINISHED, 1000)


@pytest.mark.usefixtures("behind_a_network")
def test_a_write_that_the_store_refuses_fails_the_run(store: Store) -> None:
    ids = []

    def work() -> None:
        with tracked_run(store, IDENTITY, diff=False) as tracked:
            ids.append(tracked.run_id)
            tracked.log_parameters({"before": 1})
            tracked.log_metrics({"a b c / !!": 1.0})
            tracked.log_metrics({"well": 1.0}, 1)

    with pytest.raises(StoreError, match="a b c"):
        work()
    run = MlflowClient(store.uri).get_run(ids[0])
    assert run.info.status == "FAILED"
    assert "a b c" in run.data.tags["harness.error"]
    assert (run.data.params, run.data.metrics) == ({"before": "1"}, {"well": 1.0})  # of the same request


@pytest.mark.usefixtures("behind_a_network")
def test_who_has_lost_its_run_leaves_no_thread_and_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copies, others = tmp_path / "temporary", threading.enumerate()
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))

    def work() -> None:
        with tracked_run(store, IDENTITY, diff=False) as tracked:
            tracked.flush()
            RunWriter(store, IDENTITY, tracked.run_id)
            monkeypatch.setattr(pending_writes, "OURS_SECONDS", 0.0)
            tracked.log_text("late.txt", "late")
            (copies / "late.csv").write_text("1")
            tracked.log_file(copies / "late.csv")

    with pytest.raises(TakenOver):
        work()
    deadline = time.monotonic() + 10
    while (alive := {*threading.enumerate()} - {*others}) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive
    assert [file.name for file in copies.iterdir()] == ["late.csv"]


def test_what_was_not_sent_when_the_store_failed_is_in_the_spool_and_arrives_once(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    outbox, client, run_id = begin(store)
    outbox.put(Metrics({"a": 1.0}, 1, 1))
    outbox.flush()
    away = (folder / "mlflow.db").rename(folder / "away.db")
    try:
        (folder / "mlflow.db").mkdir()
        outbox.put(Metrics({"a": 2.0}, 2, 2))
        outbox.put(Tags({"t": "1"}))
        kept = tmp_path / "file.txt"
        kept.write_text("1")
        outbox.put(File(str(kept), None))
        outbox.flush()
    finally:
        (folder / "mlflow.db").rmdir()
        away.rename(folder / "mlflow.db")
    assert client.get_run(run_id).data.metrics == {"a": 1.0}
    outbox.end(RunState.FINISHED, 1000)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.metrics, run.data.tags["t"]) == ("FINISHED", {"a": 2.0}, "1")
    assert [point.step for point in client.get_metric_history(run_id, "a")] == [1, 2]
    assert find_spools(run_id) == {}


def test_metrics_that_are_repeated_are_recognised_also_between_later_steps(store: Store) -> None:
    outbox, client, run_id = begin(store)
    for step in (1, 2, 4):
        outbox.put(Metrics({"a": float(step)}, step, step))
    outbox.flush()
    again = StoredRun(store, run_id, outbox._outbox._origin.experiment_id, 1, again=True)
    again.apply_together([Metrics({"a": float(step), "b": math.pi}, step, 10 + step) for step in (1, 2, 3, 4, 5)])
    assert [point.step for point in client.get_metric_history(run_id, "a")] == [1, 2, 4, 3, 5]
    assert [point.step for point in client.get_metric_history(run_id, "b")] == [1, 2, 3, 4, 5]


def test_epochs_that_only_the_checkpoint_has_are_logged_when_the_run_is_resumed(store: Store) -> None:
    """A killed process had not sent them yet."""
    run = RunWriter(store, IDENTITY)
    run.log_metrics({"fit/loss": 0.1, "time/epoch_seconds": 1.0}, 3)
    series = {"fit/loss": (0.1, 0.2, 0.3), "time/epoch_seconds": (1.0, 1.0, 1.0)}
    for _ in range(2):
        resumed = RunWriter(store, IDENTITY, run.run_id)
        log_missing_epochs(resumed, TrainingState(5, (), progress=Progress(2, series)))
    found = MlflowClient(store.uri).get_metric_history(run.run_id, "fit/loss")
    assert [(point.step, point.value) for point in found] == [(3, 0.1), (4, 0.2), (5, 0.3)]
