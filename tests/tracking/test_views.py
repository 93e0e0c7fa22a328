from __future__ import annotations

import base64
import json
import logging
import zlib
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking import views
from harness.tracking.reading import experiment_tags
from harness.tracking.store import Store, open_store
from harness.tracking.view_states import Subject, gap_and_curves, gap_chart, settings_chart
from harness.tracking.views import MOST_SWEEPS, View, named_view, sweep_key, write_views
from tests.tracking.stores import new_client, new_study

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

METRICS = frozenset({
    "final/train_accuracy", "final/val_accuracy", "final/test_accuracy", "final/gap_val_accuracy",
    "final/gap_test_accuracy", "final/gap_val_loss", "train/loss", "val/loss", "gap/loss", "best/epoch",
})  # fmt: skip
SUBJECT = Subject("tags.a = 'b'", ("model.name",), METRICS, "val", (("tag", "harness.group"),), 4)


def view(key: str = "harness-gap", created: int = 1) -> View:
    return View(key, "Gap", created, gap_chart(SUBJECT))


@pytest.fixture
def study(tmp_path: Path) -> tuple[str, MlflowClient, str]:
    uri, client = new_client(tmp_path)
    return uri, client, new_study(client, tmp_path)


def test_a_view_is_written_as_the_page_reads_it() -> None:
    envelope = json.loads(named_view(view()))
    assert (envelope["name"], envelope["createdAt"]) == ("Gap", 1)
    head, _, packed = envelope["state"].partition(";")
    assert head == "deflate"
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == gap_chart(SUBJECT)


def test_only_what_changed_is_written(study: tuple[str, MlflowClient, str], monkeypatch: pytest.MonkeyPatch) -> None:
    uri, client, experiment = study
    assert write_views(open_store(uri), experiment, [view()])
    assert experiment_tags(open_store(uri), experiment) == client.get_experiment(experiment).tags
    failing = property(lambda store: pytest.fail("an unchanged view was written again"))
    monkeypatch.setattr(Store, "client", failing)
    assert write_views(open_store(uri), experiment, [view()])


def test_a_page_that_is_not_known_is_left_alone(
    study: tuple[str, MlflowClient, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri, client, experiment = study
    monkeypatch.setattr(views, "page_version", lambda uri: "4.0.1")
    with caplog.at_level(logging.INFO):
        assert not write_views(open_store(uri), experiment, [view()])
    assert "4.0.1" in caplog.text
    assert not [key for key in client.get_experiment(experiment).tags if key.startswith(views.TAG)]


def test_views_of_the_oldest_sweeps_go_and_those_of_people_stay(study: tuple[str, MlflowClient, str]) -> None:
    uri, client, experiment = study
    client.set_experiment_tag(experiment, f"{views.TAG}mine", "{}")
    write_views(open_store(uri), experiment, [view()])
    for number in range(MOST_SWEEPS + 2):
        write_views(open_store(uri), experiment, [view(sweep_key(f"{number:02}"), created=number + 2)])
    kept = {key.removeprefix(views.TAG) for key in client.get_experiment(experiment).tags}
    assert {"mine", "harness-gap", sweep_key("02"), sweep_key(f"{MOST_SWEEPS + 1:02}")} <= kept
    assert not {sweep_key("00"), sweep_key("01")} & kept


def test_gaps_come_first_and_other_metrics_are_folded_below() -> None:
    state = gap_and_curves(SUBJECT)
    assert [(section["name"], section["display"]) for section in state["compareRunSections"]] == [
        ("Overfitting gap", True), ("Learning curves", True),
        ("best", False), ("final", False), ("gap", False), ("train", False), ("val", False),
    ]  # fmt: skip
    assert [card["metricKey"] for card in state["compareRunCharts"]] == [
        "final/gap_val_accuracy", "final/gap_test_accuracy", "final/gap_val_loss", "train/loss", "gap/loss",
    ]  # fmt: skip
    assert state["columnOrder"][2:] == state["selectedColumns"]
    assert state["selectedColumns"][0] == "metrics.`final/gap_val_accuracy`"
    assert state["selectedColumns"][-2:] == ["params.`model.name`", "params.`seed`"]


def test_runs_without_validation_are_ranked_by_test() -> None:
    metrics = frozenset({"final/train_accuracy", "final/test_accuracy", "final/gap_test_accuracy"})
    state = gap_chart(Subject("", ("model.name",), metrics, "test", (), 4))
    assert state["orderByKey"] == "metrics.`final/gap_test_accuracy`"
    assert [card["metricKey"] for card in state["compareRunCharts"]] == ["final/gap_test_accuracy"]


def test_parallel_coordinates_are_of_single_runs() -> None:
    state = settings_chart(SUBJECT)
    [card] = state["compareRunCharts"]
    assert state["groupBy"] is None
    assert (card["selectedParams"], card["selectedMetrics"]) == (["model.name"], ["final/gap_val_accuracy"])
