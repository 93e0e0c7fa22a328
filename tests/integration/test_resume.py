"""A sweep that is started again resumes where it was, whatever cut it off, and two commands share the work of one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from harness.records import RunRecord, RunState
from harness.tracking.reading import read_runs, read_sweeps
from harness.tracking.store import open_store
from tests.integration.conftest import SMALL, NewProject, Project, waited
from tests.pauses import Pauses

pytestmark = pytest.mark.slow

PATIENCE = 300
QUICK = (*SMALL, "optimizer=sgd", "figures=none", "tracking.log_model=false", "threads=1")
SHORT = (*QUICK, "engine=keras")
GRID = (*SHORT, "regime.epochs=5", "seed=range(4)", "hydra.launcher.workers=1")
SWAPPED = ("seed=range(4)", "hydra.launcher.workers=1", "regime.epochs=5", *reversed(SHORT))
MEASURED = re.compile(r"(final|train|fit)/")


def store_is_made(project: Project) -> bool:
    return any(project.root.glob("mlruns/*/*/artifacts/config"))


def children(project: Project) -> list[RunRecord]:
    return read_runs(open_store(project.store)) if store_is_made(project) else []


def until(condition: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def paused_in_the_second_job(project: Project, *command: str) -> tuple[subprocess.Popen[str], Pauses]:
    """A sweep by one worker whose second job waits after its third epoch."""
    pauses = Pauses(project.folder)
    pauses.after(3, let_by=1)
    process = project.start(*command, environment=pauses.environment)
    until(lambda: in_the_second_job(project), process)
    assert [run.epochs for run in children(project) if run.state is RunState.RUNNING] == [3]
    return process, pauses


def kill(command: subprocess.Popen[str], pauses: Pauses) -> None:
    """Kill the command of a sweep; its worker ends when it has noticed."""
    os.kill(command.pid, signal.SIGKILL)
    pauses.end()
    command.communicate()


def in_the_second_job(project: Project) -> bool:
    runs = children(project)
    return any(run.state is RunState.FINISHED for run in runs) and any(
        run.state is RunState.RUNNING and run.epochs > 2 for run in runs
    )


def scores(project: Project) -> dict[str, dict[str, float]]:
    """What was measured, by the run's name; each name once."""
    runs = children(project)
    assert len({run.name for run in runs}) == len(runs), "a job has one run"
    return {run.name: {key: value for key, value in run.metrics.items() if MEASURED.match(key)} for run in runs}


@pytest.fixture(scope="module")
def undisturbed(new_project: NewProject) -> tuple[Project, str]:
    """What the sweep finds that nobody disturbs, and its table."""
    project = new_project()
    done = project.run("sweep", *GRID)
    assert done.returncode == 0, done.stderr
    return project, done.stdout


@pytest.fixture(scope="module")
def cut_off(new_project: NewProject) -> tuple[Project, list[str]]:
    """A sweep whose command was killed in its second job; the names of the runs that had finished."""
    project = new_project()
    kill(*paused_in_the_second_job(project, "sweep", *GRID))
    return project, [run.run_id for run in children(project) if run.state is RunState.FINISHED]


def test_a_sweep_that_was_killed_goes_on_in_the_same_runs_and_ends_with_the_undisturbed_table(
    cut_off: tuple[Project, list[str]], undisturbed: tuple[Project, str]
) -> None:
    project, finished = cut_off
    [parent] = read_sweeps(open_store(project.store))
    assert parent.state is RunState.RUNNING
    ended = {run.run_id: run.ended for run in children(project) if run.run_id in finished}
    plan = project.run("sweep", *SWAPPED, "--plan")
    assert f"{len(finished)} of them finished" in plan.stdout, plan.stderr
    done = project.run("sweep", *SWAPPED)
    assert done.returncode == 0, done.stderr
    assert f"{len(finished)} of 4 are finished already, {4 - len(finished)} to do" in done.stderr
    [parent] = read_sweeps(open_store(project.store))
    assert parent.state is RunState.FINISHED
    assert {run.run_id: run.ended for run in children(project) if run.run_id in finished} == ended, "left alone"
    assert [run.tags["harness.job"] for run in children(project)] == ["0", "1", "2", "3"]
    assert done.stdout == undisturbed[1]
    assert scores(project) == scores(undisturbed[0])
    assert not list(project.elsewhere.iterdir())


