"""A sweep of the real command: one parent, a child for each job, and what is kept of the comparison."""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path

import pytest
from PIL import Image

from harness.figures import SELECTIONS
from harness.sweeps import launch
from tests.integration.conftest import SGD, SMALL, NewProject, Outcome

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broken(new_project: NewProject) -> Outcome:
    """Four jobs of which the two with a far too large learning rate fail, started with `train ... -m`."""
    project = new_project()
    done = project.run("train", *SGD, "seed=0,1", "optimizer.learning_rate=0.01,1e20", "-m")
    return Outcome(project, done)


def rows(text: str) -> list[list[str]]:
    """The cells of the printed table between its rule and the next empty line, without the line above underfit rows."""
    _, _, below = text.partition("───\n")
    return [line.split() for line in below.partition("\n\n")[0].splitlines() if not line.startswith("┄")]


def test_a_sweep_succeeds_with_one_parent_and_a_finished_child_for_each_job(swept: Outcome) -> None:
    assert swept.done.returncode == 0, swept.done.stderr
    assert swept.parent.info.status == "FINISHED"
    assert [child.info.status for child in swept.children] == ["FINISHED"] * 4
    assert {child.data.tags["mlflow.parentRunId"] for child in swept.children} == {swept.parent.info.run_id}


def test_a_child_is_named_after_what_differs_and_has_those_settings(swept: Outcome) -> None:
    found = [
        (child.info.run_name, child.data.params["optimizer.name"], child.data.params["seed"])
        for child in swept.children
    ]
    assert found == [(f"{name} seed={seed}", name, str(seed)) for name in ("sgd", "adam") for seed in (0, 1)]


def test_a_child_keeps_the_few_figures_that_a_single_run_keeps(swept: Outcome) -> None:
    for child in swept.children:
        listed = swept.project.client().list_artifacts(child.info.run_id, "figures")
        assert {item.path for item in listed} == {f"figures/{name}" for name in SELECTIONS["few"]}


def test_the_parent_says_what_was_swept(swept: Outcome) -> None:
    tags = swept.parent.data.tags
    assert tags["harness.kind"] == "sweep"
    assert json.loads(tags["harness.swept"]) == ["optimizer", "seed"]
    assert (tags["harness.jobs"], tags["harness.finished"]) == ("4", "4")
    assert "optimizer=sgd,adam" in tags["harness.overrides"]
    assert "mlflow.parentRunId" not in tags


def test_no_child_records_how_the_harness_tied_it_to_its_parent_as_something_typed(swept: Outcome) -> None:
    for child in swept.children:
        assert "parent_run" not in child.data.tags["harness.overrides"]
        assert "parent_run" not in child.data.tags["harness.command"]
        assert "parent_run" not in swept.project.artifact(child, "config/overrides.yaml").read_text()


def test_progress_goes_to_stderr_and_the_table_to_stdout(swept: Outcome) -> None:
    told = re.findall(r"^\[(\d)/4\] (.*?)  train ", swept.done.stderr, flags=re.MULTILINE)
    assert [number for number, _ in told] == ["1", "2", "3", "4"], "as they end"
    assert {name for _, name in told} == {"sgd seed=0", "sgd seed=1", "adam seed=0", "adam seed=1"}
    assert {row[0] for row in rows(swept.done.stdout)} == {"sgd", "adam"}
    assert "[1/4]" not in swept.done.stdout
    assert swept.done.stdout.startswith("sweep of optimizer, seed: 4 runs, 2 configurations")


def test_the_parent_keeps_the_comparison_as_table_csv_and_figure(swept: Outcome) -> None:
    kept = list(csv.DictReader(swept.project.artifact(swept.parent, "comparison.csv").read_text().splitlines()))
    assert {row["optimizer.name"] for row in kept} == {"sgd", "adam"}
    table = json.loads(swept.project.artifact(swept.parent, "comparison.json").read_text())
    gap, gaps = table["columns"].index("gap_val_accuracy"), [float(row["gap_val_accuracy"]) for row in kept]
    assert [row[gap] for row in table["data"]] == pytest.approx(gaps, abs=1e-6)
    assert [set(row) & {"sgd", "adam"} for row in table["data"]] == [{row["optimizer.name"]} for row in kept]
    shown = json.loads(swept.parent.data.tags["mlflow.loggedArtifacts"])
    assert {"path": "comparison.json", "type": "table"} in shown, "the UI shows it as a table"
    for row in kept:
        children = [c for c in swept.children if c.data.params["optimizer.name"] == row["optimizer.name"]]
        assert row["run_ids"].split() == [child.info.run_id for child in children]
        values = [child.data.metrics["final/gap_val_accuracy"] for child in children]
        assert float(row["gap_val_accuracy"]) == pytest.approx(statistics.mean(values))
    with Image.open(swept.project.artifact(swept.parent, "figures/comparison.png")) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200


