"""A tracking server for a benchmark, as docs/server.md starts one, without users."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import CommandFailed

START_SECONDS = 180.0


@contextmanager
def serving(folder: Path, database: str | None = None) -> Iterator[str]:
    """The address of a server for the block, on `database`, by default the SQLite file `mlflow.db` in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", database or f"sqlite:///{folder / 'mlflow.db'}"]
    words = ["server", "--port", str(port), *store, "--artifacts-destination", str(folder / "artifacts")]
    own = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**own, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait(process, uri)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], uri: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with opener.open(f"{uri}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise CommandFailed(f"{process.args} did not start in {START_SECONDS:g} s")
