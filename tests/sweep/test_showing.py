from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.sweep.showing import show_experiment, show_sweep
from harness.tracking.reading import latest_sweep
from harness.tracking.store import open_store
from harness.tracking.views import TAG, sweep_key
from tests.tracking.stores import new_client, new_study, record, record_sweep, scores

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def state(client: MlflowClient, experiment: str, key: str) -> dict[str, Any]:
    envelope = json.loads(client.get_experiment(experiment).tags[TAG + key])
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(envelope["state"].removeprefix("deflate;"))))
    return found


def test_a_sweep_is_grouped_by_names_and_its_experiment_by_all_that_differs(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    parent = record_sweep(client, experiment, "sweep of model", started=1_000, swept=["model"])
    for place, model in enumerate(("a", "b")):
        tags = {"mlflow.parentRunId": parent, "harness.group": model}
        record(client, experiment, model, started=2_000 + place, settings={"model.name": model},
               metrics=scores(0.9, 0.8), tags=tags)  # fmt: skip
    record(client, experiment, "alone", started=3_000, settings={"model.name": "a", "regime.epochs": 99},
           metrics=scores(0.9, 0.7))  # fmt: skip
    sweep = latest_sweep(open_store(uri))
    assert sweep is not None
    show_sweep(open_store(uri), sweep)
    of_sweep = state(client, experiment, sweep_key(parent))
    assert of_sweep["searchFilter"] == f"tags.mlflow.parentRunId = '{parent}'"
    assert of_sweep["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "harness.group"}]
    of_all = state(client, experiment, "harness-gap")
    assert {key["groupByData"] for key in of_all["groupBy"]["groupByKeys"]} == {"model.name", "regime.epochs"}


def test_runs_from_before_groups_had_names_are_grouped_by_what_was_swept(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    parent = record_sweep(client, experiment, "sweep of model", started=1_000, swept=["model"])
    for model in ("a", "b"):
        record(client, experiment, model, started=2_000, settings={"model.name": model}, metrics=scores(0.9, 0.8),
               tags={"mlflow.parentRunId": parent})  # fmt: skip
    sweep = latest_sweep(open_store(uri))
    assert sweep is not None
    show_sweep(open_store(uri), sweep)
    keys = state(client, experiment, sweep_key(parent))["groupBy"]["groupByKeys"]
    assert keys == [{"mode": "param", "groupByData": "model.name"}]


def test_an_experiment_of_other_people_is_left_alone(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    client.create_run(experiment)
    show_experiment(open_store(uri), experiment)
    assert not [key for key in client.get_experiment(experiment).tags if key.startswith(TAG)]


def test_an_experiment_called_by_the_number_of_another_has_its_own_runs_in_its_views(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    first = new_study(client, tmp_path)
    second = new_study(client, tmp_path, name=first)
    for place, epochs in enumerate((5, 6)):
        record(client, first, "a", started=1_000 + place, settings={"regime.epochs": epochs}, metrics=scores(0.9, 0.8))
    record(client, second, "b", started=2_000, metrics=scores(0.9, 0.8))
    show_experiment(open_store(uri), first)
    grouped = state(client, first, "harness-gap")["groupBy"]["groupByKeys"]
    assert grouped == [{"mode": "param", "groupByData": "regime.epochs"}]


def test_after_a_single_run_a_large_experiment_is_left_as_it_is(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    for place in range(3):
        record(client, experiment, "run", started=1_000 + place, metrics=scores(0.9, 0.8))
    show_experiment(open_store(uri), experiment, most=2)
    assert TAG + "harness-gap" not in client.get_experiment(experiment).tags
    show_experiment(open_store(uri), experiment, most=3)
    assert TAG + "harness-gap" in client.get_experiment(experiment).tags
