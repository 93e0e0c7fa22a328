"""The UI is its owner's: it wants a token, keeps to the artifacts of the store, and does not outlive its command."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.tracking.stores import new_client, new_study

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


class Served(NamedTuple):
    """A running `harness ui`, what it printed, its address and token, its project, and an experiment there."""

    process: subprocess.Popen[str]
    printed: str
    address: str
    token: str
    project: Path
    experiment: str

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Status and content of an answer to whoever sends these headers; by default the token."""
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json", **headers})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def run_at(self, location: str) -> tuple[int, str]:
        """A new run of a new experiment whose artifacts are at `location`; the status, and the run's id."""
        api = "/api/2.0/mlflow"
        status, content = self.ask(
            f"{api}/experiments/create", {"name": os.urandom(4).hex(), "artifact_location": location}
        )
        if status != 200:
            return status, ""
        status, content = self.ask(f"{api}/runs/create", json.loads(content))
        return status, json.loads(content)["run"]["info"]["run_id"]


def start(project: Path) -> Served:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HARNESS_ROOT": str(project)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "ui", "--port", str(port)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    printed = ""
    for line in iter(process.stdout.readline, ""):
        printed += line
        if line.startswith("Ctrl-C"):
            break
    process.stdout.close()
    [link] = [line for line in printed.splitlines() if line.startswith("MLflow UI: ")]
    address, _, token = link.removeprefix("MLflow UI: ").partition("/?token=")
    return Served(process, printed, address, token, project, "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project = tmp_path_factory.mktemp("project")
    _, client = new_client(project)
    experiment = new_study(client, project)
    ui = start(project)._replace(experiment=experiment)
    yield ui
    ui.process.terminate()
    ui.process.wait(30)


def test_nobody_is_answered_without_the_token(served: Served) -> None:
    wrong = base64.b64encode(b"owner:wrong").decode()
    for headers in (
        {"X-Nothing": "1"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"},
        {"Authorization": f"Basic {wrong}"}, {"Cookie": "harness_ui=x; a=b"}, {"Cookie": "=;;\x01"},
        {"Cookie": f"harness_ui_{served.address.rpartition(':')[2]}={served.token}"},
        {"Authorization": f"Bearer {served.token[:-1]}"}, {"Authorization": "Bearer \u00e9"},
    ):  # fmt: skip
        for path in ("/", "/health", "/version", "/api/2.0/mlflow/experiments/search?max_results=5", "/?token=", "/x"):
            assert served.ask(path, **headers)[0] == 401
    assert served.ask("/api/2.0/mlflow/experiments/create", {"name": "mine"}, **{"X-Nothing": "1"})[0] == 401
    assert served.ask(f"/version?token={served.token}", **{"X-Nothing": "1"})[0] == 401, "the link is for a browser"
    assert "can read, change and delete" in served.printed


def test_the_token_is_taken_as_the_client_and_a_browser_send_it(served: Served) -> None:
    basic = base64.b64encode(f"owner:{served.token}".encode()).decode()
    for value in (f"Bearer {served.token}", f"Basic {basic}"):
        assert served.ask("/version", Authorization=value)[0] == 200
    for end in ("", "/"):  # a page's own address may follow
        jar = CookieJar()
        answers = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
        with answers.open(f"{served.address}/?token={served.token}{end}") as page:
            assert b"<html" in page.read()
        with answers.open(f"{page.url}version") as version:
            assert version.status == 200
    everybody = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert served.token not in everybody


def folder_and_cookie(served: Served) -> tuple[str, str]:
    """What a browser has that has opened the link: the folder that it is in, and its cookie."""
    jar = CookieJar()
    answers = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
    with answers.open(f"{served.address}/?token={served.token}") as page:
        folder = page.url.removeprefix(served.address).rstrip("/")
    [cookie] = jar
    assert cookie.path == folder, "it is sent there only, by a browser to which all ports of a machine are one server"
    assert len(folder) > 16
    return folder, f"{cookie.name}={cookie.value}"


def test_the_cookie_is_good_in_a_folder_that_only_the_browser_knows(served: Served) -> None:
    folder, cookie = folder_and_cookie(served)
    assert served.ask(f"{folder}/version", Cookie=cookie)[0] == 200
    for path in ("/version", "/", f"{folder}", f"{folder}x/version", f"/x{folder}/version", f"{folder[:-1]}/version"):
        assert served.ask(path, Cookie=cookie)[0] == 401, path
    assert served.ask(f"{folder}/version", Cookie="harness_ui_1=x")[0] == 401


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", "evil.example"), ("Host", "127.0.0.1.evil.example"), ("Host", "evil.example:5000"), ("Host", ""),
        ("Host", "10.0.0.1"), ("Host", "127.0.0.1@evil.example"), ("Host", "localhost.evil.example"),
        ("Origin", "http://evil.example"), ("Origin", "null"), ("Origin", "http://127.0.0.1:1"), ("Origin", ""),
        ("Origin", "http://localhost"), ("Origin", "http://[::1]:5000"), ("Origin", "chrome-extension://abc"),
    ],
)  # fmt: skip
def test_names_that_lead_here_from_outside_and_pages_of_others_are_refused(
    header: str, value: str, served: Served
) -> None:
    folder, cookie = folder_and_cookie(served)
    body = {"name": os.urandom(4).hex()}
    for path, credential in ((folder, {"Cookie": cookie}), ("", {"Authorization": f"Bearer {served.token}"})):
        sent = {**credential, header: value}
        assert served.ask(f"{path}/version", **sent)[0] == 401
        assert served.ask(f"{path}/ajax-api/2.0/mlflow/experiments/create", body, **sent)[0] == 401
    assert served.ask(f"/?token={served.token}", **{header: value})[0] == 401
    own = {"Cookie": cookie, "Host": "localhost:8080", "Origin": "http://localhost:8080"}  # a port that was forwarded
    assert served.ask(f"{folder}/ajax-api/2.0/mlflow/experiments/create", body, **own)[0] == 200


