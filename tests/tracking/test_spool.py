"""What a run writes while its store cannot be used: kept, and in the store once, in whatever order things break."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from harness.cli import main
from harness.errors import NotInStore, StoreError
from harness.records import RunState
from harness.tracking.outbox import Outbox
from harness.tracking.pending_writes import (
    Datasets,
    File,
    Metrics,
    Operation,
    Parameters,
    Tags,
    Text,
    TrainedModel,
    from_json,
)
from harness.tracking.spool import Origin, Spool, find_spools, held, places
from harness.tracking.store import open_store
from harness.tracking.sync import upload_before, upload_spools


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that the tests here share; making one takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def origin(store: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """A new run, RUNNING, of a project whose folder for temporary files is its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    uri = f"sqlite:///{store / 'mlflow.db'}"
    experiment = open_store(uri).ensure_experiment("study")
    run = MlflowClient(uri).create_run(experiment, run_name="a run")
    return Origin(uri, run.info.run_id, "a run", experiment)


GIVEN = {"test": {"dataset_name": "tiny_test", "dataset_digest": "d2"}}


@contextmanager
def away(store: Path) -> Iterator[None]:
    """The database is somewhere else: SQLite refuses to write to a file that was moved."""
    database, aside = store / "mlflow.db", store / "aside.db"
    database.rename(aside)
    try:
        yield
    finally:
        aside.rename(database)


def everything(folder: Path) -> list[Operation]:
    """What a run writes from its second epoch on."""
    model, log = folder / "model", folder / "run.log"
    model.mkdir()
    Model(flavors={"none": {"data": "weights"}}).save(str(model / "MLmodel"))
    (model / "weights").write_bytes(b"\x00\x01")
    log.write_text("it went on")
    described = {
        "name": "tiny",
        "digest": "d1",
        "source_type": "local",
        "source": "{}",
        "schema": "{}",
        "profile": "{}",
    }
    return [
        Metrics({"train/loss": 0.5, "train/odd": math.nan}, 2, 2000),
        Metrics({"train/loss": 0.25}, 3, 3000),
        Parameters({"seed": "3"}),
        Tags({"harness.engine": "keras"}),
        Datasets((described,), ("training",)),
        TrainedModel(str(model)),
        Text("notes/über.txt", "zwei\nZeilen\n"),
        File(str(log), "logs"),
        Metrics({"final/test_accuracy": 0.75}, 0, 4000, of_model=True, datasets=GIVEN),
    ]


def in_store(origin: Origin) -> dict[str, object]:
    """All that the store has of a run, as plain data."""
    client = MlflowClient(origin.uri)
    run = client.get_run(origin.run_id)
    models = client.search_logged_models([origin.experiment_id], filter_string=f"source_run_id = '{origin.run_id}'")
    history = {
        key: [(point.step, repr(point.value)) for point in client.get_metric_history(origin.run_id, key)]
        for key in run.data.metrics
    }
    files = [
        *client.list_artifacts(origin.run_id, "notes"),
        *client.list_artifacts(origin.run_id, "logs"),
    ]
    return {
        "status": (run.info.status, run.info.end_time),
        "history": history,
        "params": run.data.params,
        "engine": run.data.tags.get("harness.engine"),
        "inputs": [(item.dataset.name, item.tags[0].value) for item in run.inputs.dataset_inputs],
        "outputs": len(run.outputs.model_outputs) if run.outputs else 0,
        "models": [
            (
                model.status,
                [(metric.key, metric.step, metric.value, metric.dataset_name) for metric in model.metrics or []],
            )
            for model in models
        ],
        "files": {
            item.path: Path(client.download_artifacts(origin.run_id, item.path)).read_text()
            for item in sorted(files, key=lambda item: item.path)
        },
    }


