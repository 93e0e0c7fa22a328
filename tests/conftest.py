"""Shared fixtures: a project for each test, the bundled images, and the real command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from tests import forking, tables

# If pytest was started in the background, SIGINT is ignored, and child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


LONGEST = (
    "test_faults", "test_compiled_engine", "test_tutorial", "test_isolation", "test_resume", "test_engines",
    "test_state", "test_interruption", "test_workers", "test_surroundings", "test_kills", "test_guides",
)  # fmt: skip
"""Modules that take longest, with their waiting, in this order. They start first, so that none waits at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run modules and their tests in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("shuffle")) is not None:
        draw = random.Random(seed)
        draw.shuffle(items)
        places = {file: draw.random() for file in sorted({item.path for item in items})}
        items.sort(key=lambda item: places[item.path])
    else:
        items.sort(key=lambda item: _place(item.path))  # stable: a module's tests keep their order


def _place(file: Path) -> tuple[int, int]:
    first = LONGEST.index(file.stem) if file.stem in LONGEST else len(LONGEST)
    return first, ("integration", "training").count(file.parent.name) == 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    forking.new_processes = tables.real = item.get_closest_marker("processes") is not None
    tables.share()


class RunCommand(Protocol):
    def __call__(
        self, *arguments: str, timeout: float = 300, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def repository() -> Path:
    """The checkout of these tests."""
    return REPOSITORY


@pytest.fixture
def subset() -> Path:
    """The folder with a small part of both datasets."""
    return REPOSITORY / "tests" / "data"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an empty project with its own store, outputs and cache.

    The working directory is another folder, so that a file that is written there by mistake is noticed.
    """
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HARNESS_ROOT", str(root))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(elsewhere)
    return root


@pytest.fixture
def executable() -> str:
    """The installed console script."""
    return str(Path(sys.executable).with_name("harness"))


@pytest.fixture
def run_command(project: Path, executable: str, request: pytest.FixtureRequest) -> RunCommand:
    """Run the real `harness` in the test's project and wait for it. In slow tests, it is a fork (tests/forking.py)."""
    slow = request.node.get_closest_marker("slow") is not None

    def run(
        *arguments: str, timeout: float = 300, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with (forking.popen_class(env or ()) if slow else subprocess.Popen)(
            [executable, *arguments],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run
