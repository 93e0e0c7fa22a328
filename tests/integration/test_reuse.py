"""What is trained is not trained again by the real command: in a larger sweep, after a deletion, in other versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from subprocess import CompletedProcess

import pytest

from harness.records import RunRecord, RunState
from harness.tracking.reading import read_runs, read_sweeps, sweep_runs
from harness.tracking.store import open_store
from tests.integration.conftest import SMALL, NewProject, Project
from tests.integration.test_resume import children, kill, paused_in_the_second_job

pytestmark = pytest.mark.slow

QUICK = (
    *SMALL, "optimizer=sgd", "engine=keras", "figures=none", "tracking.log_model=false", "threads=1", "regime.epochs=1",
)  # fmt: skip


def rows(table: str) -> list[str]:
    return [line for line in table.splitlines() if re.match(r"\d", line)]


def trained(project: Project) -> dict[str, RunRecord]:
    """What the runs recorded, by their ids; where a row stands in a sweep's table is written on reused runs too."""
    runs = read_runs(open_store(project.store))
    return {
        run.run_id: replace(run, tags={key: run.tags[key] for key in run.tags if not key.startswith("harness.row")})
        for run in runs
    }


@dataclass(frozen=True)
class Grown:
    """Seed 1 as a single run, seeds 0 and 1 as a sweep, then seeds 0 to 3."""

    project: Project
    plan: CompletedProcess[str]
    done: CompletedProcess[str]
    before: dict[str, RunRecord]

    @property
    def parent(self) -> RunRecord:
        return read_sweeps(open_store(self.project.store))[-1]


@pytest.fixture(scope="module")
def grown(new_project: NewProject) -> Grown:
    project = new_project()
    for command in (("train", *QUICK, "seed=1"), ("sweep", *QUICK, "seed=range(2)")):
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
    before = trained(project)
    larger = ("sweep", *QUICK, "seed=range(4)", "hydra/launcher=basic")
    files = {file: file.stat().st_mtime_ns for file in project.root.rglob("*")}
    plan = project.run(*larger, "--plan")
    assert {file: file.stat().st_mtime_ns for file in project.root.rglob("*")} == files
    return Grown(project, plan, project.run(*larger), before)


def test_a_seed_is_added_without_training_the_others_again(grown: Grown) -> None:
    assert grown.done.returncode == 0, grown.done.stderr
    assert len(grown.before) == 2, "the sweep of two seeds has reused the single run"
    after = trained(grown.project)
    assert len(after) == 4
    assert {run_id: after[run_id] for run_id in grown.before} == grown.before, "nothing is written into them"
    runs = sweep_runs(open_store(grown.project.store), grown.parent.run_id)
    assert [run.parameters["seed"] for run in sorted(runs, key=lambda run: run.tags["harness.job"])] == list("0123")
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert grown.parent.state is RunState.FINISHED
    assert (grown.parent.tags["harness.jobs"], grown.parent.tags["harness.finished"]) == ("4", "4")


def test_it_is_said_in_the_plan_at_the_start_and_in_the_summary(grown: Grown) -> None:
    assert "2 of 4 jobs reused" in grown.plan.stdout
    assert grown.plan.stdout.count("be reused") == 2
    assert "2 jobs to do" in grown.plan.stdout
    start, _, _ = grown.done.stderr.partition("[3/4]")
    assert "2 of 4 jobs reused, 2 to do" in start
    assert "2 of 4 jobs reused" in grown.done.stdout.splitlines()[0]
    note = grown.parent.tags["mlflow.note.content"]
    assert all(run_id[:8] in note for run_id in grown.before)


def test_its_table_is_that_of_a_sweep_that_trained_everything(grown: Grown, empty: Project) -> None:
    whole = empty.run("sweep", *QUICK, "seed=range(4)", "hydra.launcher.workers=1")
    assert whole.returncode == 0, whole.stderr
    assert rows(grown.done.stdout) == rows(whole.stdout) != []
    for command in (("compare",), ("sweep", "--watch", grown.parent.run_id)):
        shown = grown.project.run(*command)
        assert rows(shown.stdout) == rows(whole.stdout), shown.stderr
        assert "2 of 4 jobs reused" in shown.stdout
    report = grown.project.run("report", "--output", "report.md", "--no-log")
    assert report.returncode == 0, report.stderr
    assert "2 of 4 runs, trained by earlier commands" in (grown.project.elsewhere / "report.md").read_text()
    (grown.project.elsewhere / "report.md").unlink()