EXPECTED = {
    "status": ("FINISHED", 5000),
    "history": {
        "train/loss": [(1, "1.0"), (2, "0.5"), (3, "0.25")],
        "train/odd": [(2, "nan")],
        "final/test_accuracy": [(0, "0.75")],
    },
    "params": {"seed": "3"},
    "engine": "keras",
    "inputs": [("tiny", "training")],
    "outputs": 1,
    "models": [("READY", [("final/test_accuracy", 0, 0.75, "tiny_test")])],
    "files": {"logs/run.log": "it went on", "notes/über.txt": "zwei\nZeilen\n"},
}


def spooled(origin: Origin, store: Path, folder: Path) -> Outbox:
    """A run whose store went away after the first epoch and stays away beyond its end."""
    delivery = Outbox(origin)
    delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))
    with away(store):
        for operation in everything(folder):
            delivery.put(operation)
        with pytest.raises(NotInStore, match=r"not all of its results are in the store.*\n.*harness sync"):
            delivery.end(RunState.FINISHED, 5000)
    return delivery


def sync(origin: Origin) -> None:
    (spools,) = find_spools(origin.run_id).values()
    with held(spools) as ours:
        assert ours
        upload_spools(spools)


def test_a_run_whose_store_never_fails_has_no_spool(origin: Origin, project: Path, tmp_path: Path) -> None:
    delivery = Outbox(origin)
    delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))
    for operation in everything(tmp_path):
        delivery.put(operation)
    delivery.end(RunState.FINISHED, 5000)
    assert in_store(origin) == EXPECTED
    assert not any(place.exists() for place in places())


def test_what_was_kept_is_in_the_store_after_the_sync_as_if_it_had_never_been_away(
    origin: Origin, store: Path, tmp_path: Path
) -> None:
    spooled(origin, store, tmp_path)
    assert in_store(origin)["history"] == {"train/loss": [(1, "1.0")]}
    shutil.rmtree(tmp_path / "model")  # the spool has a copy of its own
    (tmp_path / "run.log").unlink()
    sync(origin)
    assert in_store(origin) == EXPECTED
    assert not any(place.exists() for place in places())


def test_a_journal_that_is_replayed_again_from_any_place_doubles_nothing(
    origin: Origin, store: Path, project: Path, tmp_path: Path
) -> None:
    """A sync that is killed between writing and marking leaves the store ahead of `done`."""
    spooled(origin, store, tmp_path)
    folder, copy = project / "spool" / origin.run_id, tmp_path / "copy"
    shutil.copytree(folder, copy)
    sync(origin)
    for done in (0, 3, 5, 6, 8):
        shutil.copytree(copy, folder)
        (folder / "done").write_text(f"{done}\n")
        sync(origin)
        assert in_store(origin) == EXPECTED, done


def test_an_epoch_that_was_written_though_its_answer_was_lost_is_in_the_store_once(
    origin: Origin, project: Path
) -> None:
    written = Metrics({"train/loss": 1.0, "train/accuracy": 0.5}, 1, 1000)
    Outbox(origin).put(written)
    spool = Spool.create(project / "spool", origin, 1)
    spool.append(written)
    spool.append(Metrics({"train/loss": 9.0}, 1, 1001))  # the same step, measured again by a second try
    spool.lock.release()
    sync(origin)
    assert in_store(origin)["history"] == {"train/loss": [(1, "1.0")], "train/accuracy": [(1, "0.5")]}


def test_scores_that_a_killed_sync_had_written_for_the_run_but_not_for_its_model_are_completed(
    origin: Origin, project: Path, tmp_path: Path
) -> None:
    model = next(item for item in everything(tmp_path) if isinstance(item, TrainedModel))
    Outbox(origin).put(model)
    scores = Metrics({"final/test_accuracy": 0.75}, 0, 4000)
    Outbox(origin).put(scores)
    spool = Spool.create(project / "spool", origin, 1)
    spool.append(Metrics(scores.values, 0, 4000, of_model=True, datasets=GIVEN))
    spool.lock.release()
    sync(origin)
    found = in_store(origin)
    assert found["history"] == {"final/test_accuracy": [(0, "0.75")]}
    assert found["models"] == [("READY", [("final/test_accuracy", 0, 0.75, "tiny_test")])]