def test_a_sweep_that_has_finished_only_shows_its_table(undisturbed: tuple[Project, str]) -> None:
    project, table = undisturbed
    before = children(project)
    again = project.run("sweep", *SWAPPED)
    assert (again.returncode, again.stdout) == (0, table)
    assert "All 4 jobs are finished already" in again.stderr
    assert children(project) == before
    assert len(read_sweeps(open_store(project.store))) == 1


def test_a_plan_says_what_there_is_and_writes_nothing(undisturbed: tuple[Project, str], empty: Project) -> None:
    new = empty.run("sweep", *GRID, "--plan")
    assert new.returncode == 0, new.stderr
    assert "4 jobs, a new sweep." in new.stdout
    assert "unknown" in new.stdout
    assert list(empty.root.iterdir()) == []
    assert list(empty.elsewhere.iterdir()) == []
    project, _ = undisturbed
    files = {file: file.stat().st_mtime_ns for file in project.root.rglob("*")}
    longer = project.run("sweep", *GRID, "seed=range(6)", "--plan")
    assert re.search(r"2 jobs to do with 1 worker: [\d.]+ (s|min), by earlier runs", longer.stdout), longer.stdout
    assert longer.stdout.count("be reused") == 4
    same = project.run("sweep", "--plan", *SWAPPED)
    assert same.stdout.count("be skipped") == 4
    assert {file: file.stat().st_mtime_ns for file in project.root.rglob("*")} == files


def test_resume_false_starts_afresh_and_only_failed_runs_nothing_else(new_project: NewProject) -> None:
    project = new_project()
    grid = (*SHORT, "regime.epochs=1", "optimizer.learning_rate=0.01,1e20", "seed=0,1", "hydra.launcher.workers=1")
    refused = project.run("sweep", *grid, "resume=only_failed")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no earlier sweep" in refused.stderr
    assert read_sweeps(open_store(project.store)) == []
    assert project.run("sweep", *grid).returncode == 1
    first = {run.run_id: run for run in children(project)}
    failed = {identity for identity, run in first.items() if run.state is RunState.FAILED}
    assert len(first) == 4
    assert len(failed) == 2
    again = project.run("sweep", *grid, "resume=only_failed")
    assert again.returncode == 1
    assert "2 of 4 are finished already, 2 to do" in again.stderr
    second = {run.run_id: run for run in children(project)}
    assert second.keys() == first.keys(), "a job that is tried again keeps its run"
    assert {identity for identity in first if second[identity].ended != first[identity].ended} == failed
    afresh = project.run("sweep", *grid, "resume=false")
    assert afresh.returncode == 1
    assert len(read_sweeps(open_store(project.store))) == 2
    assert len(children(project)) == 8


