"""A store copied into another one: complete, once, also after an interruption; what names a run names its copy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness import cli
from harness.errors import OutsideStore
from harness.records import RunState
from harness.tracking.copying import COPY_TAG, copy_store
from harness.tracking.outbox import Outbox
from harness.tracking.spool import Origin
from harness.tracking.store import Store, open_store
from harness.tracking.writing import RunIdentity, RunWriter
from tests.tracking.test_spool import everything


@pytest.fixture
def stores(project: Path, tmp_path: Path) -> tuple[Store, Store]:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    return open_store(f"sqlite:///{tmp_path}/from/mlflow.db"), open_store(f"sqlite:///{tmp_path}/to/mlflow.db")


def fill(store: Store, folder: Path) -> tuple[str, str]:
    """A sweep of one run with all that a run has. Returns the ids of both."""
    parent = RunWriter(store, RunIdentity("a sweep", "study", tags={"harness.kind": "sweep"}))
    child = RunWriter(store, RunIdentity("a run", "study", parent_id=parent.run_id))
    outbox = Outbox(Origin(store.uri, child.run_id, "a run", child.experiment_id))
    for operation in everything(folder):
        outbox.put(operation)
    parent.set_tags({f"harness.reused.{child.run_id}": f"3 {child.run_id}"})
    parent.log_parameters({"claim.1": "c" * 32, "start": f"run:{child.run_id}"})
    child.end(RunState.FINISHED)
    parent.end(RunState.FAILED)
    return parent.run_id, child.run_id


def contents(store: Store, run_id: str) -> dict[str, object]:
    client = MlflowClient(store.uri)
    run = client.get_run(run_id)
    [model] = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'") or [None]
    points = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
    return {
        "run": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.data.params),
        "points": {
            key: [(point.step, str(point.value), point.timestamp) for point in some] for key, some in points.items()
        },
        "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("harness.copy")}
        | {"mlflow.parentRunId": ""},
        "datasets": [(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs],
        "files": {
            name: Path(client.download_artifacts(run_id, name)).read_bytes()
            for name in ("notes/über.txt", "logs/run.log")
        },
        "model": model and (
            model.name, str(model.status),
            [(one.key, one.step, one.value, one.dataset_digest) for one in model.metrics],
            (Path(client.download_artifacts(run_id, "")).is_dir(), len(run.outputs.model_outputs)),
        ),
    }  # fmt: skip


def test_an_interrupted_copy_is_continued_and_every_run_is_there_once_and_complete(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = stores
    parent, child = fill(source, tmp_path)
    running = RunWriter(source, RunIdentity("not yet", "study"))
    usual, begun = MlflowClient.set_terminated, list[object]()

    def interrupted(*arguments: Any) -> None:
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        usual(*arguments)

    monkeypatch.setattr(MlflowClient, "set_terminated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy_store(source, target, print)
    monkeypatch.undo()
    done = copy_store(source, target, print)
    assert (done.runs, done.there, done.experiments) == (1, 1, 1)
    assert done.left_out == ["1 runs of study that are RUNNING: copy again when they have ended"]
    running.end(RunState.KILLED)
    assert cli.main(["store", "copy", source.uri, target.uri]) == 0
    assert "Copied 1 runs of 1 experiments" in (said := capsys.readouterr().out)
    assert "2 were there already" in said
    client = MlflowClient(target.uri)
    copies = {run.data.tags[COPY_TAG]: run for run in client.search_runs(["1"])}
    assert set(copies) == {parent, child, running.run_id}
    assert len(client.search_runs(["1"])) == 3
    first, second = copies[parent], copies[child].info.run_id
    assert contents(target, second) == contents(source, child)
    assert copies[child].data.tags["mlflow.parentRunId"] == first.info.run_id
    assert first.data.tags[f"harness.reused.{second}"] == f"3 {second}"
    assert first.data.params == {"claim.1": "c" * 32, "start": f"run:{second}"}
    assert math.isnan(copies[child].data.metrics["train/odd"])


def test_a_link_among_the_artifacts_is_not_copied(stores: tuple[Store, Store], tmp_path: Path) -> None:
    source, target = stores
    run = RunWriter(source, RunIdentity("a run", "study"))
    run.log_text("a.txt", "a")
    run.end(RunState.FINISHED)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    place = next((tmp_path / "from").glob("mlruns/*/*/artifacts"))
    (place / "b.txt").symlink_to(secret)
    with pytest.raises(OutsideStore, match=r"b\.txt"):
        copy_store(source, target, print)


def test_a_store_is_not_copied_to_itself_and_must_exist(
    stores: tuple[Store, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = stores
    assert cli.main(["store", "copy", source.uri, source.uri]) == 2
    assert "cannot be copied to itself" in capsys.readouterr().err
    assert cli.main(["store", "copy", source.uri, target.uri]) == 2
    assert f"There is no store {source.database} yet" in capsys.readouterr().err
    assert target.is_missing