def test_a_store_that_is_back_at_the_end_has_everything_and_the_run_is_no_failure(
    origin: Origin, store: Path, tmp_path: Path
) -> None:
    delivery = Outbox(origin)
    delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))
    with away(store):
        for operation in everything(tmp_path):
            delivery.put(operation)
    delivery.end(RunState.FINISHED, 5000)
    assert in_store(origin) == EXPECTED
    assert not any(place.exists() for place in places())


def test_a_spool_that_another_try_has_made_needless_is_not_said_to_be_in_the_store(
    origin: Origin, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Outbox(origin)
    with away(store):
        delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))
    client = MlflowClient(origin.uri)
    client.set_tag(origin.run_id, "harness.tries", "2")
    client.set_terminated(origin.run_id, "FINISHED")
    delivery.end(RunState.FINISHED, 5000)
    assert "not needed" in caplog.text
    assert "was uploaded" not in caplog.text


def test_a_run_that_failed_keeps_its_own_error(origin: Origin, store: Path) -> None:
    delivery = Outbox(origin)
    with away(store):
        delivery.put(Tags({"harness.error": "the loss became nan"}))
        delivery.end(RunState.FAILED, 5000)
    sync(origin)
    assert in_store(origin)["status"] == ("FAILED", 5000)
    assert MlflowClient(origin.uri).get_run(origin.run_id).data.tags["harness.error"] == "the loss became nan"


def test_a_run_that_was_taken_for_dead_meanwhile_is_cleared(origin: Origin, store: Path, tmp_path: Path) -> None:
    spooled(origin, store, tmp_path)
    client = MlflowClient(origin.uri)
    client.set_tag(origin.run_id, "harness.error", "Its process ended before the job did.")
    client.set_terminated(origin.run_id, "FAILED")
    sync(origin)
    assert in_store(origin) == EXPECTED
    assert "harness.error" not in client.get_run(origin.run_id).data.tags


def test_where_the_projects_folder_cannot_be_written_the_temporary_one_takes_the_spool(
    origin: Origin, store: Path, project: Path, tmp_path: Path
) -> None:
    (project / "spool").write_text("in the way")
    spooled(origin, store, tmp_path)
    (spools,) = find_spools(origin.run_id).values()
    assert [spool.folder.parent for spool in spools] == [places()[1]]
    assert places()[1].is_relative_to(tmp_path / "temporary")
    sync(origin)
    assert in_store(origin) == EXPECTED


def test_a_spool_that_can_no_longer_be_written_goes_on_in_the_next_place_and_comes_home_in_order(
    origin: Origin, store: Path, project: Path, tmp_path: Path
) -> None:
    delivery = Outbox(origin)
    delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))
    first, *others = everything(tmp_path)
    with away(store):
        delivery.put(first)
        journal = project / "spool" / origin.run_id / "journal.jsonl"
        journal.rename(journal.with_suffix(".kept"))
        for operation in others:
            delivery.put(operation)
        with pytest.raises(NotInStore):
            delivery.end(RunState.FINISHED, 5000)
    journal.with_suffix(".kept").rename(journal)
    (spools,) = find_spools(origin.run_id).values()
    assert [(spool.part, len(list(spool.operations()))) for spool in spools] == [(1, 1), (2, 9)]
    sync(origin)
    assert in_store(origin) == EXPECTED


