"""A server that is none of MLflow's, or a hostile one, is told as that, and never keeps a command for ever."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.tracking import access
from harness.tracking.models import downloaded
from harness.tracking.reading import read_runs
from harness.tracking.store import Store, open_store

Answer = Callable[[str], bytes]


def serving(answer: Answer) -> AbstractContextManager[str]:
    """The address of a server on the loopback address that answers every path so, with status 200."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        body = answer(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return sending(send)


@contextmanager
def sending(send: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The address of a server on the loopback address that does `send` for every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            with suppress(OSError):  # who asked has heard enough
                send(self)

        do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815 - as the library calls it

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"<html></html>", b'{"experiments": 5}',
             b'{"experiments": [{"tags": 1}]}',
             b"\xff\xfe", b"[" * 100_000]
)  # fmt: skip
def test_a_server_that_is_not_mlflow_is_told_as_that(
    project: Path, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda path: body) as address:
        assert main(["compare", "--store", address]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "no runs yet" not in said.err
    assert "MLflow server" in said.err or "cannot be used" in said.err
    assert "Traceback" not in said.err


def test_a_server_that_repeats_its_page_token_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = {"experiment_id": "1", "name": "a", "lifecycle_stage": "active", "artifact_location": "x"}
    pages = json.dumps({"experiments": [experiment], "next_page_token": "again"}).encode()
    with serving(lambda path: b"3.17.2" if path == "/version" else pages) as address:
        assert main(["compare", "--store", address]) == 1
    assert "again and again" in capsys.readouterr().err


@pytest.mark.parametrize("deeper", [False, True])
def test_a_folder_that_lists_itself_is_an_error(project: Path, deeper: bool) -> None:
    def answer(path: str) -> bytes:
        listed = path.partition("path=")[2].replace("%2F", "/")
        inner = "a" if deeper else listed.rpartition("/")[2]
        return json.dumps({"files": [{"path": inner or "a", "is_dir": True}]}).encode()

    with (
        serving(answer) as address,
        pytest.raises(StoreError, match="no end"),
        downloaded(open_store(address), "mlflow-artifacts:/0/run/artifacts/model"),
    ):
        pass


def endless(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(bytes(2**16))


def slow(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def packed(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(BOMB)


def fetch(store: Store) -> None:
    with downloaded(store, "mlflow-artifacts:/0/run/artifacts/model"):
        pass


BOMB = gzip.compress(bytes(2**28), 1)


@pytest.mark.parametrize("send", [endless, slow, packed])
@pytest.mark.parametrize("download", [False, True])
def test_an_answer_without_end_is_an_error(
    send: Callable[[BaseHTTPRequestHandler], None], download: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has no end, only begins, or is small until it is unpacked; neither memory nor disk is filled."""
    for name, value in (("MOST_ANSWERED", 2**24), ("MOST_DOWNLOADED", 2**24), ("ANSWER_SECONDS", 0.5),
                        ("DOWNLOAD_SECONDS", 0.5)):  # fmt: skip
        monkeypatch.setattr(access, name, value)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        listing = download and "?" in handler.path
        handler.send_response(200)
        if send is packed and not listing:
            handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        if listing:
            handler.wfile.write(json.dumps({"files": [{"path": "model", "is_dir": False}]}).encode())
        else:
            send(handler)

    with sending(answer) as address:
        store, began = open_store(address), time.monotonic()
        _ = store.client  # imports
        use = partial(fetch, store) if download else partial(read_runs, store)
        tracemalloc.start()
        with pytest.raises(StoreError, match=r"its answer (is longer|has not ended)|none of an MLflow server"):
            use()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 2**27
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_no_token(
    status: int, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str | None] = []

    def hear(handler: BaseHTTPRequestHandler) -> None:
        heard.extend(f"{name}: {value}" for name, value in handler.headers.items())
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    with sending(hear) as other:

        def away(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Location", f"{other}{handler.path}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        for variables in ({"MLFLOW_TRACKING_TOKEN": "hush-hush"},
                          {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hush-hush"}):  # fmt: skip
            with monkeypatch.context() as patch, sending(away) as address:
                for name, value in variables.items():
                    patch.setenv(name, value)
                assert main(["compare", "--store", address]) == 1
    assert heard, "it was followed"
    assert not [line for line in heard if "hush" in str(line) or str(line).lower().startswith("authorization")]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "file:/etc/hostname", "ftp://127.0.0.1/x", "data:,{}"])
def test_a_redirect_leads_to_no_file(target: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with sending(away) as address:
        assert main(["compare", "--store", address]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "No connection adapters" in said.err or "cannot be used" in said.err
