from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.sweeps import mlflow_views
from harness.sweeps.mlflow_views import show_experiment, show_sweep
from harness.tracking.reading import latest_sweep
from harness.tracking.selection import SEARCH_TAG
from harness.tracking.store import Store, open_store
from harness.tracking.views import TAG, search_key, sweep_key
from tests.tracking.stores import new_client, new_study, record, record_sweep, scores

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def state(client: MlflowClient, experiment: str, key: str) -> dict[str, Any]:
    envelope = json.loads(client.get_experiment(experiment).tags[TAG + key])
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(envelope["state"].removeprefix("deflate;"))))
    return found


def study(tmp_path: Path, points: bool = True) -> tuple[str, MlflowClient, str, str]:
    """A store with a sweep of three models, of which `under` is underfit, and its experiment with one more run."""
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    parent = record_sweep(client, experiment, "sweep of model", started=1_000, swept=["model"])
    accuracies = {"under": (0.6, 0.59), "over": (0.9, 0.8), "fair": (0.85, 0.79)}
    for place, (model, (train, test)) in enumerate(accuracies.items()):
        tags = {"mlflow.parentRunId": parent, "harness.group": model}
        more = {"points/gap_test_accuracy": round(100 * (train - test), 2)} if points else {}
        record(client, experiment, model, started=2_000 + place, settings={"model.name": model},
               metrics=scores(train, test) | more, tags=tags)  # fmt: skip
    record(client, experiment, "alone", started=3_000, settings={"model.name": "fair", "regime.epochs": 99},
           metrics=scores(0.9, 0.7))  # fmt: skip
    return uri, client, experiment, parent


def show_latest(uri: str) -> None:
    sweep = latest_sweep(open_store(uri))
    assert sweep is not None
    show_sweep(open_store(uri), sweep)


def test_groups_are_rows_of_the_table_in_its_order_and_say_which_are_underfit(tmp_path: Path) -> None:
    uri, client, experiment, parent = study(tmp_path)
    show_latest(uri)
    tag = f"harness.row.{parent[:8]}"
    of_sweep = state(client, experiment, sweep_key(parent))
    assert of_sweep["searchFilter"] == f"tags.mlflow.parentRunId = '{parent}'"
    assert of_sweep["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": tag}]
    assert (of_sweep["orderByKey"], of_sweep["orderByAsc"]) == (f"tags.`{tag}`", True)
    rows = client.search_runs([experiment], of_sweep["searchFilter"], order_by=[f"tags.`{tag}` ASC"])
    assert [run.data.tags[tag].rstrip() for run in rows] == ["1 fair", "2 over", "3 under (underfit?)"]
    of_all = state(client, experiment, "harness-gap")
    assert of_all["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "harness.row"}]
    every = client.search_runs([experiment], of_all["searchFilter"], order_by=["tags.`harness.row` ASC"])
    assert [run.data.tags["harness.row"].rstrip() for run in every] == [
        "1 fair epochs=5", "2 over epochs=5", "3 under epochs=5 (underfit?)", "4 fair epochs=99 (underfit?)",
    ]  # fmt: skip


def test_a_search_has_a_view_of_its_settings_against_the_gap(tmp_path: Path) -> None:
    uri, client, experiment, parent = study(tmp_path)
    client.set_tag(parent, SEARCH_TAG, "{}")
    show_latest(uri)
    of_search = state(client, experiment, search_key(parent))
    assert of_search["searchFilter"] == f"tags.mlflow.parentRunId = '{parent}'"
    [chart] = [chart for chart in of_search["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert chart["selectedParams"] == ["model.name"]
    assert "gap" in chart["selectedMetrics"][0]


def test_labels_that_hold_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, *_ = study(tmp_path)
    show_latest(uri)
    monkeypatch.setattr(Store, "client", property(lambda store: pytest.fail("what had not changed was written again")))
    show_latest(uri)


def test_gaps_are_in_points_where_every_run_has_them_and_else_as_they_were_logged(tmp_path: Path) -> None:
    uri, client, experiment, parent = study(tmp_path)
    show_latest(uri)
    assert charts(client, experiment, sweep_key(parent))[0] == "points/gap_test_accuracy"
    assert charts(client, experiment, "harness-gap")[0] == "final/gap_test_accuracy", "one run is of an earlier version"
    assert state(client, experiment, "harness-gap")["selectedColumns"][0] == "metrics.`final/gap_test_accuracy`"


def charts(client: MlflowClient, experiment: str, key: str) -> list[str]:
    return [card["metricKey"] for card in state(client, experiment, key)["compareRunCharts"]]


def test_more_runs_than_the_page_loads_keep_their_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_views, "ALL_SHOWN", 3)
    uri, client, experiment, parent = study(tmp_path)
    show_latest(uri)
    assert {key["groupByData"] for key in state(client, experiment, "harness-gap")["groupBy"]["groupByKeys"]} == {
        "model.name", "regime.epochs",
    }  # fmt: skip
    monkeypatch.setattr(mlflow_views, "ALL_SHOWN", 2)
    show_latest(uri)
    of_sweep = state(client, experiment, sweep_key(parent))
    assert of_sweep["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "harness.group"}]
    assert of_sweep["orderByKey"] == "metrics.`points/gap_test_accuracy`"
    assert not any("harness.row" in run.data.tags for run in client.search_runs([experiment]))


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
    assert grouped == [{"mode": "tag", "groupByData": "harness.row"}]
    named = {run.data.tags.get("harness.row", "").rstrip() for run in client.search_runs([first, second])}
    assert named == {"1 epochs=5", "2 epochs=6", ""}


def test_after_a_single_run_a_large_experiment_is_left_as_it_is(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    experiment = new_study(client, tmp_path)
    for place in range(3):
        record(client, experiment, "run", started=1_000 + place, metrics=scores(0.9, 0.8))
    show_experiment(open_store(uri), experiment, most=2)
    assert TAG + "harness-gap" not in client.get_experiment(experiment).tags
    show_experiment(open_store(uri), experiment, most=3)
    assert TAG + "harness-gap" in client.get_experiment(experiment).tags