def test_where_nothing_can_be_written_all_reasons_are_told(
    origin: Origin, store: Path, project: Path, tmp_path: Path
) -> None:
    (project / "spool").write_text("in the way")
    (tmp_path / "temporary").rmdir()
    (tmp_path / "temporary").write_text("in the way")
    delivery = Outbox(origin)
    with (
        away(store),
        pytest.raises(StoreError, match=r"readonly database(.|\n)*File exists; .*Not a directory(.|\n)*TMPDIR"),
    ):
        delivery.put(Metrics({"train/loss": 1.0}, 1, 1000))


def test_what_the_store_refuses_is_an_error_and_not_kept(origin: Origin) -> None:
    delivery = Outbox(origin)
    delivery.put(Parameters({"seed": "3"}))
    with pytest.raises(StoreError, match="seed"):
        delivery.put(Parameters({"seed": "4"}))
    assert not any(place.exists() for place in places())


def test_a_line_that_its_writer_did_not_live_to_end_is_none_and_is_overwritten_by_the_next_try(
    origin: Origin, project: Path
) -> None:
    spool = Spool.create(project / "spool", origin, 1)
    spool.append(Metrics({"train/loss": 1.0}, 1, 1000))
    spool.lock.release()
    with (spool.folder / "journal.jsonl").open("a") as journal:
        journal.write('{"kind": "Metrics", "values": {' + '"loss": 1.0, ' * 50)
    assert len(list(Spool(spool.folder).operations())) == 1
    again = Spool.create(project / "spool", origin, 1)
    again.append(Metrics({"train/loss": 0.5}, 2, 2000))
    again.lock.release()
    sync(origin)
    assert in_store(origin)["history"] == {"train/loss": [(1, "1.0"), (2, "0.5")]}
    assert in_store(origin)["status"] == ("RUNNING", None), "how it ended is not known"


def test_a_spool_that_its_run_still_writes_is_nobody_elses(origin: Origin, project: Path) -> None:
    spool = Spool.create(project / "spool", origin, 1)
    (spools,) = find_spools().values()
    with held(spools) as ours:
        assert not ours
    spool.lock.release()
    with held(spools) as ours, held(next(iter(find_spools().values()))) as also:
        assert (ours, also) == (True, False)


def test_a_spool_that_was_brought_home_while_we_waited_for_it_is_nobodys(origin: Origin, project: Path) -> None:
    Spool.create(project / "spool", origin, 1).lock.release()
    (spools,) = find_spools().values()
    sync(origin)
    with held(spools) as ours:
        assert not ours
    assert not spools[0].folder.exists()


def test_a_run_that_goes_on_first_brings_home_what_it_kept_and_does_not_end(
    origin: Origin, store: Path, tmp_path: Path
) -> None:
    spooled(origin, store, tmp_path)
    upload_before(origin.store, origin.run_id)
    assert in_store(origin) == EXPECTED | {"status": ("RUNNING", None)}
    assert find_spools() == {}


