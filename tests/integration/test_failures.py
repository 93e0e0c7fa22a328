"""A run that fails, in stores that the user has named: recorded there, and told in one message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.conftest import DIVERGING, SGD, SMALL, NewProject, Outcome, Project, waited

pytestmark = pytest.mark.slow

REASON = "The training loss became nan in epoch 1. A smaller optimizer.learning_rate or optimizer.clipnorm=1.0"


def named_store(project: Project) -> str:
    return f"sqlite:///{project.folder / 'named' / 'runs.db'}"


@pytest.fixture(scope="module")
def outcomes(new_project: NewProject) -> dict[str, Outcome]:
    """Two runs that diverge: with the store named by `tracking.uri`; and with `--debug`, by the environment."""
    plain, debug = new_project(), new_project()
    for project in (plain, debug):
        (project.folder / "named").mkdir()
    processes = {
        "plain": plain.start("train", *SGD, DIVERGING, f"tracking.uri={named_store(plain)}"),
        "debug": debug.start(
            "train", *SGD, DIVERGING, "--debug", environment={"MLFLOW_TRACKING_URI": named_store(debug)}
        ),
    }
    projects = {"plain": plain, "debug": debug}
    return {name: Outcome(projects[name], waited(process)) for name, process in processes.items()}


def test_a_failing_run_is_one_message_and_exit_code_1(outcomes: dict[str, Outcome]) -> None:
    done = outcomes["plain"].done
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count(REASON) == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {REASON}")
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_of_a_failing_run(outcomes: dict[str, Outcome]) -> None:
    done = outcomes["debug"].done
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "in on_epoch_end" in done.stderr, "the line that failed, not the one that raised it again"


@pytest.mark.parametrize("name", ["plain", "debug"])
def test_a_failing_run_is_recorded_as_failed_with_its_reason(outcomes: dict[str, Outcome], name: str) -> None:
    project = outcomes[name].project
    uri = named_store(project)
    (run,) = project.runs(uri)
    assert run.info.status == "FAILED"
    assert run.info.end_time is not None
    assert run.data.tags["harness.error"].startswith(REASON)
    assert run.data.tags["harness.error_type"] == "TrainingError"
    assert "in on_epoch_end" in project.artifact(run, "traceback.txt", uri).read_text()
    assert REASON in project.artifact(run, "logs/run.log", uri).read_text()
    assert run.data.params["optimizer.learning_rate"] == "1e+20", "what was known when it failed is there"


@pytest.mark.parametrize("name", ["plain", "debug"])
def test_a_named_store_is_the_only_one_and_has_its_artifacts_beside_it(outcomes: dict[str, Outcome], name: str) -> None:
    project = outcomes[name].project
    (run,) = project.runs(named_store(project))
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(project.folder / "named" / "mlruns")
    assert [item.name for item in project.root.iterdir()] == ["outputs"]
    assert list(project.elsewhere.iterdir()) == []


def test_a_file_that_is_no_database_is_one_message_and_stays_as_it_was(empty: Project) -> None:
    (empty.root / "mlflow.db").write_text("these are notes")
    done = empty.run("train", *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: The tracking store {empty.root / 'mlflow.db'} cannot be used: the file is not a database. Nothing was "
        "changed. If it should be one, restore a copy; else move it away, or name another store with "
        "tracking.uri=sqlite:////PATH."
    )
    assert "Traceback" not in done.stderr
    assert (empty.root / "mlflow.db").read_text() == "these are notes"


def test_a_server_that_nobody_answers_for_is_given_up_on_and_named_without_the_password(empty: Project) -> None:
    done = empty.run("train", *SMALL, "tracking.uri=http://ann:hush@127.0.0.1:9")
    assert done.returncode == 1
    # Either MLflow gives up by itself, or, on a busy machine, the harness on it.
    assert re.search("error: The tracking store http://127.0.0.1:9 (cannot be used|has not answered)", done.stderr)
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr
    assert list(empty.root.iterdir()) == []
