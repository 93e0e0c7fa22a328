"""Which store, and making it ready: by one process or by many at once, with clear words when it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import StoreError
from harness.tracking.store import EXPERIMENT_TAGS, ensure_experiment, open_client, shown_uri, store_uri


def uri_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def test_the_setting_comes_before_the_environment_and_that_before_the_projects_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_uri() == uri_in(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://one.example")
    assert store_uri() == "https://one.example"
    assert store_uri("https://two.example") == "https://two.example"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:hush@host:5000/path", "http://host:5000/path"),
        ("postgresql+psycopg2://ann:hu@sh@host/db", "postgresql+psycopg2://host/db"),
        ("asked http://ann:hush@one, then http://hush@two", "asked http://one, then http://two"),
        ("tracking.uri=postgresql://ann:hu/sh/x@host/db seed=1", "tracking.uri=postgresql://host/db seed=1"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/ann@work/mlflow.db", "sqlite:////home/ann@work/mlflow.db"),
    ],
)
def test_users_and_passwords_are_never_shown(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown


def test_a_new_experiment_opens_in_the_model_training_layout_with_its_artifacts_beside_the_store(project: Path) -> None:
    uri = uri_in(project)
    identity = ensure_experiment(uri, "a study/of mine")
    assert ensure_experiment(uri, "a study/of mine") == identity
    experiment = MlflowClient(uri).get_experiment(identity)
    assert EXPERIMENT_TAGS.items() <= experiment.tags.items()
    assert experiment.artifact_location == (project / "mlruns" / "a_study_of_mine").as_uri()


def test_a_deleted_experiment_is_named_with_both_ways_out(project: Path) -> None:
    uri = uri_in(project)
    identity = ensure_experiment(uri, "old")
    MlflowClient(uri).delete_experiment(identity)
    with pytest.raises(StoreError, match=rf"'old' has been deleted .*--experiment-id {identity}.*tracking\.experiment"):
        ensure_experiment(uri, "old")


def test_a_file_that_is_no_database_is_said_to_be_none(project: Path) -> None:
    (project / "mlflow.db").write_text("these are notes")
    with pytest.raises(StoreError, match=r"cannot be used: file is not a database\.\nThe store is set by"):
        open_client(uri_in(project))


def test_a_folder_that_does_not_exist_is_named_and_not_made(project: Path) -> None:
    with pytest.raises(StoreError, match=f"there is no folder {project / 'missing'}"):
        open_client(uri_in(project / "missing"))
    assert not (project / "missing").exists()


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_at_once_share_one_experiment(project: Path) -> None:
    code = f"from harness.tracking.store import ensure_experiment; print(ensure_experiment({uri_in(project)!r}, 'one'))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outcomes
    assert len({out for out, _ in outcomes}) == 1
    names = [experiment.name for experiment in MlflowClient(uri_in(project)).search_experiments()]
    assert sorted(names) == ["Default", "one"]
