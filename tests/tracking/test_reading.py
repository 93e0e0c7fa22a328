from __future__ import annotations

import logging
import math
import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RequestError, StoreError
from harness.records import RunRecord, RunState
from harness.tracking import reading
from harness.tracking.models import find_run, find_trained
from harness.tracking.reading import cached_reads, latest_run, latest_sweep, read_runs, read_series, resolve_run
from harness.tracking.store import open_store
from tests.tracking.stores import new_client, new_study, record, record_sweep, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

MINUTE = 60_000
START = 1_700_000_000_000
TODAY = {"data.train_digest": "4" * 32, "data.val_digest": "None", "data.test_digest": "5" * 32}


@dataclass(frozen=True)
class Store:
    uri: str
    file: Path
    ids: dict[str, str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two sweeps, loose runs of every state, what was deleted, and values that are hard to keep."""
    folder = tmp_path_factory.mktemp("a store, 100% real#")
    uri, client = new_client(folder)
    main, other, gone = (client.create_experiment(name) for name in ("main", "other", "gone"))
    ids = {}
    for number, swept in enumerate((["model"], ["model", "seed"])):
        parent = f"sweep{number}"
        begun = START + number * 10 * MINUTE
        ids[parent] = record_sweep(client, main, parent, started=begun, swept=swept)
        for seed in range(3):
            name = f"seed={seed}"
            ids[f"{parent} {name}"] = record(
                client, main, name, started=begun + seed * MINUTE, settings={"seed": seed, "model.hidden": [128, 64]},
                metrics=scores(0.9, 0.8), tags={"mlflow.parentRunId": ids[parent]},
            )  # fmt: skip
    ids["odd"] = record(
        client, other, "it's odd", started=START + 5 * MINUTE, state="FAILED",
        metrics={"final/test_loss": math.nan, "overfit/onset_epoch": math.inf, "model/parameters": -1e300},
    )  # fmt: skip
    ids["running"] = record(client, other, "running", started=START + 60 * MINUTE, state=None)
    ids["killed"] = record(client, other, "killed", started=START, state="KILLED")
    ids["deleted"] = record(client, main, "deleted", started=START + 99 * MINUTE)
    client.delete_run(ids["deleted"])
    ids["orphan"] = record(client, gone, "orphan", started=START + 99 * MINUTE)
    client.delete_experiment(gone)
    for step, value in enumerate((3.0, 2.0, 1.0)):
        client.log_metric(ids["running"], "fit/loss", value, step=step)
    client.set_tag(ids["running"], "empty", "")
    return Store(uri, folder / "mlflow.db", ids)


@pytest.fixture
def unknown_schema(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same store, read through the client because its version is taken for one that is not known."""
    monkeypatch.setattr("harness.tracking.sqlite_reader.KNOWN_SCHEMAS", frozenset({"0123456789ab"}))
    monkeypatch.chdir(tmp_path)
    return store.uri


def plain(run: RunRecord) -> dict[str, Any]:
    """A record in which NaN equals NaN."""
    metrics = {key: "nan" if math.isnan(value) else value for key, value in run.metrics.items()}
    return {**vars(run), "metrics": metrics, "parameters": dict(run.parameters), "tags": dict(run.tags)}


def test_sql_and_client_give_equal_records(store: Store, unknown_schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = store.ids["sweep1"]
    questions: list[dict[str, Any]] = [
        {"include_parents": True},
        {},
        {"experiment": "other"},
        {"parent_id": sweep},
        {"run_ids": [store.ids["odd"], store.ids["killed"]]},
        {"experiment": "main", "parent_id": sweep, "run_ids": [store.ids["sweep1 seed=2"], store.ids["odd"]]},
        {"run_ids": []},
    ]
    through_client = [[plain(run) for run in read_runs(open_store(store.uri), **question)] for question in questions]
    newest = [
        latest_sweep(open_store(store.uri)),
        latest_run(open_store(store.uri)),
    ]
    texts = ["it's odd", store.ids["odd"], store.ids["odd"][:12]]
    resolved = [resolve_run(open_store(store.uri), text).run_id for text in texts]
    asked = [store.ids["running"], store.ids["odd"]], ["fit/loss", "unknown"]
    series = read_series(open_store(store.uri), *asked)

    monkeypatch.undo()
    monkeypatch.setattr(reading, "_client_reader", lambda uri: pytest.fail("read through the client"))
    through_sql = [[plain(run) for run in read_runs(open_store(store.uri), **question)] for question in questions]

    assert through_sql == through_client
    assert [len(runs) for runs in through_sql] == [11, 9, 3, 3, 2, 1, 0]
    assert newest == [
        latest_sweep(open_store(store.uri)),
        latest_run(open_store(store.uri)),
    ]
    assert read_series(open_store(store.uri), *asked) == series
    assert series == {store.ids["running"]: {"fit/loss": {0: 3.0, 1: 2.0, 2: 1.0}}}
    assert resolved == [resolve_run(open_store(store.uri), text).run_id for text in texts] == [store.ids["odd"]] * 3


def test_an_unknown_schema_is_said_in_the_log(unknown_schema: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="harness.tracking.reading"):
        read_runs(open_store(unknown_schema), experiment="other")
    assert "not known here. Reading" in caplog.text
    assert "client" in caplog.text


def test_the_installed_mlflow_makes_a_schema_that_is_known(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    read_runs(open_store(store.uri))
    assert not caplog.records


def test_a_record_holds_what_was_written(store: Store) -> None:
    running, odd = (read_runs(open_store(store.uri), run_ids=[store.ids[name]])[0] for name in ("running", "odd"))
    assert (running.state, running.ended, running.metrics["fit/loss"]) == (RunState.RUNNING, None, 1.0)
    assert (running.experiment, running.name, running.tags["empty"]) == ("other", "running", "")
    assert running.parameters["regime.validation.strategy"] == "none"
    assert running.parameters["model.dropout"] == "0.0"
    assert running.started.timestamp() * 1000 == START + 60 * MINUTE
    assert math.isnan(odd.metrics["final/test_loss"])
    assert odd.metrics["model/parameters"] == -1e300
    assert odd.state is RunState.FAILED
    assert odd.ended is not None
    assert (odd.ended - odd.started).total_seconds() == 5


def test_runs_come_oldest_first_without_parents_and_deleted_ones(store: Store) -> None:
    runs = read_runs(open_store(store.uri))
    assert [run.started for run in runs] == sorted(run.started for run in runs)
    assert {run.run_id for run in runs}.isdisjoint(
        store.ids[name] for name in ("sweep0", "sweep1", "deleted", "orphan")
    )


def test_an_experiment_is_found_by_id_too(store: Store) -> None:
    identity = read_runs(open_store(store.uri), experiment="other")[0].experiment_id
    assert [run.name for run in read_runs(open_store(store.uri), experiment=identity)] == [
        "killed",
        "it's odd",
        "running",
    ]


@pytest.mark.parametrize("wanted", ["mian", "gone", "7"])
def test_an_experiment_that_is_not_there_is_refused_with_the_choices(store: Store, wanted: str) -> None:
    with pytest.raises(RequestError, match=f"'{wanted}'.*main, other"):
        read_runs(open_store(store.uri), experiment=wanted)


def test_a_run_id_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(RequestError, match=store.ids["deleted"]):
        read_runs(open_store(store.uri), run_ids=[store.ids["odd"], store.ids["deleted"]])


def test_the_latest_sweep_is_the_one_that_started_last(store: Store) -> None:
    found = latest_sweep(open_store(store.uri))
    assert found is not None
    assert found.run_id == store.ids["sweep1"]


def test_a_name_that_several_runs_have_lists_them_newest_first(store: Store) -> None:
    with pytest.raises(RequestError) as refusal:
        resolve_run(open_store(store.uri), "seed=1")
    lines = str(refusal.value).splitlines()
    assert "means 2 runs" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == [store.ids["sweep1 seed=1"], store.ids["sweep0 seed=1"]]


@pytest.mark.parametrize("text", ["runnning", "%", "_" * 32, "deleted", "orphan"])
def test_a_run_that_is_not_there_is_refused(store: Store, text: str) -> None:
    with pytest.raises(RequestError, match="No run in the store") as refusal:
        resolve_run(open_store(store.uri), text)
    assert ("Did you mean 'running'?" in str(refusal.value)) == (text == "runnning")


def test_an_empty_word_means_no_run(store: Store) -> None:
    with pytest.raises(RequestError, match="empty"):
        resolve_run(open_store(store.uri), " ")


def test_a_store_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no runs yet.*harness sweep"):
        read_runs(open_store(f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert not list(tmp_path.iterdir())


def test_reading_leaves_the_file_and_its_folder_as_they_were(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    shutil.copy(store.file, copy)
    before = copy.read_bytes()
    read_runs(open_store(f"sqlite:///{copy}"))
    assert copy.read_bytes() == before
    assert list(tmp_path.iterdir()) == [copy]


@pytest.mark.parametrize("content", [b"", b"no database " * 100])
def test_a_file_that_is_no_store_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"mlflow\.db (cannot be read|does not exist)"):
        read_runs(open_store(f"sqlite:///{file}"))


def test_a_store_can_be_read_while_a_run_is_written(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    shutil.copy(store.file, copy)
    with sqlite3.connect(copy) as writer:
        writer.execute("UPDATE runs SET name = 'half written'")
        names = {run.name for run in read_runs(open_store(f"sqlite:///{copy}"))}
        writer.rollback()
    writer.close()
    assert "half written" not in names
    assert "running" in names


@pytest.mark.parametrize("scheme", ["nosuchdatabase", "postgresql"])  # unknown to MLflow; its driver not installed
def test_another_kind_of_store_that_cannot_be_used_is_a_store_error(scheme: str) -> None:
    with pytest.raises(StoreError, match=f"store {scheme}://127.0.0.1/runs cannot be used"):
        read_runs(open_store(f"{scheme}://user:secret@127.0.0.1/runs"))


def test_reading_a_local_store_imports_no_mlflow(store: Store) -> None:
    program = (
        "import sys; from harness.tracking.reading import read_runs; from harness.tracking.store import open_store\n"
        f"assert len(read_runs(open_store({store.uri!r}))) == 9\n"
        "print(sorted({'mlflow', 'tensorflow', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_within_a_request_the_same_runs_are_read_once_and_nobody_is_locked_out(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = new_study(client, tmp_path)
    record(client, study, "first", started=START)
    opened, elsewhere = open_store(uri), []
    with cached_reads(opened):
        before = read_runs(opened)
        record(client, study, "second", started=START + MINUTE)  # would fail if a reader held its lock
        other = threading.Thread(target=lambda: elsewhere.extend(read_runs(opened)))
        other.start()
        other.join()
        assert read_runs(opened) == before
        assert resolve_run(opened, "second").name == "second"  # not asked for before
    assert [len(runs) for runs in (before, elsewhere, read_runs(opened))] == [1, 2, 2]


@pytest.mark.parametrize("named", [[], ["sweep1", "odd", "killed"]])
def test_a_command_opens_the_store_for_reading_once(store: Store, named: list[str]) -> None:
    arguments = ["compare", "--store", store.uri, *(store.ids[name] for name in named)]
    code = (
        "import sys; from harness.cli import main; opened = []\n"
        "sys.addaudithook(lambda event, given: opened.append(given) if event == 'sqlite3.connect' else None)\n"
        f"assert main({arguments!r}) == 0\n"
        "print(len(opened), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "1\n", done.stderr


def test_runs_of_an_earlier_version_have_their_digests_among_their_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have them as dataset inputs; both readers give one form."""
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    inputs = {"training": "1" * 32, "validation": "2" * 32, "testing": "3" * 32}
    validated = record(client, study, "validated", started=START, inputs=inputs)
    del inputs["validation"]
    unvalidated = record(client, study, "unvalidated", started=START + 1, inputs=inputs)
    recent = record(client, study, "recent", started=START + 2, inputs=inputs, settings=TODAY)
    failed = record(client, study, "failed", started=START + 3, state="FAILED")
    others = record(client, study, "theirs", started=START + 4, inputs=inputs, tags={"harness.kind": ""})

    def digests() -> dict[str, list[str | None]]:
        return {
            run.run_id: [run.parameters.get(f"data.{split}_digest") for split in ("train", "val", "test")]
            for run in read_runs(open_store(uri))
        }

    expected = {
        validated: ["1" * 32, "2" * 32, "3" * 32],
        unvalidated: ["1" * 32, "None", "3" * 32],
        recent: ["4" * 32, "None", "5" * 32],
        failed: [None, None, None],
        others: [None, None, None],
    }
    assert digests() == expected
    monkeypatch.setattr("harness.tracking.sqlite_reader.KNOWN_SCHEMAS", frozenset({"0123456789ab"}))
    assert digests() == expected, "through MLflow's client"


def test_the_latest_run_and_sweep_pass_over_what_confirms_rows(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = new_study(client, tmp_path)
    sweep = record_sweep(client, study, "sweep", started=START, swept=["seed"])
    newest = record(
        client, study, "newest", started=START + 1, metrics=scores(0.9, 0.7), tags={"mlflow.parentRunId": sweep}
    )
    confirming = record_sweep(client, study, "confirming", started=START + 2, swept=["seed"])
    client.set_tag(confirming, "harness.confirms", newest)
    for seed in range(2):
        tags = {"mlflow.parentRunId": confirming}
        record(client, study, f"seed={seed}", started=START + 3 + seed, metrics=scores(0.9, 0.8), tags=tags)
    store = open_store(uri)
    for found, wanted in ((latest_run(store), newest), (latest_sweep(store), sweep)):
        assert found is not None
        assert found.run_id == wanted
    assert (find_run(store, "latest").run_id, find_trained(store, "latest").run_id) == (sweep, newest)
    assert find_run(store, "best").run_id == newest
    client.delete_run(newest)
    client.delete_run(sweep)
    assert (latest_run(store), latest_sweep(store)) == (None, None)
