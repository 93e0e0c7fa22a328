"""What is trained is not trained again: which runs of the store stand for jobs of a new sweep."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param

from harness.composing import check_sweep, expand_sweep
from harness.config.schema import flatten
from harness.sweeps.plan import SweepPlan, earlier_sweeps, plan_sweep, resumed, reusing
from harness.tracking.reused_tags import reused_tags
from harness.tracking.selection import FINGERPRINT_TAG, JOB_TAG, PARENT_TAG, SWEEP_FINGERPRINT_TAG
from harness.tracking.store import open_store

LIBRARIES = {"harness.tensorflow": version("tensorflow"), "harness.keras": version("keras")}
OLD = {"harness.tensorflow": "2.0.0"}


def planned(*words: str) -> SweepPlan:
    jobs = expand_sweep(list(words))
    return plan_sweep(jobs, check_sweep(jobs), open_store())


def found(*words: str) -> list[str | None]:
    """The runs that stand for the jobs of a new sweep, in the order of its grid."""
    return [job.run.run_id if job.run is not None else None for job in reusing(planned(*words), open_store()).jobs]


Have = Callable[..., list[str]]


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return open_store().client


@pytest.fixture
def have(client: MlflowClient) -> Have:
    """Puts runs of every job of a sweep into the store; their ids."""
    experiments = {name: client.create_experiment(name) for name in ("harness", "other")}

    def make(*words: str, state: str = "FINISHED", experiment: str = "harness", **tags: str) -> list[str]:
        made = []
        for job in planned(*words).jobs:
            every = {"harness.kind": "run", FINGERPRINT_TAG: job.fingerprint, **LIBRARIES, **tags}
            run_id = client.create_run(experiments[experiment], tags=every, run_name=job.name).info.run_id
            parameters = [Param(key, str(value)) for key, value in flatten(job.config).items()]
            client.log_batch(run_id, params=parameters)
            if state != "RUNNING":
                client.set_terminated(run_id, state)
            made.append(run_id)
        return made

    return make


def test_added_seeds_are_due_and_the_others_are_there(have: Have) -> None:
    before = have("seed=0,1")
    plan = reusing(planned("seed=range(4)"), open_store())
    assert found("seed=range(4)") == [*before, None, None]
    assert [job.number for job in plan.due("true").values()] == [2, 3]
    assert plan.reused == dict(enumerate(before))
    assert plan.finished == 0
    assert plan.remarks()[0].startswith("2 of 4 jobs reused")
    assert found("seed=3,1,2,0") == [None, before[1], None, before[0]], "whatever their order"


def test_a_single_run_and_a_run_of_any_sweep_count_but_what_is_not_that_work_does_not(
    have: Have, client: MlflowClient
) -> None:
    [single] = have("seed=0")
    [of_a_sweep] = have("seed=1", **{PARENT_TAG: "f" * 32, JOB_TAG: "5"})
    have("seed=2", **{"harness.reproduces": "f" * 32})
    have("seed=3", experiment="other")
    for seed, state in ((4, "FAILED"), (5, "KILLED"), (6, "RUNNING")):
        have(f"seed={seed}", state=state)
    [deleted] = have("seed=7")
    client.delete_run(deleted)
    have("seed=8", "model=mlp_128", "model.name=mine")
    assert found("seed=range(9)") == [single, of_a_sweep, *[None] * 7]


def test_settings_that_decide_no_number_demand_no_training(have: Have) -> None:
    before = have("seed=0,1", "figures=few", "tracking.log_model=false", "threads=1")
    assert found("seed=0,1", "figures=all", "palette=blue", "tracking.log_model=true", "threads=2") == before


def test_a_setting_written_otherwise_is_the_same_work_unless_it_is_what_is_swept(have: Have) -> None:
    """The row of a swept value must read as that value: a curve over `momentum` has no place for `None`."""
    [before] = have("optimizer=sgd", "optimizer.momentum=null", "seed=0")
    assert found("optimizer=sgd", "optimizer.momentum=0.0", "seed=0,1") == [before, None]
    assert found("optimizer=sgd", "optimizer.momentum=0.0,0.9", "seed=0") == [None, None]


def test_a_run_stands_for_one_job_of_a_sweep(have: Have) -> None:
    [one] = have("seed=0")
    assert found("seed=0,1", "figures=few,all") == [one, None, None, None]
    [other] = have("seed=0")
    assert sorted(run for run in found("seed=0,1", "figures=few,all") if run) == sorted([one, other])


def test_of_several_runs_the_newest_is_taken_and_then_kept(have: Have, client: MlflowClient) -> None:
    first, second = have("seed=0")[0], have("seed=0")[0]
    assert found("seed=0,1") == [second, None]
    plan = planned("seed=0,1")
    tags = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint, **reused_tags({0: first}, {})}
    client.create_run("1", tags=tags)
    [parent] = earlier_sweeps(plan, open_store())
    assert resumed(plan, open_store(), parent, ("seed",)).reused == {0: first}
    client.delete_run(first)
    assert resumed(plan, open_store(), parent, ("seed",)).reused == {0: second}


def test_another_tensorflow_or_keras_trains_anew_and_says_how_many_and_which(have: Have) -> None:
    have("seed=0,1", **OLD, **{PARENT_TAG: "abcdef12" + "0" * 24})
    have("seed=2", state="KILLED", **OLD)
    [same] = have("seed=3")
    plan = reusing(planned("seed=range(5)"), open_store())
    assert [job.run is not None for job in plan.jobs] == [False, False, False, True, False]
    assert plan.reused == {3: same}
    said = " ".join(plan.remarks())
    assert "3 of 5 jobs were begun with TensorFlow 2.0.0" in said
    assert f"TensorFlow {version('tensorflow')} and Keras {version('keras')}" in said
    assert "harness compare --sweep abcdef12" in said


@pytest.mark.parametrize("where", ["its runs", "the sweep"])
def test_a_sweep_of_other_versions_is_not_resumed(have: Have, client: MlflowClient, where: str) -> None:
    plan = planned("seed=0,1")
    marks = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint}
    parent = client.create_run("1", tags=marks | (OLD if where == "the sweep" else {})).info.run_id
    have("seed=0", **{PARENT_TAG: parent, JOB_TAG: "0"})
    have("seed=1", **{PARENT_TAG: parent, JOB_TAG: "1"}, **(OLD if where == "its runs" else {}))
    assert earlier_sweeps(plan, open_store()) == []
    ours = client.create_run("1", tags=marks).info.run_id
    assert [sweep.run_id for sweep in earlier_sweeps(plan, open_store())] == [ours]


def test_code_that_has_changed_is_said_and_refuses_nothing(have: Have) -> None:
    before = have("seed=0", **{"harness.version": "0.0.1"})
    assert found("seed=0") == before
    [_, said] = reusing(planned("seed=0"), open_store()).remarks()
    assert "version 0.0.1 then" in said
    assert f"version {version('overfitting-harness')}" in said


def test_a_job_of_a_sweep_that_failed_there_and_finished_elsewhere_is_that_run(
    have: Have, client: MlflowClient
) -> None:
    plan = planned("seed=0,1")
    marks = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint}
    parent = client.create_run("1", tags=marks).info.run_id
    have("seed=0", state="FAILED", **{PARENT_TAG: parent, JOB_TAG: "0"})
    [done] = have("seed=1", **{PARENT_TAG: parent, JOB_TAG: "1"})
    [elsewhere] = have("seed=0")
    [record] = earlier_sweeps(plan, open_store())
    plan = resumed(plan, open_store(), record, ("seed",))
    assert [job.run.run_id for job in plan.jobs if job.run] == [elsewhere, done]
    assert (plan.reused, plan.finished, plan.due("true"), plan.due("only_failed")) == ({0: elsewhere}, 1, {}, {})


def begun(client: MlflowClient, plan: SweepPlan, **tags: str) -> str:
    """The parent run of a sweep of these jobs."""
    marks = {"harness.kind": "sweep", SWEEP_FINGERPRINT_TAG: plan.fingerprint}
    return str(client.create_run("1", tags=marks | tags).info.run_id)


@pytest.mark.parametrize("words", ["dataset.seed=0,1,2", "engine=auto,compiled"])
def test_jobs_of_equal_numbers_are_told_apart_by_what_is_swept(have: Have, client: MlflowClient, words: str) -> None:
    key, _, values = words.partition("=")
    first, *others = values.split(",")
    plan = planned(words)
    assert len({job.fingerprint for job in plan.jobs}) == 1
    [done] = have(f"{key}={first}", **{PARENT_TAG: begun(client, plan), JOB_TAG: "0"})
    again = planned(f"{key}={','.join([*others, first])}")
    [record] = earlier_sweeps(again, open_store())
    again = resumed(again, open_store(), record, (key,))
    assert [job.run.run_id if job.run else None for job in again.jobs] == [*[None] * len(others), done]
    assert again.jobs[-1].number == 0


def test_a_reused_run_keeps_the_number_of_its_job_in_whatever_order_the_words_come(
    have: Have, client: MlflowClient
) -> None:
    before = have("seed=0,1")
    plan = reusing(planned("seed=0,1,2,3"), open_store())
    parent = begun(client, plan, **reused_tags(plan.reused, {}))
    have("seed=2", **{PARENT_TAG: parent, JOB_TAG: "2"})
    [record] = earlier_sweeps(plan, open_store())
    again = resumed(planned("seed=3,2,1,0"), open_store(), record, ("seed",))
    assert [job.number for job in again.jobs] == [3, 2, 1, 0]
    assert again.reused == dict(enumerate(before))
