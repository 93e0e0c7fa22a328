"""Which store, and making it ready: by one process or by many at once, with clear words when it cannot be."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import RequestError, StoreError
from harness.tracking import access
from harness.tracking.access import shown_uri
from harness.tracking.models import run_artifact
from harness.tracking.reading import read_runs
from harness.tracking.store import EXPERIMENT_TAGS, Store, open_store
from harness.tracking.writing import RunIdentity, tracked_run
from tests.integration.mounts import read_only


def uri_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def test_the_setting_comes_before_the_environment_and_that_before_the_projects_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_store().uri == uri_in(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://one.example")
    assert open_store().uri == "https://one.example"
    assert open_store("https://two.example").uri == "https://two.example"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:hush@host:5000/path", "http://host:5000/path"),
        ("postgresql+psycopg2://ann:hu@sh@host/db", "postgresql+psycopg2://host/db"),
        ("asked http://ann:hush@one, then http://hush@two", "asked http://one, then http://two"),
        ("tracking.uri=postgresql://ann:hu/sh/x@host/db seed=1", "tracking.uri=postgresql://host/db seed=1"),
        ("postgresql://host/db?password=hu/sh&user=ann", "postgresql://host/db?password=***&user=ann"),
        ("'mysql://host/db?ssl=1&passwd=hush' seed=1", "'mysql://host/db?ssl=1&passwd=***' seed=1"),
        ("mssql+pyodbc://host/db?driver=x;PWD=hush;a=1", "mssql+pyodbc://host/db?driver=x;PWD=***;a=1"),
        ("postgresql://host/db?sslpassword=hush", "postgresql://host/db?sslpassword=***"),
        ("https://host/a?access_token=hush", "https://host/a?access_token=***"),
        ("MLFLOW_TRACKING_PASSWORD=hush: there is none", "MLFLOW_TRACKING_PASSWORD=*** there is none"),
        ("+tracking.token=hush", "+tracking.token=***"),
        ("Write key=value, group=option", "Write key=value, group=option"),
        ("sqlite:////a.db?timeout=60&uri=true", "sqlite:////a.db?timeout=60&uri=true"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/ann@work/mlflow.db", "sqlite:////home/ann@work/mlflow.db"),
    ],
)
def test_users_and_passwords_are_never_shown(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////{folder}/mlflow.db?timeout=60",
        "sqlite+pysqlite:////{folder}/mlflow.db",
        "sqlite:///mlflow.db?timeout=60&check_same_thread=false",
        "sqlite:///file:/{folder}/mlflow.db?uri=true",
    ],
)
def test_the_options_of_a_uri_do_not_make_another_store_of_the_same_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(project)
    plain, other = open_store(uri_in(project)), open_store(uri.format(folder=str(project).lstrip("/")))
    assert (other, hash(other)) == (plain, hash(plain))
    assert other.database == project / "mlflow.db"
    with tracked_run(other, RunIdentity("a run", "study")) as written:
        pass
    monkeypatch.chdir(project.parent)
    assert {run.run_id for run in read_runs(plain)} == {run.run_id for run in read_runs(other)} == {written.run_id}
    assert sorted(project.parent.rglob("*.db*")) == [project / "mlflow.db", project / "mlflow.db.lock"]


@pytest.mark.parametrize("uri", ["http://host/a", "mysql+pymysql://host/db", "postgresql://host/db?timeout=60"])
def test_only_a_sqlite_file_is_local(uri: str) -> None:
    store = open_store(uri)
    assert (store.uri, store.database, store.is_local, store.is_missing) == (uri, None, False, False)


def test_opening_a_store_imports_no_mlflow_and_makes_nothing(project: Path) -> None:
    code = "import sys; from harness.tracking.store import *; open_store(); assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not list(project.iterdir())


def test_a_new_experiment_opens_in_the_model_training_layout_with_its_artifacts_beside_the_store(project: Path) -> None:
    uri = uri_in(project)
    identity = open_store(uri).ensure_experiment("a study/of mine")
    assert open_store(uri).ensure_experiment("a study/of mine") == identity
    experiment = MlflowClient(uri).get_experiment(identity)
    assert EXPERIMENT_TAGS.items() <= experiment.tags.items()
    assert experiment.artifact_location == (project / "mlruns" / "a_study_of_mine").as_uri()


def test_a_deleted_experiment_is_named_with_both_ways_out(project: Path) -> None:
    uri = uri_in(project)
    identity = open_store(uri).ensure_experiment("old")
    MlflowClient(uri).delete_experiment(identity)
    with pytest.raises(StoreError, match=rf"'old' has been deleted .*--experiment-id {identity}.*tracking\.experiment"):
        open_store(uri).ensure_experiment("old")


def test_a_file_that_is_no_database_is_said_to_be_none(project: Path) -> None:
    (project / "mlflow.db").write_text("these are notes")
    with pytest.raises(StoreError, match=r"cannot be used: the file is not a database\. Nothing was changed\."):
        _ = open_store(uri_in(project)).client


def test_a_folder_that_does_not_exist_is_named_and_not_made(project: Path) -> None:
    with pytest.raises(StoreError, match=f"there is no folder {project / 'missing'}"):
        _ = open_store(uri_in(project / "missing")).client
    assert not (project / "missing").exists()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:////{folder}/what?/mlflow.db", "a ? ends the path"),
        ("sqlite:////{folder}/a.db?timeout", "a ? ends the path"),
        ("sqlite:////{folder}/50%25/mlflow.db", "MLflow would read the %"),
        ("sqlite:////{folder}/a%20b.db?timeout=60", "MLflow would read the %"),
        ("sqlite:////{folder}/two\nlines.db", "cannot be shown"),
        ("sqlite:////{folder}/" + "n" * 240 + ".db", "longer than 200 bytes"),
        ("sqlite:////{folder}/" + "ü" * 120 + ".db", "longer than 200 bytes"),
        ("sqlite:////{folder}/" + "deep/" * 1000 + "m.db", "File name too long"),
        ("sqlite:////{folder}/round.db", "symbolic links"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("sqlite://", "keeps nothing"),
        ("sqlite:/mlflow.db", "four strokes"),
        ("sqlite://{folder}/mlflow.db", "four strokes"),
        ("mlruns", "elsewhere/mlruns/mlflow.db"),
        ("runs.db", "elsewhere/runs.db"),
        ("/data/mlruns", "not in a folder"),
        ("file:///data/mlruns", "Write sqlite:////data/mlruns/mlflow.db"),
    ],
)
def test_a_uri_that_two_programs_would_read_differently_or_that_keeps_nothing_is_refused_when_it_is_opened(
    project: Path, uri: str, said: str
) -> None:
    (project / "round.db").symlink_to(project / "round.db")
    with pytest.raises(RequestError) as caught:
        open_store(uri.format(folder=str(project).lstrip("/")))
    assert said in str(caught.value)
    assert sorted(file.name for file in project.iterdir()) == ["round.db"]


@pytest.mark.parametrize("name", ["a b", "c#1", "it's; &so", "ü字", "-rf", "[x]{y}*", '"q"', "a@b:c", "+,=~"])
def test_whatever_a_folder_is_called_all_halves_of_the_code_mean_the_same_store(project: Path, name: str) -> None:
    folder = project / name
    folder.mkdir()
    store = open_store(uri_in(folder))
    with tracked_run(store, RunIdentity("a run", "study")) as written:
        written.log_text("note.txt", "here")
    [run] = read_runs(store)
    with run_artifact(store, run, "note.txt") as file:
        assert file == folder / "mlruns" / "study" / written.run_id / "artifacts" / "note.txt"
    assert [file for file in project.rglob("mlflow.db*") if file.parent != folder] == []
    assert sorted(file.name for file in folder.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns"]


@pytest.mark.parametrize("name", ["..", ".", "...", "." * 300, "/" * 3, "0", "字" * 200])
def test_an_experiment_may_be_called_anything_and_its_artifacts_stay_in_their_place(project: Path, name: str) -> None:
    store = open_store(uri_in(project))
    with tracked_run(store, RunIdentity("a run", name)) as written:
        written.log_text("note.txt", "here")
    [file] = project.rglob("note.txt")
    assert file.parts[len(project.parts)] == "mlruns"
    assert file.parts[len(project.parts) + 2 :] == (written.run_id, "artifacts", "note.txt")


@pytest.mark.slow
def test_a_store_on_a_disk_that_may_only_be_read_is_read_and_refuses_to_be_written(project: Path) -> None:
    store = open_store(uri_in(project))
    with tracked_run(store, RunIdentity("a run", "study")) as written:
        written.log_text("note.txt", "here")
    code = f"""
