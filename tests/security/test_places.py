"""Artifacts are read and written in the store's own place only: not elsewhere, through links, or on other servers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError, OutsideStore
from harness.records import RunState
from harness.tracking.allowed_locations import artifact_path
from harness.tracking.models import find_trained, model_folder, run_artifact
from harness.tracking.reading import read_runs
from harness.tracking.shared_writes import attach
from harness.tracking.store import open_store
from harness.tracking.unfinished import close_abandoned
from harness.tracking.writing import RunIdentity, RunWriter
from tests.security.stranger import COLUMNS, Stranger

WORDS = (("export", "RUN", "out"), ("predict", "RUN", "--npy", "one.npy"), ("inspect", "RUN"))


@pytest.fixture
def attacker() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that notes whatever it is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):  # who asked has gone; an error would be that of a later test
                    connection.settimeout(5)
                    heard.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def uses(stranger: Stranger) -> dict[str, Callable[[], object]]:
    """All that reads or writes artifacts."""
    store = open_store(stranger.uri)
    record = find_trained(store, stranger.run)
    made = stranger.root.parent / "made"
    made.mkdir(exist_ok=True)
    (made / "report.md").write_text("# A report\n")

    def artifact() -> None:
        with run_artifact(store, record, "config/config.yaml") as file:
            file.read_text()

    def model() -> None:
        with model_folder(store, record) as folder:
            (folder / "data" / "model.keras").read_text()

    def log() -> None:
        RunWriter(store, RunIdentity("mine", "study")).log_text("report.md", "mine")

    def close() -> None:
        stranger.execute("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", stranger.run)
        [running] = read_runs(store, run_ids=[stranger.run])
        close_abandoned(store, running, RunState.KILLED, "gone", "Gone", traceback="mine")

    return {"artifact": artifact, "model": model, "attach": lambda: attach(store, stranger.run, made), "log": log,
            "close": close}  # fmt: skip


EVERY = ("artifact", "model", "attach", "log", "close")


@pytest.mark.parametrize("use", EVERY)
def test_a_folder_elsewhere_is_neither_read_nor_written(use: str, stranger: Stranger, private: Path) -> None:
    todo, before = uses(stranger), contents(private)
    for table, column in COLUMNS:
        stranger.execute(f"UPDATE {table} SET {column} = ?", private.as_uri())
    with pytest.raises(OutsideStore, match=r"neither in its own folder nor on its own server.*HARNESS") as caught:
        todo[use]()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert contents(private) == before


@pytest.mark.parametrize("use", EVERY)
def test_a_place_that_mlflow_would_decode_is_neither_read_nor_written(
    use: str, stranger: Stranger, private: Path
) -> None:
    """MLflow decodes %-escapes in a path: what looks like the store's own folder would be one elsewhere."""
    todo, before = uses(stranger), contents(private)
    for table, column in COLUMNS:
        stranger.execute(f"UPDATE {table} SET {column} = ?", f"{stranger.root}/mlruns/%2e%2e/%2e%2e/{private.name}")
    with pytest.raises(OutsideStore):
        todo[use]()
    assert contents(private) == before


@pytest.mark.parametrize("use", EVERY)
@pytest.mark.parametrize("scheme", ["http", "mlflow-artifacts"])
def test_nothing_is_sent_to_another_server(
    use: str, scheme: str, stranger: Stranger, attacker: tuple[str, list[bytes]]
) -> None:
    address, heard = attacker
    todo = uses(stranger)
    for table, column in COLUMNS:
        stranger.execute(f"UPDATE {table} SET {column} = ?", f"{address.replace('http', scheme, 1)}/kept")
    with pytest.raises(OutsideStore):
        todo[use]()
    assert heard == []


@pytest.mark.parametrize(
    ("use", "place"),
    [
        ("artifact", "config/config.yaml"), ("artifact", "config"), ("artifact", ""),
        ("attach", "report.md"), ("attach", ""), ("close", "traceback.txt"),
    ],
)  # fmt: skip
def test_no_link_among_the_artifacts_is_followed(use: str, place: str, stranger: Stranger, private: Path) -> None:
    todo, target = uses(stranger), stranger.artifacts / place
    if target.is_dir():
        moved = private / "moved"
        target.rename(moved)
        target.symlink_to(moved)
    else:
        target.unlink(missing_ok=True)
        target.symlink_to(private / "diary")
    before = contents(private)
    with pytest.raises(OutsideStore, match="is a link") as caught:
        todo[use]()
    assert "root:x:private" not in str(caught.value)
    assert contents(private) == before