def test_two_commands_at_once_train_no_job_twice_and_print_one_table(
    undisturbed: tuple[Project, str], new_project: NewProject
) -> None:
    project = new_project()
    both = [project.start("sweep", *grid) for grid in (GRID, SWAPPED)]
    try:
        done = [waited(process) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [item.returncode for item in done] == [0, 0], [item.stderr for item in done]
    assert done[0].stdout == done[1].stdout == undisturbed[1]
    assert sum("This sweep is already running in process" in item.stderr for item in done) == 1
    assert scores(project) == scores(undisturbed[0])
    assert len(read_sweeps(open_store(project.store))) == 1
    assert sum(len(run.tags["mlflow.parentRunId"]) > 0 for run in children(project)) == 4


def test_who_watches_a_sweep_sees_its_end_and_takes_it_over_when_its_command_is_killed(
    undisturbed: tuple[Project, str], new_project: NewProject
) -> None:
    project = new_project()
    first, pauses = paused_in_the_second_job(project, "sweep", *GRID)
    watching = project.start("sweep", "--watch")
    heir = project.start("sweep", *SWAPPED)
    assert heir.stderr is not None
    said = ""
    while "Watching" not in said:
        line = heir.stderr.readline()
        assert line, said
        said += line
    assert watching.stderr is not None
    assert "runs" in (seen_first := watching.stderr.readline()), seen_first
    workers = psutil.Process(first.pid).children(recursive=True)
    os.kill(heir.pid, signal.SIGSTOP)  # else it might resume the sweep before the other has seen that it stands still
    kill(first, pauses)
    seen = waited(watching)
    os.kill(heir.pid, signal.SIGCONT)
    taken = waited(heir)
    assert seen.returncode == 0, seen.stderr
    assert "The command that ran this sweep has gone" in seen.stderr
    assert taken.returncode == 0, taken.stderr
    assert "Resuming the sweep" in taken.stderr
    assert taken.stdout == undisturbed[1]
    assert scores(project) == scores(undisturbed[0])
    assert workers
    assert not [process for process in workers if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    [parent] = read_sweeps(open_store(project.store))
    assert {key for key in parent.parameters if key.startswith("claim.")} == {"claim.1", "claim.2"}
    assert json.loads(parent.tags["harness.swept"]) == ["seed"]


def test_watching_a_sweep_by_its_id_after_its_end_shows_the_table(undisturbed: tuple[Project, str]) -> None:
    project, table = undisturbed
    [parent] = read_sweeps(open_store(project.store))
    shown = project.run("sweep", "--watch", parent.run_id[:10])
    assert (shown.returncode, shown.stdout) == (0, table)
    nobody = project.run("sweep", "--watch")
    assert nobody.returncode == 2
    assert "no sweep is running" in nobody.stderr


def test_with_another_sweeper_every_job_runs_and_that_is_said(new_project: NewProject) -> None:
    project = new_project()
    grid = (*SHORT, "regime.epochs=1", "seed=0,1", "hydra/sweeper=basic", "hydra/launcher=basic")
    for sweeps in (1, 2):
        done = project.run("sweep", *grid)
        assert done.returncode == 0, done.stderr
        assert "cannot skip finished jobs" in done.stderr
        assert len(read_sweeps(open_store(project.store))) == sweeps
    assert len(children(project)) == 4


def test_jobs_keep_their_numbers_under_hydras_own_launcher(new_project: NewProject) -> None:
    project = new_project()
    grid = (*SHORT, "regime.epochs=1", "seed=0,1,2", "hydra/launcher=basic", "optimizer.learning_rate=0.01")
    assert project.run("sweep", *grid).returncode == 0
    runs = children(project)
    project.client().set_terminated(runs[1].run_id, "KILLED")
    done = project.run("sweep", *grid)
    assert done.returncode == 0, done.stderr
    assert [run.run_id for run in children(project)] == [run.run_id for run in runs]
    assert children(project)[1].tags["harness.job"] == "1"
    assert "tracking.job" not in children(project)[1].tags["harness.overrides"]
    folders = sorted(path.parent.name for path in (project.root / "outputs").rglob("run.log"))
    assert folders == ["0", "1", "1", "2"]


def test_a_shuffled_sweep_that_was_cut_off_goes_on_with_every_job_as_itself(
    undisturbed: tuple[Project, str], new_project: NewProject
) -> None:
    project, shuffled = new_project(), [word.replace("range(4)", "shuffle(range(4))") for word in GRID]
    kill(*paused_in_the_second_job(project, "sweep", *shuffled))
    done = project.run("sweep", *shuffled, "hydra.sweeper.max_batch_size=2")
    assert done.returncode == 0, done.stderr
    assert {run.name: run.parameters["seed"] for run in children(project)} == {f"seed={n}": str(n) for n in range(4)}
    assert scores(project) == scores(undisturbed[0]), "nothing went on from the checkpoint of another"
