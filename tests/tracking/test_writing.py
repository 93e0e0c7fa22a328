"""A run in a real store, from its start to a state that is always recorded."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.models import Model
from sqlalchemy import event
from sqlalchemy.engine import Engine

from harness.errors import TakenOver, Terminated, TrainingError
from harness.records import RunState, Split
from harness.tracking import pending_writes
from harness.tracking.pending_writes import StoredRun, TrainedModel
from harness.tracking.provenance import code_state
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, RunWriter, tracked_run

IDENTITY = RunIdentity("a run", "study", overrides=("model=cnn", "seed=3"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that the tests here share; making one takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def uri(store: Path, project: Path) -> str:
    return f"sqlite:///{store / 'mlflow.db'}"


def read(uri: str, run_id: str) -> Run:
    return MlflowClient(uri).get_run(run_id)


def fail(uri: str, identity: RunIdentity, error: BaseException) -> str:
    """The id of a run that `error` ended, and that let it through."""
    ids = []

    def work() -> None:
        with tracked_run(open_store(uri), identity) as tracked:
            ids.append(tracked.run_id)
            raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    return ids[0]


def artifact(uri: str, run_id: str, name: str) -> str:
    return Path(MlflowClient(uri).download_artifacts(run_id, name)).read_text()


def test_a_block_that_ends_well_is_a_finished_run_with_its_log(uri: str, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with tracked_run(open_store(uri), IDENTITY, log) as tracked:
        assert read(uri, tracked.run_id).info.status == "RUNNING"
        log.write_text("all went well")
    run = read(uri, tracked.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a run")
    assert artifact(uri, tracked.run_id, "logs/run.log") == "all went well"
    assert "harness.error" not in run.data.tags


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (TrainingError("it broke"), "FAILED", "it broke"),
        (ZeroDivisionError(), "FAILED", "ZeroDivisionError"),
        (SystemExit(3), "FAILED", "3"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (Terminated(signal.SIGTERM), "KILLED", "It was asked to end (SIGTERM)."),
    ],
)
def test_whatever_ends_a_block_is_recorded_and_raised_again(
    uri: str, error: BaseException, state: str, message: str
) -> None:
    run_id = fail(uri, IDENTITY, error)
    run = read(uri, run_id)
    assert (run.info.status, run.data.tags["harness.error"]) == (state, message)
    assert run.data.tags["harness.error_type"] == type(error).__name__
    assert run.info.end_time is not None
    assert artifact(uri, run_id, "traceback.txt").startswith("Traceback (most recent call last)")


def test_no_password_reaches_the_store_whichever_way_it_came(
    uri: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "tracking.uri=http://ann:hush-hush@host"
    monkeypatch.setattr(sys, "orig_argv", ["python", "harness", "train", secret])
    identity = RunIdentity("a run", "study", overrides=(secret,), tags={"harness.note": secret})
    run_id = fail(uri, identity, TrainingError(f"no answer from {secret}"))
    files = [file for file in store.rglob("*") if file.is_file()]
    assert any(file.name == "traceback.txt" for file in files)
    assert [file for file in files if b"hush-hush" in file.read_bytes()] == []
    tags = read(uri, run_id).data.tags
    assert tags["harness.command"] == "harness train tracking.uri=http://host"
    assert tags["harness.overrides"] == "tracking.uri=http://host"


def test_a_run_has_the_commit_of_the_code_and_its_difference_wherever_the_project_lies(uri: str) -> None:
    with tracked_run(open_store(uri), IDENTITY) as tracked:
        pass
    code, tags = code_state(), read(uri, tracked.run_id).data.tags
    assert tags["harness.version"] == version("overfitting-harness")
    assert (tags["mlflow.source.git.commit"], tags["harness.source"]) == (code.commit, "checkout")
    names = {item.path for item in MlflowClient(uri).list_artifacts(tracked.run_id, "code")}
    assert names == {"code/packages.txt", *(["code/uncommitted.diff"] if code.diff else [])}


def test_epochs_are_in_the_store_as_they_end(uri: str) -> None:
    with tracked_run(open_store(uri), IDENTITY) as tracked:
        tracked.log_metrics({"train/loss": 2.0}, 1)
        assert read(uri, tracked.run_id).data.metrics == {"train/loss": 2.0}
        tracked.log_metrics({"train/loss": 1.0}, 2)
    history = MlflowClient(uri).get_metric_history(tracked.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]


def test_more_parameters_than_a_batch_takes_and_texts_beyond_the_limits_are_kept_as_far_as_they_go(uri: str) -> None:
    writer = RunWriter(open_store(uri), IDENTITY)
    writer.log_parameters({f"p{number}": number for number in range(230)} | {"long": "x" * 7000})
    writer.set_tags({"long": "y" * 9000})
    writer.end(RunState.FINISHED)
    run = read(uri, writer.run_id)
    assert len(run.data.params) == 231
    assert run.data.params["p229"] == "229"
    assert run.data.params["long"] == "x" * 6000
    assert run.data.tags["long"] == "y" * 5000


def test_a_dataset_is_known_by_what_is_in_it(uri: str) -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    split, other = Split(images, np.arange(4, dtype=np.uint8)), Split(images + 1, np.arange(4, dtype=np.uint8))
    with tracked_run(open_store(uri), IDENTITY) as tracked:
        tracked.log_datasets("tiny", {"train": split, "test": other}, "made here")
    first, second = read(uri, tracked.run_id).inputs.dataset_inputs
    assert (first.dataset.name, first.dataset.digest, first.tags[0].value) == ("tiny_train", split.digest, "training")
    assert second.dataset.digest == other.digest != split.digest


def test_the_scores_of_a_model_are_told_apart_by_the_images_that_they_evaluate(uri: str, tmp_path: Path) -> None:
    images = np.zeros((3, 4, 4), np.uint8)
    splits = {name: Split(images + number, np.zeros(3, np.uint8)) for number, name in enumerate(("train", "test"))}
    ours, others = (dict(splits), dict(splits, test=Split(images + 9, np.zeros(3, np.uint8))))
    models: list[LoggedModel] = []
    for given in (ours, others):
        begun = RunWriter(open_store(uri), RunIdentity("scored", "models"))
        folder = tmp_path / begun.run_id
        folder.mkdir()
        Model(flavors={"none": {"data": "weights"}}).save(str(folder / "MLmodel"))
        StoredRun(open_store(uri), begun.run_id, begun.experiment_id, 1).apply(TrainedModel(str(folder)))
        begun.end(RunState.FAILED)
        writer = RunWriter(open_store(uri), RunIdentity("scored", "models"), begun.run_id)
        writer.log_datasets("made", given, "made here")
        writer.log_metrics({
            "final/train_loss": 0.1, "final/fit_loss": 0.3, "final/test_loss": 0.2, "final/gap_test_loss": 0.1,
            "time/fit_seconds": 3.0,
        })  # fmt: skip
        writer.end(RunState.FINISHED)
        client, filtered = MlflowClient(uri), f"source_run_id = '{writer.run_id}'"
        models += client.search_logged_models([writer.experiment_id], filter_string=filtered)
    found = {metric.key: (metric.dataset_name, metric.dataset_digest) for metric in models[0].metrics}
    train, test = (("made_train", splits["train"].digest), ("made_test", splits["test"].digest))
    assert found == {
        "final/train_loss": train, "final/fit_loss": train, "final/test_loss": test, "final/gap_test_loss": test,
        "time/fit_seconds": (None, None),
    }  # fmt: skip

    def scored_on(split: Split) -> set[str]:
        wanted = [{"dataset_name": "made_test", "dataset_digest": split.digest}]
        experiment = models[0].experiment_id
        return {model.model_id for model in MlflowClient(uri).search_logged_models([experiment], datasets=wanted)}

    assert scored_on(ours["test"]) == {models[0].model_id}
    assert scored_on(others["test"]) == {models[1].model_id}


def test_runs_that_are_given_the_same_new_dataset_at_the_same_moment_all_record_it(uri: str) -> None:
    """MLflow looks for a dataset and then inserts it: of two that do so at once, the second meets the first's row."""
    split = Split(np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8))
    writers = [RunWriter(open_store(uri), RunIdentity(f"run {number}", "together")) for number in range(6)]
    start = threading.Barrier(len(writers))

    def log(writer: RunWriter) -> None:
        start.wait()
        writer.log_datasets("images", {"train": split}, "made here")

    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(log, writers))
    for writer in writers:
        run = read(uri, writer.run_id)
        assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["images_train"]


