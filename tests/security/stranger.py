"""A stranger's store for tests: made by MLflow, then changed by SQL as an attacker would do it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import yaml
from mlflow import MlflowClient

from harness.composing import compose_config
from harness.config.schema import flatten
from tests.tracking.stores import new_client, new_study, record, record_model, record_sweep, scores

COLUMNS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
"""Where MLflow records locations."""
CUT_OFF = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE params SET value = 'half written'")
connection.execute("UPDATE tags SET value = 'half written'")
os._exit(9)
"""


@dataclass(frozen=True)
class Stranger:
    """A store with a finished run that has a configuration and a model, and a sweep of two runs."""

    root: Path
    uri: str
    client: MlflowClient
    run: str
    sweep: str
    model: str

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The artifacts of the run."""
        return self.root / "mlruns" / "study" / self.run / "artifacts"

    def execute(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement, values)

    def add_parameter(self, key: str, value: str) -> None:
        self.execute("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", key, value, self.run)

    def configure(self, text: str) -> None:
        """Replace the recorded configuration in the run's artifacts."""
        (self.artifacts / "config" / "config.yaml").write_text(text)

    def cut_off(self) -> Path:
        """Leave the files of a writer that was killed. Returns the journal of SQLite."""
        subprocess.run([sys.executable, "-c", CUT_OFF, str(self.database)], check=False)
        journal = self.database.with_name("mlflow.db-journal")
        assert journal.stat().st_size
        return journal


def settings(*overrides: str) -> dict[str, object]:
    """A configuration as runs record it."""
    from dataclasses import asdict

    return asdict(compose_config(overrides))


def make(root: Path) -> Stranger:
    root.mkdir(parents=True, exist_ok=True)
    uri, client = new_client(root)
    study = new_study(client, root)
    run = record(client, study, "theirs", started=1000, metrics=scores(0.9, 0.8), settings=flatten(compose_config()))
    client.log_text(run, yaml.safe_dump(settings()), "config/config.yaml")
    client.log_text(run, "[]", "config/overrides.yaml")
    model = record_model(client, run, {"MLmodel": "flavors: {}", "data/model.keras": "weights"})
    sweep = record_sweep(client, study, "their sweep", started=2000, swept=["optimizer", "seed"])
    for number, optimizer in enumerate(("sgd", "adam")):
        for seed in (0, 1):
            record(
                client, study, f"{optimizer}{seed}", started=3000 + number, metrics=scores(0.9, 0.8 - seed / 100),
                settings={"optimizer.name": optimizer, "seed": seed}, tags={"mlflow.parentRunId": sweep},
            )  # fmt: skip
    return Stranger(root, uri, client, run, sweep, model)
