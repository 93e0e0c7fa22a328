"""Ctrl-C and SIGTERM in the middle of training: what was done is kept, and nothing is left RUNNING."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from mlflow.entities import Run

from tests.integration.conftest import SMALL, NewProject, Outcome, Project, waited

pytestmark = pytest.mark.slow

ENDLESS = "regime.epochs=100000"
BARE = ("figures=none", "tracking.log_model=false")


def interrupted(
    project: Project, process: subprocess.Popen[str], number: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Send the signal when the endless run is training, and wait for the end of the process."""
    deadline = time.monotonic() + 120
    while not (store_is_made(project) and any(trains(run) for run in project.runs())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(number)
    return waited(process)


def store_is_made(project: Project) -> bool:
    """Whether it has a run: a client that opens a store while its tables are made would disturb."""
    return any(project.root.glob("mlruns/*/*/artifacts/config"))


def trains(run: Run) -> bool:
    endless = run.data.params.get("regime.epochs") == ENDLESS.partition("=")[2]
    return endless and "train/loss" in run.data.metrics


@pytest.fixture(scope="module")
def outcomes(new_project: NewProject) -> dict[str, Outcome]:
    """A run that SIGTERM ends, and a sweep that Ctrl-C ends in its second job of three."""
    train, sweep = new_project(), new_project()
    running = train.start("train", *SMALL, ENDLESS)
    sweeping = sweep.start("sweep", *SMALL, "regime.epochs=1,100000,2", *BARE, "hydra.launcher.workers=1")
    try:
        return {
            "train": Outcome(train, interrupted(train, running, signal.SIGTERM)),
            "sweep": Outcome(sweep, interrupted(sweep, sweeping, signal.SIGINT)),
        }
    finally:
        running.kill()
        sweeping.kill()


def test_sigterm_exits_with_143_and_the_run_is_killed_with_what_it_had(outcomes: dict[str, Outcome]) -> None:
    train = outcomes["train"]
    assert train.done.returncode == 143
    assert "Traceback" not in train.done.stderr
    (run,) = train.project.runs()
    assert run.info.status == "KILLED"
    assert run.info.end_time is not None
    assert "train/loss" in run.data.metrics
    assert "epoch 1: " in train.project.artifact(run, "logs/run.log").read_text()


def test_ctrl_c_in_a_sweep_exits_with_130_and_keeps_what_was_done(outcomes: dict[str, Outcome]) -> None:
    sweep = outcomes["sweep"]
    assert sweep.done.returncode == 130
    assert "Traceback" not in sweep.done.stderr
    found = [(child.info.run_name, child.info.status) for child in sweep.children]
    assert found == [("epochs=1", "FINISHED"), ("epochs=100000", "KILLED")], "the third job never started"
    assert sweep.parent.info.status == "KILLED"
    assert sweep.parent.data.tags["harness.finished"] == "1"


def test_ctrl_c_in_a_sweep_still_prints_and_keeps_the_table_so_far(outcomes: dict[str, Outcome]) -> None:
    sweep = outcomes["sweep"]
    assert sweep.done.stdout.startswith("sweep of epochs: ")
    assert "\n1 " in sweep.done.stdout
    assert sweep.children[0].info.run_id in sweep.project.artifact(sweep.parent, "comparison.csv").read_text()


def read_terminal(terminal: int, until: Callable[[str], bool]) -> str:
    """What a program writes to its terminal, until that is enough or the program has gone."""
    said = ""
    while not until(said):
        try:
            said += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # Linux: the last program has closed its side
            break
    return said


def test_a_terminal_shows_a_live_bar_and_ctrl_c_typed_there_ends_the_run_and_gives_the_cursor_back(
    new_project: NewProject,
) -> None:
    project = new_project()
    terminal, side = pty.openpty()
    arguments = ("train", *SMALL, ENDLESS, "figures=none")
    process = project.start(*arguments, stderr=side, program=(sys.executable, "-c", ON_TERMINAL))
    os.close(side)
    try:
        said = read_terminal(terminal, lambda text: "2/100000" in text)
        assert "\x1b[?25l" in said, "the cursor is hidden while the bar is drawn"
        assert "━" in said
        assert "epoch 1/100000" not in said, "the bar replaces the plain lines"
        os.write(terminal, b"\x03")
        rest = read_terminal(terminal, lambda _: False)
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
        process.communicate()
        os.close(terminal)
    assert "\x1b[?25h" in rest
    assert "Traceback" not in rest
    (run,) = project.runs()
    assert run.info.status == "KILLED"


# The command with its standard error as controlling terminal, so that Ctrl-C typed there reaches it.
ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
from harness.cli import main
sys.exit(main())
"""
