"""A command that is a fork ends, answers signals and writes as a process of its own does."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests import forking

pytestmark = pytest.mark.slow

KINDS = (subprocess.Popen, forking.ForkedCommand)


def outcome(kind: type[subprocess.Popen[str]], executable: str, *arguments: str) -> tuple[int, str, str]:
    process = kind([executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("--version", 0), ("data list", 0), ("list", 1), ("train nope", 2), ("train --cfg job", 0)],
)
def test_forks_and_new_processes_have_the_same_output_and_exit_code(
    project: Path, executable: str, arguments: str, code: int
) -> None:
    real, forked = (outcome(kind, executable, *arguments.split()) for kind in KINDS)
    assert forked == real
    assert real[0] == code


def test_a_fork_has_its_own_folder_environment_and_arguments(project: Path, executable: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    process = forking.ForkedCommand(
        [executable, "list"], cwd=tmp_path / "own", env={"HARNESS_ROOT": str(tmp_path / "own"), "PATH": "/bin"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert str(tmp_path / "own" / "mlflow.db") in process.communicate(timeout=60)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_fork_answers_signals(
    project: Path, executable: str, subset: Path, number: signal.Signals, code: int
) -> None:
    command = [executable, "train", f"dataset.directory={subset}", "regime.epochs=100000", "figures=none"]
    process = forking.ForkedCommand(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert psutil.Process(process.pid).is_running()
    while not list(project.glob("mlruns/*/*/artifacts/config")):
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == code
    assert process.poll() == code
    process.kill()  # of one that has ended does nothing
