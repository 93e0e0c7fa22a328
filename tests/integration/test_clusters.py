"""Sweeps on clusters: Ray with a head and two nodes, one of which is killed; Slurm, for which submitit's local executor
stands in (its tasks are processes of this machine)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from harness.records import RunState
from harness.sweeps import ray_launcher, worker_process
from harness.sweeps.contract import Worker
from harness.sweeps.ray_launcher import NO_GPU, RayWorker
from harness.sweeps.worker import WorkerSpec
from harness.tracking.reading import read_runs, read_sweeps
from harness.tracking.selection import CONFIRMS_TAG, JOB_TAG
from harness.tracking.store import open_store
from tests.integration.conftest import NewProject, Project, waited
from tests.integration.test_resume import QUICK, children, scores, until
from tests.sweeps.launcher_contract import Opened, WorkerContract

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore")]

GRID = (*QUICK, "seed=range(3)", "regime.epochs=100")
KEPT = ("tracking.checkpoint_seconds=0", "tracking.upload_seconds=0")
SLURM = ("hydra/launcher=slurm", "hydra.launcher.executor=local", "hydra.launcher.tasks=2")
Undisturbed = tuple[dict[str, dict[str, float]], str]
SEARCH = (
    "search", *QUICK, "regime.epochs=100", "regime.validation.strategy=stratified", "regime.validation.size=100",
    "optimizer.learning_rate=tag(log,interval(1e-3,1e-1))", "search=random", "search.trials=4", "search.seeds=1",
    "search.confirm=2",
)  # fmt: skip
SMALL_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def undisturbed(new_project: NewProject) -> Undisturbed:
    """The scores of the sweep and its table, trained by the pool of this machine."""
    project = new_project()
    done = project.run("sweep", *GRID, "hydra.launcher.workers=2")
    assert done.returncode == 0, done.stderr
    return scores(project), done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    cluster = Cluster(initialize_head=True, head_node_args=SMALL_NODE | {"num_cpus": 0, "include_dashboard": False})
    cluster.nodes = [cluster.add_node(**SMALL_NODE) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class LightActor(ray_launcher._Actor):
    """Its worker process does not import TensorFlow: none of the tasks trains."""

    def __init__(self, spec: WorkerSpec, environment: dict[str, str]) -> None:
        worker_process.load_libraries = abs  # type: ignore[assignment]
        super().__init__(spec, environment)


@pytest.fixture(scope="module")
def opened(cluster: Any) -> Iterator[Opened]:
    def open_worker(spec: WorkerSpec) -> Worker:
        return RayWorker(WorkerSpec(spec.number, 1, NO_GPU), num_cpus=0.5, num_gpus=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_launcher, "_Actor", LightActor)
        ray_launcher._connect(cluster.address)
        yield open_worker
        ray.shutdown()


class TestRayWorker(WorkerContract):
    """An actor keeps the contract of a worker."""


def test_a_node_that_is_killed_costs_no_job_and_changes_no_number(
    cluster: Any, new_project: NewProject, undisturbed: Undisturbed
) -> None:
    project = new_project()
    command = project.start("sweep", *GRID, *KEPT, "hydra/launcher=ray", environment={"RAY_ADDRESS": cluster.address})
    until(lambda: sum(run.state is RunState.RUNNING and run.epochs > 5 for run in children(project)) == 2, command)
    cluster.remove_node(cluster.nodes[-1], allow_graceful=False)
    done = waited(command)
    assert (done.returncode, done.stdout) == (0, undisturbed[1]), done.stderr
    assert "is trained elsewhere: Its place in the Ray cluster was lost" in done.stderr
    assert scores(project) == undisturbed[0], "every job has one run, with the same numbers"


def trained(project: Project) -> dict[str, RunState]:
    """The state of each job of the only search."""
    store = open_store(project.store)
    [parent] = [sweep for sweep in read_sweeps(store) if CONFIRMS_TAG not in sweep.tags]
    assert [key for key in parent.parameters if key.startswith("trial.")] == [f"trial.{number}" for number in range(4)]
    runs = read_runs(store, parent_id=parent.run_id)
    assert len(runs) == 4, "no trial is trained twice"
    return {run.tags[JOB_TAG]: run.state for run in runs}


def test_a_search_loses_no_trial_with_a_node(cluster: Any, new_project: NewProject) -> None:
    project, node = new_project(), cluster.add_node(**SMALL_NODE)
    command = project.start(*SEARCH, *KEPT, "hydra/launcher=ray", environment={"RAY_ADDRESS": cluster.address})
    until(lambda: sum(run.state is RunState.RUNNING and run.epochs > 5 for run in children(project)) >= 2, command)
    cluster.remove_node(node, allow_graceful=False)
    done = waited(command)
    assert done.returncode == 0, done.stderr
    assert "is trained elsewhere: Its place in the Ray cluster was lost" in done.stderr
    assert "flattered by" in done.stdout
    assert trained(project) == dict.fromkeys("0123", RunState.FINISHED)


def test_the_tasks_of_slurm_train_a_search(new_project: NewProject) -> None:
    project = new_project()
    command = project.start(*SEARCH, *KEPT, *SLURM)
    until(lambda: sum(run.epochs > 5 for run in children(project)) >= 2, command)
    tasks = [one for one in psutil.Process(command.pid).children() if "submitit" in " ".join(one.cmdline())]
    for process in [tasks[0], *tasks[0].children(recursive=True)]:
        process.kill()
    done = waited(command)
    assert done.returncode == 0, done.stderr
    assert "Tasks that were pre-empted or lost: " in done.stderr
    assert "flattered by" in done.stdout
    assert trained(project) == dict.fromkeys("0123", RunState.FINISHED)


def test_tasks_that_are_killed_are_submitted_again_and_the_table_is_the_same(
    new_project: NewProject, undisturbed: Undisturbed
) -> None:
    project = new_project()
    command = project.start("sweep", *GRID, *KEPT, *SLURM)
    until(lambda: sum(run.epochs > 5 for run in children(project)) >= 2, command)
    tasks = [one for one in psutil.Process(command.pid).children() if "submitit" in " ".join(one.cmdline())]
    for process in [*tasks, *(child for task in tasks for child in task.children(recursive=True))]:
        process.kill()
    done = waited(command)
    assert (done.returncode, done.stdout) == (0, undisturbed[1]), done.stderr
    assert "Tasks that were pre-empted or lost: " in done.stderr
    assert scores(project) == undisturbed[0], "every job has one run, with the same numbers"


def test_a_closed_terminal_ends_no_task_and_the_last_makes_the_table(new_project: NewProject) -> None:
    project = new_project()
    command = project.start("sweep", *GRID, *KEPT, *SLURM)
    until(lambda: any(run.epochs > 5 for run in children(project)), command)
    command.send_signal(signal.SIGHUP)
    command.communicate()
    until(lambda: read_sweeps(open_store(project.store))[0].state is RunState.FINISHED)
    assert all(run.state is RunState.FINISHED for run in children(project))
    assert sorted(run.name for run in children(project)) == ["seed=0", "seed=1", "seed=2"]
