from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import cli
from tests.conftest import RunCommand

ADDRESS = "http://127.0.0.1"
_COOKIES = urllib.request.HTTPCookieProcessor()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@contextmanager
def stopped_at_last(ui: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """Whatever a test finds, its server does not outlive it (and does not keep the test waiting)."""
    with ui:
        try:
            yield ui
        finally:
            if ui.poll() is None:
                ui.terminate()


def get(url: str) -> tuple[str, bytes]:
    """Where a browser ends that has opened the printed link, and what it is given there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _COOKIES)
    with opener.open(url, timeout=60) as answer:
        return answer.url, answer.read()


def test_a_busy_port_is_refused_by_name(project: Path, busy_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ui", "--port", str(busy_port)]) == 2
    message = capsys.readouterr().err
    assert f"--port {busy_port}" in message
    assert f"harness ui --port {busy_port + 1}" in message
    assert list(project.iterdir()) == []


def test_a_port_out_of_range_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ui", "--port", "70000"]) == 2
    assert "70000" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_that_cannot_be_served_is_one_error_with_the_log(
    project: Path, run_command: RunCommand, free_port: int
) -> None:
    (project / "mlflow.db").write_text("this is no database")
    done = run_command("ui", "--port", str(free_port))
    assert done.returncode == 1
    assert "error: The MLflow server did not start (exit code 1)" in done.stderr
    assert "file is not a database" in done.stderr
    assert "http://127.0.0.1" not in done.stdout


@pytest.mark.slow
def test_the_ui_serves_the_store_with_its_artifacts_and_leaves_no_process(
    project: Path, executable: str, free_port: int
) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.create_experiment("seen", artifact_location=str(project / "mlruns" / "seen"))
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "an artifact", "note.txt")
    client.set_terminated(run.info.run_id)

    command = [executable, "ui", "--port", str(free_port)]
    with stopped_at_last(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as ui:
        assert ui.stdout is not None
        assert ui.stderr is not None
        started = [ui.stdout.readline() for _ in range(4)]
        link = started[0].removeprefix("MLflow UI: ").strip()
        assert link.startswith(f"{ADDRESS}:{free_port}/?token=")
        assert f"{link}#/experiments/{experiment}/runs" in started[1]
        family = psutil.Process(ui.pid).children(recursive=True)
        assert family

        folder, page = get(link)
        assert b"<html" in page
        _, found = get(f"{folder}ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=seen")
        assert json.loads(found)["experiment"]["experiment_id"] == experiment
        assert get(f"{folder}get-artifact?run_uuid={run.info.run_id}&path=note.txt")[1] == b"an artifact"

        ui.send_signal(signal.SIGINT)
        assert ui.wait(timeout=30) == 0
        assert ui.stderr.read().strip() == ""
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", free_port))
    assert list(Path.cwd().iterdir()) == []
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlruns"}


@pytest.mark.slow
def test_an_empty_store_works_says_how_to_fill_it_and_stops_at_sigterm(
    project: Path, executable: str, free_port: int
) -> None:
    command = [executable, "ui", "--port", str(free_port)]
    with stopped_at_last(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as ui:
        assert ui.stdout is not None
        assert "harness train" in ui.stdout.readline()
        assert ui.stdout.readline().startswith("MLflow UI: ")
        group = os.getpgid(psutil.Process(ui.pid).children()[0].pid)
        ui.send_signal(signal.SIGTERM)
        assert ui.wait(timeout=30) == 143
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_while_starting_leaves_no_process(project: Path, executable: str, free_port: int) -> None:
    command = [executable, "ui", "--port", str(free_port)]
    with stopped_at_last(subprocess.Popen(command, stdout=subprocess.DEVNULL)) as ui:
        parent, family = psutil.Process(ui.pid), list[psutil.Process]()
        deadline = time.monotonic() + 60
        while not family and time.monotonic() < deadline:
            family = parent.children(recursive=True)
            time.sleep(0.05)
        group = os.getpgid(family[0].pid)
        with suppress(subprocess.TimeoutExpired):  # Python drops an interrupt that comes while it frees an object
            ui.send_signal(signal.SIGINT)
            ui.wait(timeout=10)
        ui.send_signal(signal.SIGINT)  # nothing, if it has ended
        assert ui.wait(timeout=30) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