def test_artifacts_are_those_of_the_store(served: Served, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret.txt").write_text("secret")
    inside = served.project / "mlruns" / "study"
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "link").symlink_to(tmp_path / "private")
    elsewhere = [
        str(tmp_path / "private"), (tmp_path / "private").as_uri(), f"{inside}/link", f"{inside.as_uri()}/link",
        f"{served.project}/mlruns/../../private", "http://127.0.0.1:9/x", "s3://bucket/x", "ftp://127.0.0.1/x",
    ]  # fmt: skip
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for location in elsewhere:
        status, run = served.run_at(location)
        if status != 200:
            continue
        for path in ("secret.txt", "../../secret.txt", "../secret.txt"):
            assert b"secret" not in served.ask(f"/get-artifact?run_uuid={run}&path={path}")[1].replace(
                b"secret.txt", b""
            )
        assert served.ask(f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}")[0] >= 400
        assert served.ask(f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x.txt", b"x")[0] >= 400
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    status, run = served.run_at(inside.as_uri())
    assert status == 200
    own = inside / run / "artifacts"
    own.mkdir(parents=True)
    (own / "note.txt").write_text("note")
    (own / "file").symlink_to(tmp_path / "private" / "secret.txt")
    (own / "folder").symlink_to(tmp_path / "private")
    assert served.ask(f"/get-artifact?run_uuid={run}&path=note.txt") == (200, b"note")
    for path in ("file", "folder/secret.txt"):
        assert served.ask(f"/get-artifact?run_uuid={run}&path={path}")[0] >= 400
    listed = json.loads(served.ask(f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}")[1])
    assert [file["path"] for file in listed["files"]] == ["note.txt"]
    assert served.ask(f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=folder/new.txt", b"x")[0] >= 400
    assert served.ask(f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=new.txt", b"x")[0] == 200
    assert (own / "new.txt").read_bytes() == b"x"
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_models_traces_and_other_ways_lead_to_no_file_outside_either(served: Served, tmp_path: Path) -> None:
    """Also where a stranger's store says so, which MLflow itself would not have written."""
    api, private = "/ajax-api/2.0/mlflow", tmp_path / "private"
    _, run = served.run_at((served.project / "mlruns" / "study").as_uri())
    _, outside = served.run_at(private.as_uri())
    found = json.loads(served.ask(f"{api}/runs/get?run_id={outside}")[1])["run"]["info"]
    made = served.ask(f"{api}/logged-models", {"experiment_id": found["experiment_id"], "name": "m"})
    model = json.loads(made[1])["model"]["info"]["model_id"]
    name = os.urandom(4).hex()
    own = f"{served.project}/mlruns/study/{run}/artifacts"
    assert served.ask(f"{api}/registered-models/create", {"name": name})[0] == 200
    assert served.ask(f"{api}/model-versions/create", {"name": name, "source": own, "run_id": run})[0] == 200
    begun = {"experiment_id": served.experiment, "timestamp_ms": 1, "request_metadata": [], "tags": []}
    trace = json.loads(served.ask(f"{api}/traces", begun)[1])["trace_info"]["request_id"]
    with closing(sqlite3.connect(served.project / "mlflow.db", timeout=30)) as store, store:
        place, tag = private.as_uri(), "mlflow.artifactLocation"
        store.execute("UPDATE model_versions SET source = ?, storage_location = ? WHERE name = ?", (place, place, name))
        store.execute("UPDATE trace_tags SET value = ? WHERE key = ? AND request_id = ?", (place, tag, trace))
    for folder in (private, private / outside / "artifacts", private / "models" / model / "artifacts"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("secret.txt", "traces.json"):
            (folder / file).write_text('{"spans": [], "said": "hush"}')
    before, deep = sorted(private.rglob("*")), "%2e%2e/" * 12
    query = 'query {{ mlflowListArtifacts(input: {{runId: "{}", path: "{}"}}) {{ files {{ path }} }} }}'
    for path, body in (
        (f"/get-artifact?run_uuid={outside}&path=secret.txt", None),
        (f"/model-versions/get-artifact?name={name}&version=1&path=secret.txt", None),
        (f"{api}/logged-models/{model}/artifacts/files?artifact_file_path=secret.txt", None),
        (f"{api}/logged-models/{model}/artifacts/directories", None),
        (f"{api}/get-trace-artifact?request_id={trace}", None),
        (f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}&path=secret.txt", None),
        ("/graphql", {"query": query.format(outside, "")}), ("/graphql", {"query": query.format(run, "../../../..")}),
        (f"{api}/registered-models/create", {"name": f"{name}2"}),
        (f"{api}/model-versions/create", {"name": f"{name}2", "source": private.as_uri()}),
        (f"{api}/model-versions/create", {"name": f"{name}2", "source": f"runs:/{run}/../../../..", "run_id": run}),
        (f"/static-files/{deep}{private}/secret.txt", None), (f"/static-files/{private}/secret.txt", None),
        (f"/get-artifact?run_uuid={run}&path={deep}{private}/secret.txt", None),
        (f"/get-artifact?run_uuid={run}&path={private}/secret.txt", None),
        (f"/get-artifact?run_uuid={run}&path=file://{private}/secret.txt", None),
        (f"/get-artifact?run_uuid={run}&path=%252e%252e/%252e%252e{private}/secret.txt", None),
        (f"/api/2.0/mlflow-artifacts/artifacts/{deep}{private}/secret.txt", None),
        (f"/api/2.0/mlflow-artifacts/artifacts?path={private}", None),
    ):  # fmt: skip
        status, content = served.ask(path, body)
        assert b"hush" not in content, path
        assert not (status == 200 and b"secret.txt" in content), path
    assert sorted(private.rglob("*")) == before


def test_it_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    ui = start(tmp_path)
    family = psutil.Process(ui.process.pid).children(recursive=True)
    assert family
    port = int(ui.address.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    os.kill(ui.process.pid, signal.SIGKILL)
    ui.process.wait(10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(
        one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family
    ):
        time.sleep(0.1)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_server_of_another_program_is_never_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment = {**os.environ, "HARNESS_ROOT": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "harness", "ui", "--port", str(other.getsockname()[1])],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "MLflow UI:" not in done.stdout