@pytest.mark.parametrize("use", EVERY)
def test_the_folder_of_all_artifacts_may_be_a_link_where_the_user_says_where_it_leads(
    use: str, stranger: Stranger, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = uses(stranger)
    (stranger.root / "mlruns").rename(private / "big")
    (stranger.root / "mlruns").symlink_to(private / "big")
    before = contents(private)
    with pytest.raises(OutsideStore, match="is a link"):
        todo[use]()
    assert contents(private) == before
    monkeypatch.setenv("HARNESS_ARTIFACTS", str(private / "big"))
    todo[use]()


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[0])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_models_file_that_is_none_is_not_copied_out(
    words: tuple[str, ...], kind: str, stranger: Stranger, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("one.npy", np.zeros((28, 28), np.uint8))
    [file] = stranger.root.rglob("model.keras")
    file.unlink()
    if kind == "link":
        file.symlink_to(private / "diary")
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.parent.rmdir()
        (private / "model.keras").write_text("root:x:private\n")
        file.parent.symlink_to(private)
    assert main([stranger.run if word == "RUN" else word for word in words] + ["--store", stranger.uri]) == 2
    said = capsys.readouterr()
    assert "is a link" in said.err or "neither a file nor a folder" in said.err
    assert "root:x:private" not in said.err + said.out
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["report.md", "report.html", "report_figures"])
def test_a_report_overwrites_nothing_through_a_link(
    name: str, stranger: Stranger, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name != "report.md":
        target = private / "figures" if name == "report_figures" else private / "diary"
        (private / "figures").mkdir()
    else:
        target = private / "diary"
    folder = stranger.root / "mlruns" / "study" / stranger.sweep / "artifacts"
    folder.mkdir(parents=True)
    (folder / name).symlink_to(target)
    before = contents(private)
    assert main(["report", stranger.sweep, "--store", stranger.uri]) == 2
    assert "is a link" in capsys.readouterr().err
    assert contents(private) == before


@pytest.mark.parametrize("name", ["report.md", "report_figures/gap_bars.png"])
def test_a_report_overwrites_no_file_that_has_another_name(name: str, stranger: Stranger, private: Path) -> None:
    file = stranger.root / "mlruns" / "study" / stranger.sweep / "artifacts" / name
    file.parent.mkdir(parents=True)
    os.link(private / "diary", file)
    assert main(["report", stranger.sweep, "--store", stranger.uri]) == 0
    assert (private / "diary").read_text() == "root:x:private\n"
    assert file.read_bytes() != (private / "diary").read_bytes()


@pytest.mark.parametrize(
    ("store", "location"),
    [
        ("http://own:5000", "http://other:5000/x"), ("http://own:5000", "http://own:5001/x"),
        ("http://own:5000", "https://own:5000/x"), ("http://own:5000", "http://own:5000@other/x"),
        ("http://own:5000", "http://user:word@own:5000/x"), ("http://own:5000", "mlflow-artifacts://other/x"),
        ("http://own:5000", "file:///tmp/x"), ("http://own:5000", "/tmp/x"), ("http://own:5000", "s3://bucket/x"),
        ("http://own:5000", "ftp://other/x"), ("http://own:5000", "runs:/other/x"), ("http://own:5000", "models:/m/1"),
        ("http://own:5000", "http://own:5000\n@other/x"), ("https://own", "http://own/x"),
        ("sqlite:////a/mlflow.db", "/a/mlruns/../x"), ("sqlite:////a/mlflow.db", "file:///a/mlruns/%2e%2e/x"),
        ("sqlite:////a/mlflow.db", "mlruns/x"), ("sqlite:////a/mlflow.db", "/a/mlruns2/x"),
        ("sqlite:////a/mlflow.db", ""), ("sqlite:////a/mlflow.db", "/a/mlruns/%2e%2e/x"),
        ("sqlite:////a/mlflow.db", "/a/mlruns/%252e%252e/x"), ("sqlite:////a/mlflow.db", "/a/mlruns/a%2fb"),
        ("sqlite:////a/mlflow.db", "file:///a/mlruns/%252e%252e/x"), ("sqlite:////a/mlflow.db", "FILE:///a/mlruns/x"),
        ("sqlite:////a/mlflow.db", " file:///a/mlruns/x"), ("sqlite:////a/mlflow.db", "file://other/a/mlruns/x"),
        ("sqlite:////a/mlflow.db", "file:///a/mlruns/x?y"), ("sqlite:////a/mlflow.db", "file:///a/mlruns/x#y"),
        ("http://own:5000", "mlflow-artifacts:/1/%2e%2e/x"), ("http://own:5000", "http://own:5000/%252e%252e/x"),
        ("sqlite:////a/mlflow.db", "s3://bucket/x"), ("sqlite:////a/mlflow.db", "mlflow-artifacts:/x"),
        ("postgresql://host/db", "http://other/x"), ("postgresql://host/db", "/etc"),
    ],
)  # fmt: skip
def test_places_of_others(store: str, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ARTIFACTS", raising=False)
    database = Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite") else None
    with pytest.raises(HarnessError):
        artifact_path(store, database, location)


@pytest.mark.parametrize(
    ("store", "location", "path"),
    [
        ("sqlite:////a/mlflow.db", "file://localhost/a/mlruns/x", "/a/mlruns/x"),
        ("http://own:5000", "http://own:5000/api/x", None), ("http://me:word@own:5000", "mlflow-artifacts:/1/x", None),
        ("https://own", "mlflow-artifacts://own/1/x", None),
        ("sqlite:////a/mlflow.db", "file:///a/mlruns/x y", "/a/mlruns/x y"),
        ("sqlite:////a/mlflow.db", "/a/mlruns", "/a/mlruns"), ("sqlite:////a/mlflow.db", "s3://mine/runs/1", None),
        ("http://own:5000", "/big/runs/1", "/big/runs/1"),
    ],
)  # fmt: skip
def test_places_of_the_store_and_those_that_are_named(
    store: str, location: str, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_ARTIFACTS", "s3://mine/runs, /big/runs")
    database = Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite") else None
    found = artifact_path(store, database, location)
    assert (None if found is None else str(found)) == path
