"""`kill -9` during the first seconds of a project's first command: the next command works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from harness.tracking.preflight import check_sqlite
from harness.tracking.relocation import artifact_root
from tests.integration.conftest import SMALL, NewProject

KILLS = 6
SEED = 14


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(600)
def test_first_commands_that_are_killed_at_any_moment_leave_a_store_or_none(new_project: NewProject) -> None:
    project, draw = new_project(), random.Random(SEED)
    arguments = ("train", *SMALL, "debug=tiny")
    began = 0
    for _ in range(KILLS):
        for file in project.root.glob("mlflow.db*"):  # each is a first command; what was begun under another name stays
            file.unlink()
        process = project.start(*arguments)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(project.root.glob(".mlflow.db.*.part")):
            if (project.root / "mlflow.db").exists() or process.poll() is not None:
                break
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.0, 2.5))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if not (database := project.root / "mlflow.db").exists():
            began += 1
            continue
        check_sqlite(database, artifact_root(database))
    assert began, "no kill met a store that was being made"
    done = project.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert not list(project.root.glob(".mlflow.db.*"))
