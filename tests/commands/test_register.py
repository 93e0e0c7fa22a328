"""`harness register`: refusals before the store is asked, and what it prints to be copied."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness import cli
from tests.tracking.stores import new_client, new_study, record, record_model, scores


@pytest.fixture
def runs(project: Path) -> dict[str, str]:
    _, client = new_client(project)
    study = new_study(client, project)
    ids = {}
    for number, name in enumerate(("good", "better")):
        ids[name] = record(client, study, name, started=number, metrics=scores(0.9, 0.85))
        record_model(client, ids[name], {"MLmodel": ""})
    return ids


def test_it_prints_version_scores_and_commands_to_copy(
    runs: dict[str, str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", "good", "fashion", "--description", "The first."]) == 0
    first, alias, predict, serve = capsys.readouterr().out.splitlines()
    assert first.startswith("fashion version 1 registered: good (run ")
    assert "test accuracy 85.00 %, gap to test +5.00 points" in first
    assert alias == "fashion@champion is version 1"
    assert predict == "predict: harness predict fashion@champion"
    words = shlex.split(serve)
    assert words[1] == f"MLFLOW_TRACKING_URI=sqlite:///{project / 'mlflow.db'}"
    assert words[2:5] == ["mlflow", "models", "serve"]
    assert "models:/fashion@champion" in words
    version = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_model_version("fashion", "1")
    assert (version.run_id, version.description) == (runs["good"], "The first.")


def test_it_says_what_was_so_already_and_what_the_alias_was_taken_from(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for run in ("good", "better", "good", "good"):
        assert cli.main(["register", run, "fashion"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[::4]] == [
        "fashion version 1 registered", "fashion version 2 registered",
        "fashion version 1 was registered already", "fashion version 1 was registered already",
    ]  # fmt: skip
    assert lines[1::4] == [
        "fashion@champion is version 1", "fashion@champion is version 2, no longer version 1",
        "fashion@champion is version 1, no longer version 2", "fashion@champion is version 1",
    ]  # fmt: skip


def test_a_registered_model_can_be_registered_under_another_name(runs: dict[str, str], project: Path) -> None:
    assert cli.main(["register", "good", "fashion"]) == 0
    assert cli.main(["register", "fashion@champion", "other", "--alias", "copy"]) == 0
    version = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_model_version_by_alias("other", "copy")
    assert version.run_id == runs["good"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["good", "a/b"], "'a/b' cannot be the name of a registered model: it has a / in it"),
        (["good", "fashion", "--alias", "v1"], "--alias 'v1': MLflow keeps v and a number for versions"),
        (["nobody", "fashion"], "No run in the store"),
        (["good"], "Missing argument 'NAME'"),
    ],
)
def test_a_wrong_request_writes_nothing(
    runs: dict[str, str], project: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_registered_models() == []


def test_a_store_that_does_not_exist_is_not_made(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["register", "latest", "fashion", "--store", f"sqlite:///{project / 'none.db'}"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert list(project.iterdir()) == []
