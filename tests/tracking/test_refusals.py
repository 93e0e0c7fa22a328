"""Refusals of servers, of real ones here on this machine, are told in words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.tracking.store import Store, open_store


@contextmanager
def answering(status: int, page: str) -> Iterator[str]:
    """A server, or something in front of one, that gives this answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(page.encode())))
            self.end_headers()
            self.wfile.write(page.encode())

        do_POST = do_GET  # noqa: N815 - named by http.server

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("status", "page", "said"),
    [
        (401, "You are not authenticated.", "No user was given. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASS"),
        (403, "Permission denied", "an unnamed user in the experiment 'study' \\(403\\)"),
        (
            404,
            "<html><title>404 Not &amp; Found</title><body>x</body>",
            "page \\(404\\): '404 Not & Found'",
        ),
        (413, "<html>\n<body><h1>Request too large</h1><p>nginx</body></html>", "page \\(413\\): 'Request too large'"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, page: str, said: str) -> None:
    with answering(status, page) as uri, pytest.raises(StoreError, match=said) as caught:
        open_store(uri).ensure_experiment("study")
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_user_that_was_given_is_named_and_the_password_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush-hush")
    with answering(403, "Permission denied") as uri, pytest.raises(StoreError, match="the user ann in") as caught:
        open_store(uri).ensure_experiment("study")
    assert "hush" not in str(caught.value)


def test_an_address_of_https_at_which_http_is_spoken_is_told_at_once() -> None:
    with answering(200, "{}") as uri, pytest.raises(StoreError, match="TLS"):
        open_store(uri.replace("http://", "https://")).await_answer()


def test_a_database_without_a_server_needs_a_place_for_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("postgresql://ann:secret@host/runs")
    monkeypatch.delenv("HARNESS_ARTIFACTS", raising=False)
    with pytest.raises(StoreError, match="HARNESS_ARTIFACTS=/shared/runs") as caught:
        store._artifact_location("study")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("HARNESS_ARTIFACTS", "/shared/all runs")
    assert store._artifact_location("study")["artifact_location"].startswith("file:///shared/all%20runs/")
    monkeypatch.setenv("HARNESS_ARTIFACTS", "s3://bucket/runs/")
    assert store._artifact_location("study")["artifact_location"].startswith("s3://bucket/runs/")
