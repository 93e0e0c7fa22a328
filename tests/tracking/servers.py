"""Real MLflow servers, each in its own process group, which ends with the `with` block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.forking import ForkedCommand

START_SECONDS = 180
STOP_SECONDS = 20
HOST = "127.0.0.1"
LOG = "server.log"
SERVE = Path(__file__).with_name("serve.py")

# Addresses of this machine are opened without a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run an MLflow server that stores everything in `folder` and serves artifacts over HTTP. Gives its address.

    It is a fork of a process that has imported MLflow: it starts in a fifth of the processor time.
    """
    port = free_port() if port is None else port
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        f"{folder / 'kept'}",
    ]
    with (folder / LOG).open("ab") as output:
        process = ForkedCommand(
            [str(SERVE), "server", "--workers", "1", *store, "--host", HOST, "--port", str(port)],
            cwd=folder,
            env={**_inherited(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # jobs are for language models
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(process, f"http://{HOST}:{port}/health", folder / LOG)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()


@contextmanager
def running(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    ready: str = "/health",
    port: int | None = None,
) -> Iterator[str]:
    """Run `mlflow ARGUMENTS` in `folder`, and wait until it answers at the path `ready`. Gives its address."""
    port = free_port() if port is None else port
    process = start(arguments, folder, environment, port)
    try:
        wait_for(process, f"http://{HOST}:{port}{ready}", folder / LOG)
        yield f"http://{HOST}:{port}"
    finally:
        stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], port: int) -> subprocess.Popen[bytes]:
    """Start `mlflow ARGUMENTS` in `folder`, as the leader of a process group; it writes into `LOG` there."""
    inherited = _inherited()
    # As in an activated environment: `mlflow models serve` starts the `uvicorn` on PATH.
    inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / LOG).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, "--host", HOST, "--port", str(port)],
            cwd=folder,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _inherited() -> dict[str, str]:
    without = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return {**without, "MLFLOW_DISABLE_TELEMETRY": "true"}


def wait_for(process: subprocess.Popen[Any], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with OPENER.open(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    how = "did not answer in time" if process.poll() is None else f"ended with {process.returncode}"
    raise AssertionError(f"{process.args} {how}. The end of its log:\n{log.read_text()[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    try:
        if alive(process):
            os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while alive(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(process), f"{process.args} left a process {STOP_SECONDS} s after it was told to stop"
    finally:
        if alive(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the group is still alive."""
    process.poll()  # otherwise an ended leader would still count as a member of its group
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
