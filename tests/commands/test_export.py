"""`harness export`: what is in the way is refused before anything is written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from harness import cli
from harness.composing import compose_config
from tests.tracking.stores import new_client, new_study, record, record_model, scores


@pytest.fixture
def store(project: Path) -> str:
    """The project's store with one run, whose model is a file that export copies as it is."""
    _, client = new_client(project)
    run_id = record(
        client, new_study(client, project), "a run", started=1, metrics={**scores(0.9, 0.85), "time/fit": 3},
        tags={"harness.keras": "3.15.1"},
    )  # fmt: skip
    client.log_text(run_id, yaml.safe_dump(asdict(compose_config(["dataset=mnist"]))), "config/config.yaml")
    record_model(client, run_id, {"data/model.keras": "the model"})
    return run_id


def listed(folder: Path) -> list[str]:
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


def test_a_model_is_written_with_where_it_comes_from_and_how_it_is_used(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models" / "digits"
    assert cli.main(["export", "a run", str(target)]) == 0
    assert listed(target) == ["about.json", "model.keras"]
    assert (target / "model.keras").read_text() == "the model"
    about = json.loads((target / "about.json").read_text())
    assert about["run"] == {"id": store, "name": "a run", "experiment": "study"}
    assert (about["dataset"], about["classes"]) == ("mnist", [str(digit) for digit in range(10)])
    assert about["metrics"]["final/test_accuracy"] == 0.85
    assert "time/fit" not in about["metrics"]
    assert about["made_with"]["keras"] == "3.15.1"
    assert about["use"] == "model = keras.models.load_model('./model.keras'); probabilities = model.predict(images)"
    said = capsys.readouterr().out
    assert f"Wrote {target}: a run ({store}) as keras" in said
    assert f"keras.models.load_model('{target}/model.keras')" in said


def test_an_empty_folder_and_a_relative_one_are_taken(store: str) -> None:
    Path("mine").mkdir()
    assert cli.main(["export", "latest", "mine"]) == 0
    assert listed(Path.cwd()) == ["mine", "mine/about.json", "mine/model.keras"]


def test_a_folder_with_something_in_it_is_replaced_only_when_told_to_and_only_an_export(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "model"
    (target / "variables").mkdir(parents=True)
    (target / "saved_model.pb").write_text("earlier")
    assert cli.main(["export", "latest", str(target)]) == 2
    assert f"{target} is not empty" in (said := capsys.readouterr().err)
    assert "--overwrite" in said
    assert listed(target) == ["saved_model.pb", "variables"]

    assert cli.main(["export", "latest", str(target), "--overwrite"]) == 0
    assert listed(target) == ["about.json", "model.keras"]

    (target / "thesis.tex").write_text("four years")
    assert cli.main(["export", "latest", str(target), "--overwrite"]) == 2
    assert "holds thesis.tex, which is of no export" in capsys.readouterr().err
    assert listed(target) == ["about.json", "model.keras", "thesis.tex"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("a file", "is a file. Name a folder"),
        ("a file/below", "cannot be written (Not a directory)"),
        ("/proc/nowhere/model", "cannot be written ("),  # where not even root may make a folder
    ],
)
def test_what_cannot_become_a_folder_is_refused(
    store: str, target: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a file").write_text("notes")
    assert cli.main(["export", "latest", str(folder / target)]) == 2
    assert said in capsys.readouterr().err
    assert listed(folder) == ["a file"]


@pytest.mark.parametrize(("form", "code"), [("keras", 2), ("saved_model", 2), ("onnx", 2)])
def test_a_wrong_request_leaves_no_folder(
    store: str, form: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "no such run", str(tmp_path / "models" / "1"), "--format", form]) == code
    assert not (tmp_path / "models").exists()
    error = capsys.readouterr().err
    assert ("'onnx' is not one of 'keras', 'saved_model'" if form == "onnx" else "'no such run'") in error


@pytest.mark.slow
def test_a_model_that_cannot_be_read_leaves_no_folder(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "a run", str(tmp_path / "models" / "1"), "--format", "saved_model"]) == 2
    assert "is no Keras model that can be read" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
