"""A store for each test to fill and empty: a copy of an empty store that is made once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness import paths
from tests.tracking.stores import new_client, new_study, record, record_model, record_sweep, scores

HOUR = 3_600_000
FIRST = 1_760_000_000_000
"""The start of a test's first run, in October 2025, in milliseconds."""


@dataclass
class Filled:
    """The project's store, with methods to add runs. Runs start an hour apart."""

    root: Path
    client: MlflowClient
    experiment: str
    runs: int = 0

    def run(self, name: str, state: str | None = "FINISHED", model: bool = False, **tags: str) -> str:
        """Add a run with an artifact of 1,000 bytes, a checkpoint of 10, and perhaps a model of 500. Returns its id."""
        self.runs += 1
        named = {key.replace("__", "."): value for key, value in tags.items()}
        run_id = record(
            self.client, self.experiment, name, started=FIRST + self.runs * HOUR, state=state, tags=named,
            metrics=scores(0.9, 0.9 - self.runs / 100),
        )  # fmt: skip
        self.client.log_text(run_id, "x" * 1000, "logs/run.log")
        if model:
            record_model(self.client, run_id, {"MLmodel": "x" * 500})
        paths.write_text(paths.checkpoint_file(run_id), "checkpoint")
        return run_id

    def sweep(self, name: str, *jobs: str, model: bool = False) -> list[str]:
        """Add a sweep with a run for each of `jobs`. Returns the ids of the sweep and its runs."""
        started = FIRST + self.runs * HOUR + HOUR // 2
        parent = record_sweep(self.client, self.experiment, name, started=started, swept=["seed"])
        return [parent, *(self.run(job, model=model, mlflow__parentRunId=parent) for job in jobs)]

    def folder(self, run_id: str) -> Path:
        return self.root / "mlruns" / "study" / run_id

    def left(self) -> set[str]:
        """Every file below the root except those of the database."""
        files = (file for file in self.root.rglob("*") if file.is_file())
        return {str(file.relative_to(self.root)) for file in files if not file.name.startswith("mlflow.db")}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    new_client(folder)[1].search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def filled(project: Path, empty_store: Path) -> Filled:
    shutil.copyfile(empty_store, project / "mlflow.db")
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    return Filled(project, client, new_study(client, project))
