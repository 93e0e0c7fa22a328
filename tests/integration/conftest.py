"""Real commands, each in its own project and run once for many tests."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

from tests import forking
from tests.conftest import REPOSITORY

HARNESS = str(Path(sys.executable).with_name("harness"))
SMALL = (f"dataset.directory={REPOSITORY / 'tests' / 'data'}", "dataset.train_size=600", "dataset.test_size=200")
SGD = (*SMALL, "optimizer=sgd", "regime.epochs=2", "figures=none", "engine=keras")
DIVERGING = "optimizer.learning_rate=1e20"
VALIDATED = (
    *SMALL,
    "regime.epochs=3",
    "regime.validation.strategy=stratified",
    "regime.validation.size=100",
    "model.dropout=0.2",
)


@dataclass(frozen=True)
class Project:
    """An empty project root, and a working directory elsewhere in which no file should appear."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "project"

    @property
    def elsewhere(self) -> Path:
        return self.folder / "elsewhere"

    @property
    def store(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    def start(
        self,
        *arguments: str,
        program: tuple[str, ...] | None = None,
        script: str = HARNESS,
        environment: Mapping[str, str] | None = None,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start the real command as an interactive shell does, or as a fork where that makes no difference.

        `script` is another Python file that starts in the same way, `program` any other command.
        """
        inherited = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
        own = {"HARNESS_ROOT": str(self.root), "HARNESS_CACHE": str(self.folder / "cache"), "COLUMNS": "200"}
        own["TERM"] = "xterm-256color"  # it may not be set on a CI machine
        # A process that inherits an ignored SIGINT (from a background job of a shell) would not notice Ctrl-C.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return (subprocess.Popen if program else forking.popen_class(environment or ()))(
                [*(program or (script,)), *arguments],
                cwd=self.elsewhere,
                env=inherited | own | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, handler)

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Start the real command and wait for it."""
        return waited(self.start(*arguments, **options))

    def client(self, uri: str | None = None) -> MlflowClient:
        return MlflowClient(uri or self.store)

    def runs(self, uri: str | None = None) -> list[Run]:
        """Every run of the store, oldest first."""
        client = self.client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time"]))

    def artifact(self, run: Run, name: str, uri: str | None = None) -> Path:
        return Path(self.client(uri).download_artifacts(run.info.run_id, name))


def workers(command: int) -> list[psutil.Process]:
    """The worker processes of a sweep that are at a job: each writes its job's log."""
    return [child for child in psutil.Process(command).children() if job_of(child) is not None]


def job_of(worker: psutil.Process) -> str | None:
    """The folder's name, which is the number, of the job whose log a process writes; None if it writes none."""
    with suppress(psutil.NoSuchProcess):  # it has ended in this very moment
        for file in worker.open_files():
            if file.path.endswith("run.log"):
                return Path(file.path).parent.name
    return None


def waited(process: subprocess.Popen[str], timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Wait for a started process, at most `timeout` seconds. Returns its exit code and output."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass(frozen=True)
class Outcome:
    """A command that has ended, in the project that it ran in."""

    project: Project
    done: subprocess.CompletedProcess[str]

    @property
    def parent(self) -> Run:
        (parent,) = (run for run in self.project.runs() if run.data.tags["harness.kind"] == "sweep")
        return parent

    @property
    def children(self) -> list[Run]:
        """The runs of jobs, by the number of the job."""
        runs = [run for run in self.project.runs() if run.data.tags["harness.kind"] == "run"]
        return sorted(runs, key=lambda run: int(run.data.tags["harness.job"]))


NewProject = Callable[[], Project]


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> NewProject:
    def make() -> Project:
        project = Project(tmp_path_factory.mktemp("integration"))
        project.root.mkdir()
        project.elsewhere.mkdir()
        return project

    return make


@pytest.fixture
def empty(new_project: NewProject) -> Project:
    return new_project()


@pytest.fixture(scope="session")
def ended(new_project: NewProject, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Outcome]:
    """The outcomes behind `trained` and `swept`, made once for all workers of pytest. Tests must not change them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _ended(new_project)
    kept = tmp_path_factory.getbasetemp().parent / "ended"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_ended(new_project)))
        return cast("tuple[Outcome, Outcome]", pickle.loads(kept.read_bytes()))


def _ended(new_project: NewProject) -> tuple[Outcome, Outcome]:
    """Run both commands at the same time. The single run is no fork, and so has hashes of its own."""
    single, grid = new_project(), new_project()
    git = ["git", "-C", str(single.root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q", "-b", "trunk"], ["commit", "-q", "--allow-empty", "-m", "Not the harness's code"]):
        subprocess.run([*git, *command], check=True)
    # One thread for both, because results depend on it: a worker has one thread if there are as many jobs as cores.
    training = single.start("train", *VALIDATED, "seed=1", "threads=1", program=(HARNESS,))
    sweeping = grid.start("sweep", "optimizer=sgd,adam", *VALIDATED, "seed=range(2)", "threads=1")
    return Outcome(single, waited(training)), Outcome(grid, waited(sweeping))


@pytest.fixture(scope="session")
def trained(ended: tuple[Outcome, Outcome]) -> Outcome:
    """One run with a validation split, in a project that is another git repository."""
    return ended[0]


@pytest.fixture(scope="session")
def swept(ended: tuple[Outcome, Outcome]) -> Outcome:
    """A sweep of two optimizers and two seeds with a validation split. `trained` has the settings of one of them."""
    return ended[1]
