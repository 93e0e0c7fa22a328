"""Ctrl-C, SIGTERM and a closed terminal in the middle of training: what was done is kept, nothing is left RUNNING."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import pytest
from mlflow.entities import Run

from tests.integration.conftest import HARNESS, SMALL, NewProject, Outcome, Project, waited

pytestmark = pytest.mark.slow

ENDLESS = "regime.epochs=100000"
BARE = ("engine=keras", "figures=none", "tracking.log_model=false")


def interrupted(
    project: Project, process: subprocess.Popen[str], number: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Send the signal when the endless run is training, and wait for the end of the process."""
    until_it_trains(project, process)
    process.send_signal(number)
    return waited(process)


def until_it_trains(project: Project, process: subprocess.Popen[str], epochs: str = ENDLESS) -> None:
    """Wait until the run of so many epochs has ended its first one."""
    deadline = time.monotonic() + 120
    while not (store_is_made(project) and any(trains(run, epochs) for run in project.runs())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def store_is_made(project: Project) -> bool:
    """Whether it has a run: a client that opens a store while its tables are made would disturb."""
    return any(project.root.glob("mlruns/*/*/artifacts/config"))


def trains(run: Run, epochs: str) -> bool:
    return run.data.params.get("regime.epochs") == epochs.partition("=")[2] and "train/loss" in run.data.metrics


@pytest.fixture(scope="module")
def outcomes(new_project: NewProject) -> dict[str, Outcome]:
    """A run that SIGTERM ends, and a sweep, no fork, that Ctrl-C ends in its second job of three."""
    train, sweep = new_project(), new_project()
    running = train.start("train", *SMALL, ENDLESS)
    sweeping = sweep.start(
        "sweep", *SMALL, "regime.epochs=1,100000,2", *BARE, "hydra.launcher.workers=1", program=(HARNESS,)
    )
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
    waiting = next(line for line in sweep.done.stdout.splitlines() if "scheduled" in line)
    assert waiting.split()[:4] == ["2", "0/1", "1", "scheduled"], "it was asked for and never begun"
    assert "continued" not in sweep.done.stdout, "it differs from the others in what was asked for, and in nothing else"
    assert "\n1 " in sweep.done.stdout
    assert sweep.children[0].info.run_id in sweep.project.artifact(sweep.parent, "comparison.csv").read_text()


def test_ctrl_c_says_how_to_go_on(outcomes: dict[str, Outcome]) -> None:
    words, last = outcomes["sweep"].done.stderr.rstrip().splitlines()[-2:]
    assert words == "Interrupted. The same command resumes this sweep:"
    assert last.startswith("harness sweep dataset.directory=")
    assert "regime.epochs=1,100000,2" in last
    assert "starts this single run again" in outcomes["train"].done.stderr.rstrip().splitlines()[-1]


def test_a_run_that_was_killed_is_closed_by_the_next_command(empty: Project) -> None:
    process = empty.start("train", *SMALL, ENDLESS, *BARE)
    try:
        until_it_trains(empty, process)
        process.kill()
        waited(process)
    finally:
        process.kill()
    assert [run.info.status for run in empty.runs()] == ["RUNNING"]
    done = empty.run("train", *SMALL, "regime.epochs=1", *BARE)
    assert done.returncode == 0, done.stderr
    assert "was RUNNING and its process has gone: it is KILLED now" in done.stderr
    killed, after = empty.runs()
    assert (killed.info.status, after.info.status) == ("KILLED", "FINISHED")
    assert killed.data.tags["harness.error"].startswith("Its process ended before the run did")


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
        assert "────" in said
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


# The command with its standard error as controlling terminal, so that Ctrl-C typed there reaches it; with the signals
# of a terminal as they are there, also if these tests were started with nohup.
ON_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
from harness.cli import main
sys.exit(main())
"""


def closed(project: Project, *command: str, shell: bool) -> int:
    """Type a command into a real terminal, in a shell or as its only program, and close it once a run trains; the exit
    code of the program that the terminal had."""
    terminal, side = pty.openpty()
    words = ("bash", "--norc", "--noprofile", "-i") if shell else command
    process = project.start(*words, program=(sys.executable, "-c", IN_TERMINAL), stderr=side)
    os.close(side)
    over: list[bool] = []
    family: list[psutil.Process] = []
    reader = threading.Thread(target=read_terminal, args=(terminal, lambda said: bool(over)), daemon=True)
    try:
        if shell:
            os.write(terminal, f"{shlex.join(command)}\n".encode())
        reader.start()
        until_it_trains(project, process)
        family = psutil.Process(process.pid).children(recursive=True)
        over.append(True)
        reader.join(10)  # it reads the next frame of the live display
        os.close(terminal)
        code = process.wait(60)
        assert psutil.wait_procs(family, timeout=60)[1] == []
        return code
    finally:
        process.kill()
        process.communicate()
        for left in psutil.wait_procs(family, timeout=0)[1]:
            left.kill()


# The command with its whole standard input and output on a controlling terminal.
IN_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.dup2(2, 0)
os.dup2(2, 1)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_terminal_that_is_closed_ends_its_run(empty: Project) -> None:
    assert closed(empty, HARNESS, "train", *SMALL, ENDLESS, *BARE, shell=False) == 129
    (run,) = empty.runs()
    assert run.info.status == "KILLED"
    assert run.data.tags["harness.error"] == "Its terminal was closed (SIGHUP)."
    assert "epoch 1: " in empty.artifact(run, "logs/run.log").read_text()


def test_a_terminal_that_is_closed_ends_its_sweep_with_the_epoch_and_the_table_so_far(empty: Project) -> None:
    """An interactive shell hands the signal on, and the system sends it too: it is not taken for Ctrl-C twice."""
    closed(empty, HARNESS, "sweep", *SMALL, "regime.epochs=1,100000", *BARE, "hydra.launcher.workers=1", shell=True)
    runs = {run.info.run_name: run for run in empty.runs()}
    assert [runs[name].info.status for name in ("epochs=1", "epochs=100000")] == ["FINISHED", "KILLED"]
    (parent,) = (run for run in runs.values() if run.data.tags["harness.kind"] == "sweep")
    assert parent.info.status == "KILLED"
    assert parent.data.tags["harness.finished"] == "1"
    assert runs["epochs=1"].info.run_id in empty.artifact(parent, "comparison.csv").read_text()


def test_who_starts_a_command_with_nohup_has_it_go_on(empty: Project) -> None:
    epochs = "regime.epochs=60"
    process = empty.start(HARNESS, "sweep", *SMALL, epochs, *BARE, "hydra.launcher.workers=1", program=("nohup",))
    try:
        until_it_trains(empty, process, epochs)
        for told in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            told.send_signal(signal.SIGHUP)
        done = waited(process)
    finally:
        process.kill()
    assert done.returncode == 0, done.stderr
    assert {run.info.status for run in empty.runs()} == {"FINISHED"}
