"""More runs than a page of MLflow's client holds, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.stores import SEEDS, make_store
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.integration.conftest import Project
from tests.tracking.servers import mlflow_server

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

RUNS = 1_200


def test_a_sweep_of_1200_runs_is_compared_over_http_as_it_is_from_its_file(empty: Project, tmp_path: Path) -> None:
    file = make_store(tmp_path, RUNS, epochs=1)
    assert len(read_runs(open_store(file))) == RUNS
    with mlflow_server(tmp_path) as address:
        over_http = empty.run("compare", "--store", address, "--format", "json")
    assert over_http.returncode == 0, over_http.stderr
    document = json.loads(over_http.stdout)
    assert document["runs"] == document["finished"] == RUNS
    assert len(document["rows"]) == RUNS // SEEDS
    assert document == json.loads(empty.run("compare", "--store", file, "--format", "json").stdout)
