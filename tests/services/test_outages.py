"""Outages of a real server and its database while a run trains: it has everything, once, and the user is told."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration.conftest import Project, waited
from tests.integration.test_faults import history
from tests.integration.test_resume import QUICK, until
from tests.services.services import Server

pytestmark = pytest.mark.services

EPOCHS = 600
TRAINING = (*QUICK, f"regime.epochs={EPOCHS}", "seed=1")


def epochs(project: Project, uri: str, experiment: str) -> int:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return max((int(metric.step) for run in runs for metric in run.data._metric_objs), default=0)


def test_a_run_outlives_a_hung_server_a_restarted_database_and_a_killed_server(service: Server, empty: Project) -> None:
    soon = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "8"}  # pauses of 4 s
    to = (f"tracking.uri={service.uri}", "tracking.experiment=outages")
    process = empty.start("train", *TRAINING, *to, environment=soon)
    until(lambda: epochs(empty, service.uri, "outages") > 0, process)
    service.signal(signal.SIGSTOP)
    alone = empty.start("train", *TRAINING)
    began = time.monotonic()
    early = empty.run("train", *TRAINING, f"tracking.uri={service.uri}", "tracking.experiment=early")
    assert time.monotonic() - began < 30
    assert early.returncode == 1
    assert f"Waiting for an answer of the tracking store {service.uri}, for 15 s at most." in early.stderr
    assert "Nothing was started." in early.stderr
    service.signal(signal.SIGCONT)
    service.database.stop()  # the server answers with errors
    time.sleep(1)
    service.database.start()
    service.kill()
    service.start()
    done = waited(process)
    assert done.returncode == 0, done.stderr
    server = service.uri.removeprefix("http://")
    assert 1 <= done.stderr.count(f"The tracking server {server} does not work: ") <= 3
    assert f"The tracking server {server} answers again." in done.stderr
    assert "Retrying" not in done.stderr
    client = MlflowClient(service.uri)
    assert client.get_experiment_by_name("early") is None
    [run] = client.search_runs([client.get_experiment_by_name("outages").experiment_id])
    assert (run.info.status, "harness.error" in run.data.tags) == ("FINISHED", False)
    assert waited(alone).returncode == 0
    [expected] = empty.runs()
    found, wanted = history(empty, run, service.uri), history(empty, expected)
    assert {key: [step for step, _ in points] for key, points in found.items()} == {
        key: [step for step, _ in points] for key, points in wanted.items()
    }
    for key in [key for key in wanted if not key.startswith("time/")]:
        assert found[key] == wanted[key], key


def test_artifacts_that_the_server_cannot_write_are_kept_here_and_synced(service: Server, empty: Project) -> None:
    uri, client = service.uri, MlflowClient(service.uri)
    process = empty.start("train", *TRAINING, f"tracking.uri={uri}", "tracking.experiment=full",
                          environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})  # fmt: skip
    until(lambda: epochs(empty, uri, "full") > 0, process)
    [run] = client.search_runs([client.get_experiment_by_name("full").experiment_id])
    place = service.folder / "kept" / run.info.experiment_id
    away = place.rename(Path(f"{place}-away"))
    place.write_text("no folder")
    done = waited(process)
    assert done.returncode == 1
    assert done.stderr.count("Training continues.") == 1
    assert "harness sync" in done.stderr
    place.unlink()
    away.rename(place)
    synced = empty.run("sync")
    assert synced.returncode == 0, synced.stderr
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {"logs", "per_class.json"}
    points = client.get_metric_history(run.info.run_id, "fit/loss")
    assert [point.step for point in points] == list(range(1, EPOCHS + 1))