from harness.tracking.models import find_trained, run_artifact
from harness.tracking.store import open_store
from harness.errors import RequestError, StoreError
store = open_store({uri_in(project)!r})
with run_artifact(store, find_trained(store, "a run"), "note.txt") as file:
    print(file.read_text())
try:
    store.ensure_experiment("study")
except StoreError as error:
    print(error)
"""
    with read_only(project):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"here\nThe tracking store {project / 'mlflow.db'} cannot be written")


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_at_once_share_one_experiment(project: Path) -> None:
    code = f"from harness.tracking.store import *; print(open_store({uri_in(project)!r}).ensure_experiment('one'))"
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


class Slow(http.server.BaseHTTPRequestHandler):
    """A tracking server without experiments that takes its time."""

    def do_POST(self) -> None:
        time.sleep(1.0)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"experiments": []}')

    do_GET = do_POST  # noqa: N815

    def log_message(self, *words: object) -> None: ...


class Busy(http.server.BaseHTTPRequestHandler):
    """A tracking server that never has time."""

    asked = 0

    def do_POST(self) -> None:
        Busy.asked += 1
        self.send_response(503)
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, *words: object) -> None: ...


def test_a_server_is_asked_again_twice_and_as_often_as_mlflow_does_while_something_trains(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(access.RETRIES, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")

    def asked(store: Store) -> int:
        Busy.asked = 0
        with pytest.raises(StoreError, match="cannot be used"), store.explained():
            store.client.search_experiments(max_results=1)
        return Busy.asked

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            store = Store(f"http://127.0.0.1:{server.server_address[1]}")
            assert asked(store) == 1 + access.USUAL == 3
            with access.retries(access.WHILE_TRAINING):
                assert asked(store) == 1 + access.WHILE_TRAINING == 8
                with access.retries(access.USUAL):
                    assert asked(store) == 3
            assert asked(store) == 3
            with access.retries(access.WHILE_TRAINING), ThreadPoolExecutor(1) as another:
                assert another.submit(asked, store).result() == 3  # whoever waits there may outlive this block
            monkeypatch.setenv(access.RETRIES, "1")
            with access.retries(access.WHILE_TRAINING):
                assert asked(store) == 2  # the user's word goes first
            assert caplog.messages == [
                f"The tracking server {store.uri[7:]} does not work: it answers with the error 503. It is asked again, "
                "with growing pauses."
            ]
            monkeypatch.setattr(Busy, "do_GET", Slow.do_GET)
            monkeypatch.setattr(Busy, "do_POST", Slow.do_GET)
            store.client.search_experiments(max_results=1)
            assert caplog.messages[1:] == [f"The tracking server {store.uri[7:]} answers again."]
        finally:
            server.shutdown()
            serving.join()


def test_a_wrong_variable_is_not_taken_for_the_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.3")
    with pytest.raises(StoreError, match=r"has a wrong value for MLflow.*0\.3.*MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"):
        Store("http://127.0.0.1:9").ensure_experiment("x")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (access.RETRIES, access.TIMEOUT):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(access, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(access, "PATIENCE_SECONDS", 2.0)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_never_answers_is_named_and_given_up(
    impatient: None, silent: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=rf"{silent} has not answered for 2 s\. Nothing was started"):
        Store(silent).await_answer()
    assert time.monotonic() - began < 10
    assert f"Waiting for an answer of the tracking store {silent}, for 2 s at most." in caplog.text


def test_a_port_at_which_nobody_listens_is_tried_again_and_given_up(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(StoreError, match=r"has not answered|cannot be used"):
        Store(f"http://127.0.0.1:{port}").await_answer()


def test_who_told_mlflow_how_long_to_wait_is_taken_at_their_word(
    impatient: None, silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(access.RETRIES, "0")
    monkeypatch.setenv(access.TIMEOUT, "4")
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot be used"):
        Store(silent).await_answer()
    assert time.monotonic() - began > 3.5
    assert f"as {access.RETRIES} and {access.TIMEOUT} has it" in caplog.text


def test_a_server_that_is_slow_is_waited_for_and_asked_once(impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            store = Store(f"http://127.0.0.1:{server.server_address[1]}")
            store.await_answer()
        finally:
            server.shutdown()
            serving.join()
    store.await_answer()  # it is gone by now
    assert "Waiting for an answer" in caplog.text


def test_a_local_file_is_not_waited_for(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/mlflow.db").await_answer()
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_named_to_other_commands_where_they_would_not_open_it_anyway(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(uri_in(project / "my runs"))
    assert open_store().option == ""
    assert other.option == f" --store '{uri_in(project / 'my runs')}'"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.uri)
    assert other.option == ""
