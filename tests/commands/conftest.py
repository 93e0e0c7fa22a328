"""A store of the project that tests may fill and empty: an empty one is made once and copied."""

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
"""When the first run of a test begins: in October 2025, in milliseconds."""


@dataclass
class Filled:
    """The project's store, and what tests put into it. Runs begin an hour apart."""

    root: Path
    client: MlflowClient
    experiment: str
    runs: int = 0

    def run(self, name: str, state: str | None = "FINISHED", model: bool = False, **tags: str) -> str:
        """The id of a run with an artifact of 1,000 bytes, a checkpoint of 10, and a model of 500 where it has one."""
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
        """The ids of a sweep and its runs."""
        started = FIRST + self.runs * HOUR + HOUR // 2
        parent = record_sweep(self.client, self.experiment, name, started=started, swept=["seed"])
        return [parent, *(self.run(job, model=model, mlflow__parentRunId=parent) for job in jobs)]

    def folder(self, run_id: str) -> Path:
        return self.root / "mlruns" / "study" / run_id

    def left(self) -> set[str]:
        """Every file below the root but the database's own."""
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
