from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from harness.data import network
from harness.data.network import Limits, download, run_tool
from harness.errors import DataError

BODY = bytes(range(256)) * 1000


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        if self.path == "/to-a-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path in ("/whole", "/short"):
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.path == "/trickle":
            try:
                for _ in range(100):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                return  # the client has given up, as it should
        else:
            self.wfile.write(BODY[:-1] if self.path == "/short" else BODY)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/whole", "/moved", "/unknown-length"])
def test_a_file_is_downloaded_whole(server: str, tmp_path: Path, path: str) -> None:
    download(server + path, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "words"), [("/absent", "HTTP status 404"), ("/short", "ended after 255,999 of 256,000 bytes")]
)
def test_an_answer_without_the_whole_file_is_an_error(server: str, tmp_path: Path, path: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        download(server + path, tmp_path / "file")


def test_a_redirection_to_a_file_of_this_machine_is_not_followed(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not allowed"):
        download(f"{server}/to-a-file", tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_trickle_meets_the_time_limit(server: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"not complete after 0\.5 s"):
        download(f"{server}/trickle", tmp_path / "file", Limits(silence=3, download=0.5))
    assert time.monotonic() - begun < 3


def test_an_endless_answer_is_cut_off(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        download(f"{server}/unknown-length", tmp_path / "file")


def test_a_server_that_accepts_and_never_answers_meets_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        begun = time.monotonic()
        with pytest.raises(DataError, match=r"no answer within 0\.5 s"):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/file", tmp_path / "file", Limits(silence=0.5))
        assert time.monotonic() - begun < 3


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(DataError, match="refused"):
        download(f"http://127.0.0.1:{port}/file", tmp_path / "file")


def test_a_tool_that_is_not_installed_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no-such-tool is not installed"):
        run_tool(["no-such-tool", "update"], tmp_path, 5)


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    script = "print('E: no such package'); print('goodbye'); raise SystemExit(3)"
    with pytest.raises(DataError, match=r"status 3: E: no such package$"):
        run_tool([sys.executable, "-c", script], tmp_path, 30)


def test_a_tool_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    # The child keeps the pipe open: waiting for its end would outlast the limit.
    script = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "open('child', 'w').write(str(child.pid)); time.sleep(60)"
    )
    begun = time.monotonic()
    with pytest.raises(DataError, match="did not finish within 2 s"):
        run_tool([sys.executable, "-c", script], tmp_path, 2)
    assert time.monotonic() - begun < 10
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running(child):
        time.sleep(0.05)
    assert not _running(child)


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
