"""A server that is none of MLflow's, or a hostile one, is told as that, and never keeps a command for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.tracking.models import downloaded
from harness.tracking.store import open_store

Answer = Callable[[str], bytes]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server on the loopback address that answers every path so, with status 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            body = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as the library calls it

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
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