def test_what_was_deleted_is_trained_again_and_nothing_else(grown: Grown) -> None:
    project = grown.project
    runs = sweep_runs(open_store(project.store), grown.parent.run_id)
    reused, own = (next(run for run in runs if (run.run_id in grown.before) == yes) for yes in (True, False))
    for run in (reused, own):
        project.client().delete_run(run.run_id)
    kept = trained(project)
    done = project.run("sweep", *QUICK, "seed=range(4)")
    assert done.returncode == 0, done.stderr
    assert "1 of 4 are finished already, 1 of 4 jobs reused, 2 to do" in done.stderr
    after = trained(project)
    assert {run_id: after[run_id] for run_id in kept} == kept
    seeds = sorted(run.parameters["seed"] for run_id, run in after.items() if run_id not in kept)
    assert seeds == sorted(run.parameters["seed"] for run in (reused, own))
    assert rows(done.stdout) == rows(grown.done.stdout)
    again = project.run("sweep", *QUICK, "seed=range(4)")
    assert "All 4 jobs are finished already" in again.stderr
    smaller = project.run("sweep", *QUICK, "seed=range(1,3)")
    assert "2 of 2 jobs reused, 0 to do" in smaller.stderr
    assert trained(project) == after


def test_other_versions_and_resume_false_train_anew_and_delete_nothing(new_project: NewProject) -> None:
    project, grid = new_project(), ("sweep", *QUICK, "seed=0,1")
    assert project.run(*grid).returncode == 0
    first, [parent] = trained(project), read_sweeps(open_store(project.store))
    for run_id in first:
        project.client().set_tag(run_id, "harness.keras", "3.0.0")
    first = trained(project)
    done = project.run(*grid)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 jobs were begun with" in done.stderr
    assert "Keras 3.0.0. Now it is" in done.stderr
    assert f"harness compare --sweep {parent.run_id[:8]}" in done.stderr
    second = trained(project)
    assert {run_id: second[run_id] for run_id in first} == first
    assert len(second) == 4
    assert {run.tags["harness.keras"] for run_id, run in second.items() if run_id not in first} == {version("keras")}
    assert "2 runs, 1 configuration" in done.stdout, "the table mixes no versions"
    again = project.run(*grid)
    assert "All 2 jobs are finished already" in again.stderr
    afresh = project.run(*grid, "resume=false")
    assert afresh.returncode == 0, afresh.stderr
    assert "reused" not in afresh.stderr + afresh.stdout
    assert len(trained(project)) == 6
    assert len(read_sweeps(open_store(project.store))) == 3


def test_a_run_that_was_cut_off_is_not_resumed_from_its_checkpoint_by_other_versions(new_project: NewProject) -> None:
    project = new_project()
    grid = ("sweep", *QUICK, "regime.epochs=5", "seed=range(3)", "hydra.launcher.workers=1",
            "tracking.checkpoint_seconds=0")  # fmt: skip
    kill(*paused_in_the_second_job(project, *grid))
    [done] = [run for run in children(project) if run.state is RunState.FINISHED]
    [cut] = [run for run in children(project) if run.state is not RunState.FINISHED]
    project.client().set_tag(cut.run_id, "harness.tensorflow", "2.0.0")
    again = project.run(*grid)
    assert again.returncode == 0, again.stderr
    assert "1 of 3 jobs reused" in again.stderr
    assert "1 of 3 jobs were begun with TensorFlow 2.0.0" in again.stderr
    [left] = [run for run in read_runs(open_store(project.store)) if run.run_id == cut.run_id]
    assert left.state is not RunState.FINISHED
    assert left.tags["harness.tensorflow"] == "2.0.0"
    runs = sweep_runs(open_store(project.store), read_sweeps(open_store(project.store))[-1].run_id)
    assert sorted(run.parameters["seed"] for run in runs if run.state is RunState.FINISHED) == ["0", "1", "2"]
    assert done.run_id in {run.run_id for run in runs}
    assert cut.run_id not in {run.run_id for run in runs}


@pytest.mark.parametrize("setting", ["tracking.job=0", "tracking.parent_run=0123"])
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_job_is_told_its_place_by_nobody_else(empty: Project, command: str, setting: str) -> None:
    done = empty.run(command, *QUICK, setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert setting in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(empty.root.iterdir()) == []
