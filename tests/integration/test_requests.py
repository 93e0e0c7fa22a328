"""How many requests a run and a sweep make of a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration.conftest import SMALL, Project
from tests.tracking.servers import mlflow_server

RUN = 20
"""Requests of a run with its files, without figures. On a machine that takes seconds for it, a batch more."""
LOOKUPS = 18
"""Of a sweep of three runs, with those of its worker; time adds to them."""
WRITES = 24
"""Of a sweep besides those of its runs: three claims and labels, four views, the tables, the lease, ..."""
SECONDS = 2.0
"""A heartbeat, a check of the lease and a look for the display: as seldom as this together."""
OF_RUNS = ("runs/create", "log-inputs", "logged-models", "runs/outputs", "runs/update")

LOOKING = ("search", "runs/get", "get-by-name", "version", "server-info")


def requests(log: Path) -> list[tuple[str, str]]:
    """The method and the path of each request that a server has logged."""
    lines = [line.split('"')[1] for line in log.read_text().splitlines() if "HTTP/1.1" in line]
    return [(line.split()[0], line.split()[1].partition("?")[0]) for line in lines]


@pytest.mark.slow
def test_a_run_on_a_server_makes_few_requests_and_has_all_of_its_results(empty: Project, tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as uri:
        before = len(requests(tmp_path / "server.log"))
        words = ("regime.epochs=3", "seed=0,1,2", "hydra.launcher.workers=1", "figures=none", "tracking.diff=false")
        words += ("tracking.upload_seconds=1000",)  # on a slow machine the first run would send a checkpoint
        done = empty.run("sweep", *SMALL, *words, f"tracking.uri={uri}", "tracking.experiment=counted")
        assert done.returncode == 0, done.stderr
        assert "Downloading" not in done.stderr
        asked = requests(tmp_path / "server.log")[before:]
        client = MlflowClient(uri)
        identity = client.get_experiment_by_name("counted").experiment_id
        runs = client.search_runs([identity], "tags.`harness.kind` = 'run'")
        [parent] = client.search_runs([identity], "tags.`harness.kind` = 'sweep'")
        assert [run.info.status for run in runs] == ["FINISHED"] * 3
        for run in runs:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "fit/loss")]
            assert (steps, "final/gap_test_accuracy" in run.data.metrics) == ([1, 2, 3], True)
            assert len(run.data.params) > 100
            assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"code", "config", "logs"}
    files = [path for method, path in asked if method == "PUT" and parent.info.run_id not in path]
    assert len(files) == 3 * 12
    others = [path for method, path in asked if method != "PUT"]
    assert sum("runs/create" in path for path in others) == 4
    assert not any("get-history" in path for path in others)
    of_runs = sum(part in path for path in others for part in OF_RUNS) - 2  # the sweep's own start and end
    batches = 2 * 3
    assert len(files) + of_runs + batches <= 3 * RUN
    seconds = (parent.info.end_time - parent.info.start_time) / 1000
    lookups = sum(path.endswith(LOOKING) for path in others)
    assert lookups <= LOOKUPS + seconds / SECONDS
    assert len(others) - lookups - of_runs - batches <= WRITES + seconds / SECONDS