def test_others_can_neither_read_nor_replace_a_spool(
    origin: Origin, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the store, which may hold a password, is in it."""
    spool = Spool.create(project / "spool", origin, 1)
    spool.lock.release()
    assert [folder.stat().st_mode & 0o077 for folder in (spool.folder, spool.folder.parent)] == [0, 0]
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        Spool.create(project / "spool", origin, 1)


def test_a_damaged_spool_is_named(origin: Origin, project: Path) -> None:
    spool = Spool.create(project / "spool", origin, 1)
    spool.lock.release()
    (spool.folder / "journal.jsonl").write_text("no JSON\n")
    with pytest.raises(StoreError, match=f"{spool.folder} cannot be read"):
        find_spools()


def test_a_store_that_is_not_there_is_not_made_anew(origin: Origin, store: Path, tmp_path: Path) -> None:
    spooled(origin, store, tmp_path)
    with away(store):
        with pytest.raises(StoreError, match=r"does not exist\. Bring it back"):
            sync(origin)
        assert not (store / "mlflow.db").exists()
    sync(origin)
    assert in_store(origin) == EXPECTED


@pytest.mark.parametrize(("state", "home"), [("FINISHED", False), ("KILLED", True), ("RUNNING", False)])
def test_what_a_try_kept_is_needed_only_where_no_later_one_has_done_the_work(
    origin: Origin, store: Path, state: str, home: bool
) -> None:
    delivery = Outbox(origin)
    with away(store):
        delivery.put(Metrics({"train/loss": 0.5}, 1, 1000))
    client = MlflowClient(origin.uri)
    client.set_tag(origin.run_id, "harness.tries", "2")
    client.log_metric(origin.run_id, "train/loss", 0.75, step=2)
    client.update_run(origin.run_id, status=state)
    spools = find_spools(origin.run_id)[origin.run_id]
    if state == "RUNNING":
        with pytest.raises(StoreError, match="another process"):
            upload_spools(spools)
        assert find_spools(origin.run_id)
    else:
        assert upload_spools(spools).elsewhere == (not home)
        assert not find_spools(origin.run_id)
    steps = {point.step for point in client.get_metric_history(origin.run_id, "train/loss")}
    assert steps == ({1, 2} if home else {2})
    assert client.get_run(origin.run_id).info.status == state


def test_metrics_that_an_earlier_version_kept_are_read(tmp_path: Path) -> None:
    entry = {"kind": "Metrics", "values": {"train/loss": 0.5}, "step": 2, "time": 2000, "of_model": False}
    assert from_json(entry, tmp_path) == Metrics({"train/loss": 0.5}, 2, 2000)


def planted(place: Path, origin: Origin, path: str) -> Path:
    """A spool as somebody else might make one in a folder that everybody can write into."""
    place.mkdir(parents=True, mode=0o700, exist_ok=True)
    spool = Spool.create(place, origin, 1)
    spool.lock.release()
    with (spool.folder / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps({"kind": "File", "path": path, "folder": None}) + "\n")
    return spool.folder


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("how", ["open", "another user's", "a link"])
def test_a_spool_that_others_could_have_planted_is_left_alone(
    origin: Origin, level: int, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "private.txt"
    private.write_text("hush")
    folder = planted(places()[1], origin, str(private))
    target = [folder, *folder.parents][level]
    if how == "open":
        target.chmod(0o777)
    elif how == "a link":
        target.rename(tmp_path / "aside")
        target.symlink_to(tmp_path / "aside")
    else:
        if os.getuid():
            pytest.skip("only root can give a folder to somebody else")
        os.chown(target, 12345, 12345)
    assert find_spools() == {}
    assert main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to do")
    upload_before(origin.store, origin.run_id)
    assert MlflowClient(origin.uri).list_artifacts(origin.run_id) == []
    with pytest.raises(OSError, match=r"belongs to another user|is a link|others may") as caught:
        Spool.create(places()[1], origin, 1)
    assert str(target) in str(caught.value)


@pytest.mark.parametrize("path", ["{private}", "../../../private.txt", "files/link", "files/model"])
def test_an_operation_that_names_a_file_outside_its_spool_uploads_nothing(
    origin: Origin, path: str, tmp_path: Path, project: Path
) -> None:
    private = tmp_path / "private.txt"
    private.write_text("hush")
    folder = planted(project / "spool", origin, path.format(private=private))
    (folder / "files" / "model").mkdir(parents=True)
    for link in (folder / "files" / "link", folder / "files" / "model" / "MLmodel"):
        link.symlink_to(private)
    [spools] = find_spools().values()
    with held(spools), pytest.raises(StoreError, match="names a file outside of it"):
        upload_spools(spools)
    assert MlflowClient(origin.uri).list_artifacts(origin.run_id) == []


def test_a_spool_that_calls_itself_another_run_is_refused(origin: Origin, project: Path) -> None:
    folder = planted(project / "spool", origin, "files/a")
    folder.rename(folder.with_name("f" * 32))
    with pytest.raises(StoreError, match="says that it is of the run"):
        find_spools()
