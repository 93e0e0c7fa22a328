"""Several machines and users with one server: sweep, join, compare, report."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking.copying import COPY_TAG, copy_store
from harness.tracking.reading import read_runs, read_sweeps
from harness.tracking.store import open_store
from tests.forking import HOST
from tests.integration.conftest import Project, waited
from tests.integration.test_resume import QUICK, until
from tests.services.services import Server, login
from tests.tracking.test_copying import contents, fill

pytestmark = pytest.mark.services

NODE = str(Path(__file__).with_name("node.py"))
GRID = (*QUICK, "seed=range(3)", "regime.epochs=40", "hydra.launcher.workers=1", "tracking.experiment=team")


def node(project: Project, name: str, uri: str, *arguments: str) -> subprocess.Popen[str]:
    """A command on a machine with a root, a home and a name of its own."""
    home = project.folder / name
    (home / "root").mkdir(parents=True)
    own = {"HARNESS_ROOT": str(home / "root"), "HARNESS_NODE_HOME": str(home), "MLFLOW_TRACKING_URI": uri}
    return project.start(*arguments, script=NODE, environment={**own, HOST: name})


def test_three_machines_train_a_sweep_and_one_of_them_is_killed(service: Server, empty: Project) -> None:
    alone = empty.run("sweep", *GRID)
    assert alone.returncode == 0, alone.stderr
    first = node(empty, "first", service.uri, "sweep", *GRID)
    others = [
        node(empty, name, service.uri, "join", "latest", "--wait", "hydra.launcher.workers=1") for name in ("b", "c")
    ]
    store = open_store(service.uri)

    def all_train() -> bool:
        sweeps = read_sweeps(store)
        runs = read_runs(store, parent_id=sweeps[0].run_id) if sweeps else []
        return len(runs) >= 3

    until(all_train, first, *others)
    others[0].send_signal(signal.SIGKILL)
    done = waited(first)
    assert (done.returncode, done.stdout) == (0, alone.stdout), done.stderr
    assert waited(others[1]).returncode == 0
    others[0].communicate()
    [parent] = read_sweeps(store)
    runs = read_runs(store, parent_id=parent.run_id)
    assert sorted(run.name for run in runs) == sorted(run.name for run in read_runs(open_store(empty.store)))
    used = {"MLFLOW_TRACKING_URI": service.uri}
    compared = empty.run("compare", "--experiment", "team", environment=used)
    assert (compared.returncode, compared.stderr) == (0, "")
    reported = empty.run("report", "latest", "--output", str(empty.folder / "report.md"), environment=used)
    assert reported.returncode == 0, reported.stderr
    assert f"Stored as report.html and report.md with the run {parent.run_id}" in reported.stderr
    links = empty.run("ui", environment=used)
    page = f"{service.uri}/#/experiments/{parent.experiment_id}/runs"
    assert (links.returncode, links.stderr) == (0, "")
    assert links.stdout.splitlines() == [
        f"MLflow UI: {service.uri}",
        f"runs:      {page}?workflowType=machine_learning",
        f"sweep:     {page}/{parent.run_id}",
        f"report:    {page}/{parent.run_id}/artifacts/report.html",
    ]


def test_who_may_not_is_told_what_to_do(service: Server, empty: Project) -> None:
    training = ("train", *QUICK, "regime.epochs=1", f"tracking.uri={service.uri}", "tracking.experiment=anns")
    assert empty.run(*training).returncode == 0
    refused = empty.run(*training, environment=login("ben"))
    assert refused.returncode == 1
    assert "does not permit this to the user ben in the experiment 'anns' (403)" in refused.stderr
    unknown = empty.run(*training, environment=login("carl"))
    assert unknown.returncode == 1
    assert "wants a user and a password (401). It did not accept the user carl." in unknown.stderr


def test_a_store_is_copied_to_the_server(service: Server, project: Path, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    source, target = open_store(f"sqlite:///{tmp_path}/from/mlflow.db"), open_store(service.uri)
    _, child = fill(source, tmp_path)
    assert copy_store(source, target, print).runs == 2
    assert copy_store(source, target, print).there == 2
    experiment = MlflowClient(service.uri).get_experiment_by_name("study")
    [copy] = MlflowClient(service.uri).search_runs([experiment.experiment_id], f"tags.`{COPY_TAG}` = '{child}'")
    assert contents(target, copy.info.run_id) == contents(source, child)