def test_tables_are_what_mlflow_reads_as_tables(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # a client's `load_table` searches there, whatever its own store
    with tracked_run(open_store(uri), IDENTITY) as tracked:
        tracked.log_table("scores.json", {"class": ["Müsli", "boot"], "f1": [0.25, math.nan], "support": [3, 4]})
        tracked.log_table("other.json", {"x": [1.5]})
    client = MlflowClient(uri)
    read_back = client.load_table(tracked.experiment_id, "scores.json", run_ids=[tracked.run_id])
    assert read_back["class"].tolist() == ["Müsli", "boot"]
    assert read_back["f1"].tolist() == pytest.approx([0.25, math.nan], nan_ok=True)
    assert read_back["support"].tolist() == [3, 4]
    listed = json.loads(read(uri, tracked.run_id).data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": "scores.json", "type": "table"}, {"path": "other.json", "type": "table"}]


def test_a_child_belongs_to_its_parent(uri: str) -> None:
    parent = RunWriter(open_store(uri), RunIdentity("sweep", "study", tags={"harness.kind": "sweep"}))
    child = RunWriter(open_store(uri), RunIdentity("child", "study", parent_id=parent.run_id))
    assert read(uri, child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    assert read(uri, parent.run_id).data.tags["harness.kind"] == "sweep"
    assert read(uri, child.run_id).data.tags["harness.kind"] == "run"


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_in_the_middle_of_a_write_waits_for_its_end_and_the_run_is_killed(
    uri: str, number: signal.Signals, kind: type[BaseException]
) -> None:
    def handler(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(number) if kind is Terminated else kind

    def interrupt(*details: Any) -> None:
        if "INSERT INTO metrics" in details[2]:
            signal.raise_signal(number)

    ids = []

    def work() -> None:
        with tracked_run(open_store(uri), IDENTITY) as tracked:
            ids.append(tracked.run_id)
            event.listen(Engine, "after_cursor_execute", interrupt)
            try:
                tracked.log_metrics({"train/loss": 2.0}, 1)
            finally:
                event.remove(Engine, "after_cursor_execute", interrupt)

    usual = signal.signal(number, handler)
    try:
        with pytest.raises(kind):
            work()
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, usual)
    run = read(uri, ids[0])
    assert run.info.status == "KILLED"
    assert run.data.metrics == {"train/loss": 2.0}


def test_who_wakes_when_another_goes_on_with_the_run_writes_nothing_more_into_it(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep_and_wake(error: BaseException | None) -> None:
        with tracked_run(open_store(uri), IDENTITY) as sleeper:
            ids.append(sleeper.run_id)
            sleeper.log_metrics({"fit/loss": 1.0}, 1)
            other = RunWriter(open_store(uri), IDENTITY, sleeper.run_id)
            other.log_metrics({"fit/loss": 0.5}, 2)
            other.end(RunState.FINISHED)
            monkeypatch.setattr(pending_writes, "OURS_SECONDS", 0.0)  # as after a sleep of more than that
            if error is not None:
                raise error
            sleeper.log_metrics({"fit/loss": 0.25}, 2)

    ids: list[str] = []
    for error in (None, KeyboardInterrupt(), TrainingError("broken")):
        # A stop stays one: else an in-process launcher would begin the next run of a sweep that is another's now.
        interrupted = isinstance(error, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt if interrupted else TakenOver) as raised:
            sleep_and_wake(error)
        assert interrupted or "try 2; this was try 1" in str(raised.value)
        monkeypatch.undo()
        run = read(uri, ids[-1])
        assert run.info.status == "FINISHED"
        assert "harness.error" not in run.data.tags
        assert [point.value for point in MlflowClient(uri).get_metric_history(ids[-1], "fit/loss")] == [1.0, 0.5]
