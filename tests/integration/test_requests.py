"""How many requests a sweep makes of a real server."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration.conftest import SMALL, Project
from tests.tracking.servers import mlflow_server

RUN = 12
"""Requests of a run besides its files, which MLflow's protocol takes one by one; a slow machine sends a batch more."""
SWEEP, SECONDS = 75, 3.0
"""Requests of a sweep besides those of its runs, and of one that takes long one more every few seconds: its display."""


def paths(log: Path) -> list[str]:
    """The requests that a server has logged, as `PUT /api/...`."""
    lines = [line for line in log.read_text().splitlines() if "HTTP/1.1" in line]
    return [line.split('"')[1].removesuffix(" HTTP/1.1").partition("?")[0] for line in lines]


@pytest.mark.slow
def test_a_run_on_a_server_makes_few_requests_and_has_all_of_its_results(empty: Project, tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as uri:
        before, started = len(paths(tmp_path / "server.log")), time.monotonic()
        command = ("sweep", *SMALL, "regime.epochs=3", "seed=0,1,2", "hydra.launcher.workers=1", "figures=none")
        done = empty.run(*command, f"tracking.uri={uri}", "tracking.experiment=counted")
        assert done.returncode == 0, done.stderr
        more = max(0.0, time.monotonic() - started - 20) / SECONDS
        asked = paths(tmp_path / "server.log")[before:]
        client = MlflowClient(uri)
        runs = client.search_runs(
            [client.get_experiment_by_name("counted").experiment_id], "tags.`harness.kind` = 'run'"
        )
        assert [run.info.status for run in runs] == ["FINISHED"] * 3
        for run in runs:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "fit/loss")]
            assert (steps, "final/gap_test_accuracy" in run.data.metrics) == ([1, 2, 3], True)
            assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"code", "config", "logs"}
    own = [request for request in asked if not request.startswith("PUT")]
    assert sum("runs/create" in request for request in own) == 4
    assert len(own) <= 3 * RUN + SWEEP + more, Counter(own)
    assert sum("get-history" in request for request in own) <= 8
