from __future__ import annotations

import base64
import json
import logging
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking import views
from harness.tracking.reading import experiment_tags
from harness.tracking.store import Store, open_store
from harness.tracking.view_states import (
    APART,
    Subject,
    _colour,
    gap_and_curves,
    gap_chart,
    settings_chart,
    told_apart,
)
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


def test_names_that_have_room_below_a_chart_let_two_stand_side_by_side() -> None:
    def shown(rows: list[str]) -> tuple[int, list[list[str]]]:
        state = gap_and_curves(replace(SUBJECT, rows=rows))
        lines = [card["selectedMetricKeys"] for card in state["compareRunCharts"] if card["type"] == "LINE"]
        return state["compareRunSections"][0]["columns"], lines

    assert shown(["1 a", "2 b"]) == (2, [["train/loss", "val/loss"], ["gap/loss"]])
    assert shown([f"{rank} mlp_128_128 optimizer (underfit)" for rank in range(6)])[0] == 1
    assert shown([f"{rank} a" for rank in range(9)])[1] == [["train/loss"], ["val/loss"], ["gap/loss"]]
    heights = [gap_chart(replace(SUBJECT, rows=["a"] * n))["compareRunSections"][0]["cardHeight"] for n in (2, 12, 99)]
    assert heights == sorted(heights)
    assert heights[0] < heights[1] < heights[2] < 1000


def test_groups_have_colours_that_are_told_apart() -> None:
    names = [f"{rank:02} model optimizer" for rank in range(12)]
    padded = told_apart("harness.row", names)
    assert [name.rstrip() for name in padded] == names
    colours = [_colour(f"tag.harness.row.{name}") for name in padded]
    assert sorted(colours) == sorted(APART), "each of them once"
    assert len(set(told_apart("harness.row", [*names, "12 more"]))) == 13


def test_the_page_gives_a_group_the_colour_that_is_expected() -> None:
    """Seen on the page of MLflow 3.17."""
    assert _colour("tag.harness.group.mlp_128_128 sgd") == "#3ba65e"
    assert _colour("tag.harness.group.mlp_128 sgd") == "#8396a5"
    assert _colour("tag.harness.group.mlp_128 adam") == "#5f7281"
