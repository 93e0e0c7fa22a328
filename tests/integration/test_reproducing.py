"""`harness reproduce` on runs of the real command."""

from __future__ import annotations

import json

import pytest
from mlflow.entities import Run

from tests.integration.conftest import DIVERGING, SMALL, NewProject, Project

pytestmark = pytest.mark.slow

SETTINGS = (*SMALL, "engine=keras", "figures=none", "model.dropout=0.2", "regime.epochs=2")


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    """A sweep of two seeds on one thread each, a run that continues one of them, and a run that failed."""
    made = new_project()
    for command in (
        ("sweep", *SETTINGS, "seed=0,1", "threads=1", "optimizer=adam", "tracking.log_state=true"),
        ("train", *SETTINGS, "optimizer=adam", "seed=1", "regime.continue_from=same:2", "tracking.run_name=more"),
    ):
        done = made.run(*command)
        assert done.returncode == 0, done.stderr
    assert made.run("train", *SETTINGS, "optimizer=sgd", DIVERGING, "tracking.run_name=failed").returncode == 1
    return made


def named(project: Project, name: str) -> Run:
    [run] = [run for run in project.runs() if run.info.run_name == name]
    return run


@pytest.mark.parametrize("name", ["seed=0", "more"])
def test_a_run_gives_the_same_bits_again(project: Project, name: str) -> None:
    original = named(project, name)
    done = project.run("reproduce", original.info.run_id, "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["identical"]
    assert document["metrics"] > 20
    again = named(project, f"{name} again")
    assert again.info.run_id == document["again"]
    assert again.info.experiment_id == original.info.experiment_id
    assert again.data.tags["harness.reproduces"] == original.info.run_id
    assert "mlflow.parentRunId" not in again.data.tags
    assert again.data.tags["harness.intra_op_threads"] == original.data.tags["harness.intra_op_threads"]
    assert "epoch 2" in project.artifact(again, "logs/run.log").read_text()


def test_repetitions_are_not_counted_in_the_comparison_of_their_experiment(project: Project) -> None:
    assert project.run("reproduce", "seed=1").returncode == 0
    done = project.run("compare", "--experiment", "harness", "--format", "json")
    names = [run["name"] for row in json.loads(done.stdout)["rows"] for run in row["runs"]]
    assert sorted(names) == ["failed", "more", "seed=0", "seed=1"]


def test_a_difference_is_shown_with_what_could_explain_it(project: Project) -> None:
    done = project.run("train", *SETTINGS, "seed=5", "threads=2", "tracking.run_name=two")
    assert done.returncode == 0, done.stderr
    run, client = named(project, "two"), project.client()
    client.log_metric(run.info.run_id, "final/test_accuracy", 0.123, step=0, timestamp=run.info.end_time + 1)
    client.set_tag(run.info.run_id, "harness.keras", "3.0.0")
    done = project.run("reproduce", "two")
    assert done.returncode == 1
    assert "1 of" in done.stdout
    assert "final/test_accuracy" in done.stdout
    assert "- Keras: 3.0.0 then" in done.stdout
    assert "Not reproduced: 1 of" in done.stderr


def test_what_cannot_be_repeated_is_refused_before_a_run_is_made(project: Project) -> None:
    before = len(project.runs())
    [sweep] = [run for run in project.runs() if run.data.tags["harness.kind"] == "sweep"]
    external = project.client().create_run(project.client().create_experiment("theirs"), run_name="notebook")
    project.client().set_terminated(external.info.run_id)
    for text, message in (
        ("failed", "is FAILED: The training loss became"),
        (sweep.info.run_id, "is a sweep"),
        ("notebook", "was it made by the harness?"),
        ("nothing", "No run in the store"),
    ):
        done = project.run("reproduce", text)
        assert done.returncode == 2, (text, done.stderr)
        assert message in done.stderr
    assert len(project.runs()) == before + 1


def test_a_run_whose_start_is_gone_is_refused(project: Project) -> None:
    source = named(project, "seed=1")
    project.client().delete_run(source.info.run_id)
    try:
        done = project.run("reproduce", "more")
    finally:
        project.client().restore_run(source.info.run_id)
    assert done.returncode == 2
    assert f"regime.continue_from=runs:/{source.info.run_id}" in done.stderr
