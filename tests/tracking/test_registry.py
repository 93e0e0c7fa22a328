"""A run in the model registry: once under a name, with its scores, and an alias that can be moved."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from harness.errors import RequestError
from harness.records import RunRecord
from harness.tracking.models import find_trained
from harness.tracking.reading import read_runs
from harness.tracking.registry import Registered, check_names, described, register_model
from harness.tracking.store import open_store
from tests.tracking.stores import new_client, new_study, record, record_model, scores


@dataclass(frozen=True)
class Store:
    uri: str
    client: MlflowClient
    model_ids: dict[str, str]

    def run(self, name: str) -> RunRecord:
        (run,) = (run for run in read_runs(open_store(self.uri)) if run.name == name)
        return run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    uri, client = new_client(folder)
    study = new_study(client, folder)
    model_ids = {}
    for number, name in enumerate(("good", "better", "bare")):
        run_id = record(client, study, name, started=number, metrics=scores(0.9, 0.85) if name != "bare" else None)
        model_ids[name] = record_model(client, run_id, {"MLmodel": name})
    record(client, study, "modelless", started=10)
    running = record(client, study, "running", started=11, state=None)
    record_model(client, running, {"MLmodel": ""})
    return Store(uri, client, model_ids)


@pytest.fixture(autouse=True)
def nothing_is_made_elsewhere(project: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's working directory is empty; a store that MLflow took for the default would be made there."""


def test_a_version_carries_the_scores_and_leads_to_run_and_model(store: Store) -> None:
    run = store.run("good")
    assert register_model(open_store(store.uri), run, "scored", "champion") == Registered(
        "scored", 1, "champion", True, None
    )
    version = store.client.get_model_version("scored", "1")
    assert version.run_id == run.run_id
    assert version.source == f"models:/{store.model_ids['good']}"
    assert version.aliases == ["champion"]
    assert version.tags == {
        "dataset.name": "fashion_mnist", "model.name": "mlp", "final/test_accuracy": "0.85",
        "final/gap_test_accuracy": "0.05", "final/gap_test_loss": "0.05",
    }  # fmt: skip
    assert version.description == (
        f"good (run {run.run_id}): fashion_mnist, mlp, test accuracy 85.00 %, gap to test +5.00 points."
    )
    assert find_trained(open_store(store.uri), "scored@champion").run_id == run.run_id
    listed = store.client.get_logged_model(store.model_ids["good"]).tags["mlflow.modelVersions"]
    assert {"name": "scored", "version": 1} in json.loads(listed)


def test_the_same_run_stays_the_version_that_it_is(store: Store) -> None:
    run = store.run("good")
    register_model(open_store(store.uri), run, "once", "champion", "the first words")
    again = register_model(open_store(store.uri), run, "once", "staging")
    assert again == Registered("once", 1, "staging", False, None)
    assert len(store.client.search_model_versions("name = 'once'")) == 1
    version = store.client.get_model_version("once", "1")
    assert sorted(version.aliases) == ["champion", "staging"]
    assert version.description == "the first words"
    register_model(open_store(store.uri), run, "once", "staging", "others")
    assert store.client.get_model_version("once", "1").description == "others"


def test_the_alias_moves_to_the_run_registered_last_and_back(store: Store) -> None:
    good, better = store.run("good"), store.run("better")
    register_model(open_store(store.uri), good, "moving", "champion")
    assert register_model(open_store(store.uri), better, "moving", "champion") == Registered(
        "moving", 2, "champion", True, 1
    )
    assert register_model(open_store(store.uri), good, "moving", "champion") == Registered(
        "moving", 1, "champion", False, 2
    )
    assert store.client.get_model_version_by_alias("moving", "champion").version == 1


def test_a_run_without_scores_is_described_by_what_it_has(store: Store) -> None:
    run = store.run("bare")
    assert described(run) == f"bare (run {run.run_id}): fashion_mnist, mlp."
    register_model(open_store(store.uri), run, "bare model", "champion")
    assert set(store.client.get_model_version("bare model", "1").tags) == {"dataset.name", "model.name"}


@pytest.mark.parametrize(("name", "said"), [("modelless", "has no model"), ("running", "is RUNNING: only a finished")])
def test_a_run_without_a_finished_model_is_refused_and_nothing_is_made(store: Store, name: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        register_model(open_store(store.uri), store.run(name), "refused", "champion")
    with pytest.raises(MlflowException, match="not found"):
        store.client.get_registered_model("refused")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", ".", ".."])
def test_names_that_mlflow_refuses_are_refused_before_it_is_asked(store: Store, name: str) -> None:
    with pytest.raises(RequestError, match=f"'{name}' cannot be the name of a registered model"):
        check_names(name, "champion")
    with pytest.raises(MlflowException, match="name"):
        store.client.create_registered_model(name)


@pytest.mark.parametrize("name", ["latest", "best", "a@b", "it's", '"', " a", "x" * 257])
def test_names_that_no_command_could_be_given_later_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="cannot be the name of a registered model"):
        check_names(name, "champion")


@pytest.mark.parametrize("alias", ["", "a b", "a@b", "latest", "LATEST", "v1", "V20", "x" * 256])
def test_aliases_that_mlflow_refuses_are_refused_before_it_is_asked(store: Store, alias: str) -> None:
    with pytest.raises(RequestError, match="--alias"):
        check_names("shop", alias)
    register_model(open_store(store.uri), store.run("good"), "aliased", "champion")
    with pytest.raises(MlflowException, match=r"(?i)alias"):
        store.client.set_registered_model_alias("aliased", alias, "1")


def test_names_with_letters_of_any_language_are_allowed(store: Store) -> None:
    run = store.run("good")
    register_model(open_store(store.uri), run, "Ünï 100 %", "größer")
    assert find_trained(open_store(store.uri), "Ünï 100 %@größer").run_id == run.run_id


def test_the_users_own_default_store_is_left_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "MLFLOW_TRACKING_URI"
    monkeypatch.setenv(variable, "sqlite:///elsewhere.db")
    register_model(open_store(store.uri), store.run("good"), "beside another", "champion")
    assert os.environ[variable] == "sqlite:///elsewhere.db"
    monkeypatch.delenv(variable)
    register_model(open_store(store.uri), store.run("good"), "beside none", "champion")
    assert variable not in os.environ
    mlflow.set_tracking_uri("sqlite:///of-a-notebook.db")  # goes before the variable, and sets it
    try:
        register_model(open_store(store.uri), store.run("good"), "beside a notebook", "champion")
        assert mlflow.get_tracking_uri() == os.environ[variable] == "sqlite:///of-a-notebook.db"
    finally:
        mlflow.set_tracking_uri(None)
    assert list(Path.cwd().iterdir()) == []
