"""The jobs of a sweep, beside what the store has of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow.entities import Metric, Param

from harness.composing import SweepJobs, check_sweep, expand_sweep
from harness.config.schema import flatten
from harness.records import RunState
from harness.sweeps.plan import SweepPlan, choosing_jobs, earlier_sweeps, plan_sweep, resumed
from harness.tracking.reading import read_runs
from harness.tracking.selection import FINGERPRINT_TAG, JOB_TAG, PARENT_TAG, SWEEP_FINGERPRINT_TAG
from harness.tracking.store import open_store
from hydra_plugins.harness import GridSweeper

PLAN = """
import resource, sys
from harness.cli import main
sys.argv = ["harness", "sweep", "--plan", *sys.argv[1:]]
main()
used = resource.getrusage(resource.RUSAGE_SELF)
print(sorted({"tensorflow", "keras", "mlflow", "matplotlib", "scipy"} & set(sys.modules)))
print(used.ru_utime + used.ru_stime)
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(int(peak) / 1024)  # not `ru_maxrss`: a process begins with that of the one that started it
"""
GRID = ["seed=range(3)", "optimizer=sgd,adam"]
SWAPPED = ["optimizer=sgd,adam", "seed=range(3)"]


def planned(words: list[str]) -> tuple[SweepJobs, SweepPlan]:
    jobs = expand_sweep(words)
    return jobs, plan_sweep(jobs, check_sweep(jobs), open_store())


def test_the_order_of_words_makes_no_other_sweep_but_one_more_value_does(project: Path) -> None:
    one, same, other = (planned(words)[1] for words in (GRID, SWAPPED, [*GRID, "seed=range(4)"]))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_jobs_that_differ_in_their_label_only_are_two(project: Path) -> None:
    plan = planned(["model=mlp", "model.name=a,b"])[1]
    assert plan.jobs[0].fingerprint == plan.jobs[1].fingerprint
    assert plan.fingerprint != planned(["model=mlp", "model.name=a"])[1].fingerprint


@pytest.fixture
def begun(project: Path) -> str:
    """A sweep of GRID in the store of which job 4 failed, job 1 finished, and job 0 died before it read its data."""
    jobs, plan = planned(GRID)
    client = open_store().client
    experiment = client.create_experiment("harness")
    tags = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint}
    parent = client.create_run(experiment, tags=tags, run_name="the sweep").info.run_id
    for number, state in ((4, "FAILED"), (1, "FINISHED"), (0, "KILLED")):
        job = plan.jobs[number]
        tags = {PARENT_TAG: parent, JOB_TAG: str(number), "harness.overrides": " ".join(jobs.jobs[number])}
        if number:
            tags |= {FINGERPRINT_TAG: job.fingerprint, "harness.intra_op_threads": "3"}
        run = client.create_run(experiment, tags=tags, run_name=job.name)
        client.log_param(run.info.run_id, "model.name", job.config.model.name)
        client.set_terminated(run.info.run_id, state)
    return str(parent)


def under(words: list[str]) -> SweepPlan:
    plan = planned(words)[1]
    [parent] = earlier_sweeps(plan, open_store())
    return resumed(plan, open_store(), parent, ("seed", "optimizer"))


def test_what_was_begun_is_found_in_whatever_order_the_words_come(begun: str) -> None:
    for words in (GRID, SWAPPED):
        plan = under(words)
        assert plan.parent is not None
        assert plan.parent.run_id == begun
        found = {job.name: (job.number, job.run.state if job.run else None) for job in plan.jobs}
        assert (
            found
            == {
                "seed=0 sgd": (0, RunState.KILLED),
                "seed=0 adam": (1, RunState.FINISHED),
                "seed=1 sgd": (2, None),
                "seed=1 adam": (3, None),
                "seed=2 sgd": (4, RunState.FAILED),
                "seed=2 adam": (5, None),
            }
            or words is SWAPPED
        )
        assert sorted(job.number for job in plan.jobs) == [0, 1, 2, 3, 4, 5], "each job has a number of its own"
        assert {name: found[name] for name in ("seed=0 sgd", "seed=0 adam", "seed=2 sgd")} == {
            "seed=0 sgd": (0, RunState.KILLED),
            "seed=0 adam": (1, RunState.FINISHED),
            "seed=2 sgd": (4, RunState.FAILED),
        }
        assert plan.threads == 3


def test_due_is_what_is_not_finished_or_only_what_failed(begun: str) -> None:
    plan = under(GRID)
    assert sorted(job.number for job in plan.due("true").values()) == [0, 2, 3, 4, 5]
    assert [job.number for job in plan.due("only_failed").values()] == [4]


def test_our_sweeper_carries_out_the_jobs_that_it_is_given_and_makes_no_grid() -> None:
    jobs = [["seed=2", "tracking.job=7"], ["seed=0", "tracking.job=1"], ["seed=1", "tracking.job=4"]]
    grid = OverridesParser.create().parse_overrides(["seed=shuffle(range(9))"])
    with choosing_jobs(jobs):
        assert GridSweeper.split_arguments(grid, None) == [jobs]
        assert GridSweeper.split_arguments(grid, 2) == [jobs[:2], jobs[2:]]
    assert len(GridSweeper.split_arguments(grid, None)[0]) == 9, "without a plan it is Hydra's own"


def test_of_two_runs_of_a_job_the_finished_one_counts(begun: str) -> None:
    client = open_store().client
    [done] = [run for run in read_runs(open_store(), parent_id=begun) if run.state is RunState.FINISHED]
    again = client.create_run(done.experiment_id, tags=dict(done.tags), run_name=done.name)
    client.log_param(again.info.run_id, "model.name", done.parameters["model.name"])
    client.set_terminated(again.info.run_id, "KILLED")
    [job] = [job for job in under(GRID).jobs if job.number == 1]
    assert job.run == replace(done)


@pytest.mark.slow
def test_ten_thousand_jobs_are_planned_in_seconds_and_little_memory(project: Path) -> None:
    words = ["model=mlp", "model.width=range(1,1001)", "seed=range(10)"]
    done = subprocess.run([sys.executable, "-c", PLAN, *words], capture_output=True, text=True, check=True)
    *table, heavy, seconds, megabytes = done.stdout.splitlines()
    assert table[0] == "10000 jobs, a new sweep."
    assert heavy == "[]"
    assert float(seconds) < 30, "it is a third of that on a machine that does nothing else"
    assert float(megabytes) < 300


@pytest.mark.slow
def test_a_thousand_finished_runs_are_looked_up_in_two_seconds(project: Path) -> None:
    jobs = expand_sweep(["seed=range(1000)"])
    plan = plan_sweep(jobs, check_sweep(jobs), open_store())
    client = open_store().client
    experiment = client.create_experiment("harness")
    tags = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint}
    parent = client.create_run(experiment, tags=tags).info.run_id
    first = client.create_run(experiment, tags={PARENT_TAG: parent, "harness.kind": "run"}, run_name="seed=0")
    values = [Param(key, str(value)) for key, value in flatten(plan.jobs[0].config).items()]
    scores = [Metric(f"final/{name}", 0.5, 0, 0) for name in range(30)]
    for start in range(0, len(values), 100):
        client.log_batch(first.info.run_id, params=values[start : start + 100], metrics=scores)
    client.set_terminated(first.info.run_id)
    with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        for number, job in enumerate(plan.jobs):
            copy = f"{number:032x}"
            for table in ("runs", "params", "latest_metrics", "tags"):
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                taken = ", ".join("?" if column == "run_uuid" else f'"{column}"' for column in columns)
                database.execute(
                    f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE run_uuid = ?", (copy, first.info.run_id)
                )
            pairs = [(JOB_TAG, str(number), copy), (FINGERPRINT_TAG, job.fingerprint, copy)]
            database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", pairs)
    client.delete_run(first.info.run_id)
    started = time.process_time()  # other tests may use the processors meanwhile
    [found] = earlier_sweeps(plan, open_store())
    looked_up = resumed(plan, open_store(), found, ("seed",))
    seconds = time.process_time() - started
    assert looked_up.finished == 1000
    assert looked_up.due("true") == {}
    assert [job.number for job in looked_up.jobs] == list(range(1000))
    assert seconds < 2.0