def test_compare_shows_the_same_rows_and_the_values_of_the_store(swept: Outcome) -> None:
    shown = swept.project.run("compare")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert rows(shown.stdout) == rows(swept.done.stdout)
    document = json.loads(swept.project.run("compare", "--format", "json").stdout)
    assert (document["runs"], document["finished"]) == (4, 4)
    by_id = {child.info.run_id: child.data.metrics for child in swept.children}
    assert {run["run_id"] for row in document["rows"] for run in row["runs"]} == by_id.keys()
    for row in document["rows"]:
        for name, score in row["scores"].items():
            values = [by_id[run["run_id"]][f"final/{name}"] for run in row["runs"]]
            assert score["mean"] == pytest.approx(statistics.mean(values))
            assert score["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)


def test_everything_of_a_sweep_lies_below_the_root(swept: Outcome) -> None:
    assert list(swept.project.elsewhere.iterdir()) == []
    (folder,) = (swept.project.root / "outputs" / "sweeps").glob("*/*")
    assert {item.name for item in folder.iterdir() if item.is_dir()} == {"0", "1", "2", "3"}


def test_nobody_else_can_read_what_a_sweep_has_written(swept: Outcome) -> None:
    files = list(swept.project.root.rglob("*"))
    assert len(files) > 50
    assert [str(file) for file in files if file.lstat().st_mode & 0o077] == []


def test_a_failing_job_is_recorded_and_the_others_go_on(broken: Outcome) -> None:
    states = [(child.info.run_name, child.info.status) for child in broken.children]
    assert states == [
        ("seed=0 learning_rate=0.01", "FINISHED"),
        ("seed=0 learning_rate=1e+20", "FAILED"),
        ("seed=1 learning_rate=0.01", "FINISHED"),
        ("seed=1 learning_rate=1e+20", "FAILED"),
    ]
    failed = broken.children[1]
    assert "loss became nan" in failed.data.tags["harness.error"]
    assert "TrainingError" in broken.project.artifact(failed, "traceback.txt").read_text()


def test_a_sweep_with_failures_fails_and_counts_them(broken: Outcome) -> None:
    assert broken.done.returncode == 1
    assert broken.parent.info.status == "FAILED"
    assert broken.parent.data.tags["harness.finished"] == "2"
    assert broken.done.stderr.splitlines()[-1].startswith("error: 2 of 4 runs failed; ")
    assert "/4] seed=0 learning_rate=1e+20  failed: The training loss became nan" in broken.done.stderr
    assert "Traceback" not in broken.done.stderr
    assert "2 failed" in broken.done.stdout, "the table counts them too"
    kept = broken.project.artifact(broken.parent, "comparison.csv").read_text()
    assert [row["failed"] for row in csv.DictReader(kept.splitlines())] == ["0", "2"]


@pytest.mark.parametrize("arguments", [["--multirun", "seed=0,1"], ["seed=0,1", "-m"], ["model=cnn", "-m", "seed=0,1"]])
def test_train_with_the_multirun_flag_anywhere_is_a_sweep(arguments: list[str]) -> None:
    flagged = launch._parse(arguments, multirun=False)
    plain = launch._parse([item for item in arguments if item not in ("-m", "--multirun")], multirun=True)
    assert flagged.multirun
    assert launch.command_line(flagged) == launch.command_line(plain)


def test_a_sweep_of_studies_has_the_grid_of_each_with_any_launcher(new_project: NewProject, tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    for name, grid in (("deep", "{model.depth: '1,2', model.width: '4'}"), ("rates", "{seed: 'shuffle(range(3))'}")):
        text = f"# @package _global_\ndefaults:\n  - override /model: mlp\nhydra: {{sweeper: {{params: {grid}}}}}\n"
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
    small = [word for word in SMALL if not word.startswith("model")]
    project = new_project()
    where = ("--config-dir", str(tmp_path), "hydra/launcher=basic", "hydra.sweeper.max_batch_size=2")
    outcome = Outcome(project, project.run("sweep", *small, "experiments=deep,rates", *where))
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert sorted(child.info.run_name for child in outcome.children) == [
        "deep depth=1", "deep depth=2", "rates seed=0", "rates seed=1", "rates seed=2",
    ]  # fmt: skip
    for child in outcome.children:
        assert child.info.run_name.endswith(f"seed={child.data.params['seed']}") or "deep" in child.info.run_name
    assert {child.data.tags["harness.job"] for child in outcome.children} == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize("setting", ["optimizer=sgd,adm", "optimizer.learning_rate=0.1,-1", "tracking.experiment=a,b"])
def test_one_wrong_value_refuses_a_sweep_before_anything_is_written(setting: str, new_project: NewProject) -> None:
    project = new_project()
    done = project.run("sweep", *SMALL, setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert list(project.root.iterdir()) == []
