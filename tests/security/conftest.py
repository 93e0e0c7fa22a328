"""A stranger's store for each test, copied from one that is made once, and a user with secrets."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from tests.security.stranger import COLUMNS, Stranger, make


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return make(tmp_path_factory.mktemp("template") / "store")


@pytest.fixture
def stranger(template: Stranger, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    root = tmp_path / "stranger"
    shutil.copytree(template.root, root)
    utils._artifact_repos_cache.clear()  # MLflow caches a run's location by its id
    uri = f"sqlite:///{root / 'mlflow.db'}"
    found = replace(template, root=root, uri=uri, client=MlflowClient(uri))
    for table, column in COLUMNS:
        found.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", str(template.root), str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "the user's token")
    monkeypatch.setenv("SECRET", "the user's secret")
    return found


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A private folder of the user that belongs to no store."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "diary").write_text("root:x:private\n")
    return folder
