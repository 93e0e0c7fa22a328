"""Runs of a real server: read in parallel, and finished ones kept on this machine, with what the store says now."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.stores import EXPERIMENT, make_store
from harness.records import RunRecord
from harness.tracking import finished_runs, server_reader, server_requests
from harness.tracking.finished_runs import FinishedRuns, file_of
from harness.tracking.reading import cached_reads, read_runs, read_sweeps, sweep_runs
from harness.tracking.store import Store, open_store
from tests.tracking.servers import mlflow_server
from tests.tracking.stores import record, scores

pytestmark = pytest.mark.slow
RUNS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Store]:
    """A sweep of many runs, and beside it a run of another program, one that runs, and a deleted one."""
    make_store(folder, RUNS, 3)
    with mlflow_server(folder) as uri:
        client = MlflowClient(uri)
        study = client.get_experiment_by_name(EXPERIMENT).experiment_id
        client.log_metric(client.create_run(study, run_name="of others").info.run_id, "accuracy", float("nan"))
        record(client, study, "running", started=1_800_000_000_000, state=None)
        client.delete_run(record(client, study, "deleted", started=1_800_000_000_001))
        yield open_store(uri)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten runs count as many."""
    monkeypatch.setattr(server_reader, "_FIRST", 10)
    monkeypatch.setattr(server_reader, "_DOUBTED", 2)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def known(store: Store, refresh: bool = False) -> dict[str, RunRecord]:
    """The runs of the experiment with the help of the cache."""
    with cached_reads(store, FinishedRuns(store, refresh)):
        return {run.run_id: run for run in read_runs(store, experiment=EXPERIMENT, include_parents=True)}


def in_store(folder: Path) -> dict[str, RunRecord]:
    """The same runs by SQL."""
    runs = read_runs(open_store(f"sqlite:///{folder / 'mlflow.db'}"), experiment=EXPERIMENT, include_parents=True)
    return {run.run_id: run for run in runs}


def plain(runs: dict[str, RunRecord]) -> dict[str, dict[str, object]]:
    return {run_id: {**dataclasses.asdict(run), "metrics": str(dict(run.metrics))} for run_id, run in runs.items()}


def sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """The requests and the runs that another read of the experiment takes."""
    runs: list[int] = []
    usual = server_requests.ask_plainly

    def counted(*arguments: object, **options: object) -> object:
        answer = usual(*arguments, **options)  # type: ignore[arg-type]
        runs.append(len((answer or {}).get("runs", [])))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(server_requests, "ask_plainly", counted)
        known(store)
    return len(runs), sum(runs)


def test_all_runs_are_those_of_the_store_at_first_and_from_the_cache(
    server: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(in_store(folder))
    assert len(expected) == RUNS + 3
    assert plain(known(server)) == expected
    assert plain(known(server)) == expected
    requests, runs = sent(server, monkeypatch)
    assert requests <= 1 + 2 * 16 + 1
    assert runs <= 3 + 16  # what has not finished or is no run of ours, and one of each part
    [parent] = read_sweeps(server, EXPERIMENT)
    finished = FinishedRuns(server)
    with cached_reads(server, finished):
        of_sweep = {run.run_id: run for run in sweep_runs(server, parent.run_id)}
    assert plain(of_sweep) == {run_id: run for run_id, run in expected.items() if of_sweep.get(run_id)}
    assert len(of_sweep) == RUNS
    assert finished.told.startswith(f"{RUNS} of the runs are finished")


def test_what_has_changed_in_the_store_is_seen(server: Store, folder: Path) -> None:
    before = known(server)
    client = MlflowClient(server.uri)
    gone = sorted(run_id for run_id, run in before.items() if run.name.startswith("run "))
    client.delete_run(gone[3])
    client.delete_run(gone[20])
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:  # as `mlflow gc` does
        for table in ("params", "tags", "metrics", "latest_metrics", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (gone[7],))
    running = next(run for run in before.values() if run.name == "running")
    client.set_terminated(running.run_id)
    # It ended long ago by the clock of its machine, and is uploaded only now.
    record(client, running.experiment_id, "late", started=1_000_000_000_000, metrics=scores(0.9, 0.8))
    after = known(server)
    assert plain(after) == plain(in_store(folder))
    assert before.keys() - after.keys() == {gone[3], gone[7], gone[20]}
    assert plain(known(server)) == plain(after)
    client.restore_run(gone[3])
    assert gone[3] in known(server)


def test_tags_are_those_of_the_last_read_until_a_refresh_or_a_week(
    server: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, first = next((run_id, run) for run_id, run in known(server).items() if run.name == "run 30")
    MlflowClient(server.uri).set_tag(run_id, "mood", "good")
    assert "mood" not in known(server)[run_id].tags
    with cached_reads(server):  # a plan never asks the cache
        assert read_runs(server, run_ids=[run_id])[0].tags["mood"] == "good"
    assert known(server, refresh=True)[run_id].tags["mood"] == "good"
    MlflowClient(server.uri).set_tag(run_id, "mood", "better")
    finished_runs.forget(server, first)
    assert known(server)[run_id].tags["mood"] == "better"
    MlflowClient(server.uri).set_tag(run_id, "mood", "best")
    week = finished_runs.MOST_DAYS * finished_runs.DAY
    now = time.time()
    monkeypatch.setattr(finished_runs.time, "time", lambda: now + week + 1)
    assert known(server)[run_id].tags["mood"] == "best"


def test_the_files_are_the_users_alone_and_a_damaged_one_counts_as_none(
    server: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-secret-word")
    expected = plain(known(server))
    file = file_of(server, next(iter(in_store(folder).values())).experiment_id)
    assert file.stat().st_mode & 0o777 == 0o600
    whole = file.read_bytes()
    assert b"a-secret-word" not in whole + file.name.encode()
    for content in (whole[:-2000], whole[: len(whole) // 2] + os.urandom(200) + whole[len(whole) // 2 + 200 :], b"no"):
        file.write_bytes(content)
        assert plain(known(server)) == expected
    file.chmod(0o644)  # others may have read or written it
    assert sent(server, monkeypatch)[1] > RUNS // 2
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ben")
    assert file_of(server, "1") != file
