"""`harness compare --confirm` by the real command: what it trains, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from harness.analysis.settings import NOT_SETTINGS
from harness.records import RunRecord, RunState
from harness.tracking.reading import read_runs, read_sweeps
from harness.tracking.store import open_store
from tests.integration.conftest import SMALL, NewProject, Project

pytestmark = pytest.mark.slow

GRID = ("sweep", "--config-dir", "mine", *SMALL, "model=mine", "optimizer=sgd,adam", "seed=0,1", "regime.epochs=1",
        "engine=keras", "regime.validation.strategy=first", "regime.validation.size=100", "figures=none",
        "tracking.log_model=false", "tracking.experiment=study", "threads=1", "hydra.launcher.workers=1")  # fmt: skip
CONFIRM = ("--confirm", "2", "--within", "all", "--format", "json")


@dataclass(frozen=True)
class Confirmed:
    """A sweep over two optimizers with a model of a --config-dir that has gone; its first row and the other again."""

    project: Project
    before: dict[str, RunRecord]
    document: dict[str, Any]
    stderr: str
    baseline: str

    @property
    def runs(self) -> dict[str, RunRecord]:
        return every(self.project)

    def fresh(self, row: str) -> list[RunRecord]:
        return [self.runs[run_id] for run_id in self.document["rows"][row]["fresh"]]

    def again(self, *words: str) -> dict[str, Any]:
        done = self.project.run("compare", *words, *CONFIRM, "--baseline", f"optimizer={self.baseline}")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def every(project: Project) -> dict[str, RunRecord]:
    return {run.run_id: run for run in read_runs(open_store(project.store), include_parents=True)}


@pytest.fixture(scope="module")
def confirmed(new_project: NewProject) -> Confirmed:
    project = new_project()
    option = project.elsewhere / "mine" / "model" / "mine.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("name: mine\narchitecture: mlp\nhidden: [12, 6]\ndropout: 0.25\n")
    done = project.run(*GRID)
    assert done.returncode == 0, done.stderr
    option.unlink()
    ranked = json.loads(project.run("compare", "--within", "all", "--format", "json").stdout)
    baseline = ranked["rows"][1]["settings"]["optimizer.name"]
    before = every(project)
    done = project.run("compare", *CONFIRM, "--baseline", f"optimizer={baseline}")
    assert done.returncode == 0, done.stderr
    return Confirmed(project, before, json.loads(done.stdout), done.stderr, baseline)


@pytest.mark.parametrize("row", ["winner", "baseline"])
def test_a_row_is_trained_under_fresh_seeds_with_all_that_its_runs_recorded(confirmed: Confirmed, row: str) -> None:
    said = confirmed.document["rows"][row]
    recorded = [confirmed.runs[run_id] for run_id in said["compared"]]
    fresh = confirmed.fresh(row)
    assert confirmed.document["seeds"] == {"compared": [0, 1], "fresh": [2, 3]}
    assert [run.parameters["seed"] for run in fresh] == ["2", "3"]
    assert {run.state for run in fresh} == {RunState.FINISHED}
    assert {run.experiment for run in fresh} == {"study"}
    apart = ("seed", *(name for name in NOT_SETTINGS if name != "data."))
    for run in fresh:
        settings = {key: value for key, value in run.parameters.items() if not key.startswith(apart)}
        assert settings == {key: value for key, value in recorded[0].parameters.items() if not key.startswith(apart)}
        assert settings["model.hidden"] == "[12, 6]"
        assert settings["data.train_digest"] == recorded[0].parameters["data.train_digest"]


def test_figures_are_those_of_the_runs(confirmed: Confirmed) -> None:
    found = {(one["row"], one["measure"], one["seeds"]): one["value"] for one in confirmed.document["figures"]}
    for row in ("winner", "baseline"):
        fresh = [run.metrics["final/gap_val_accuracy"] for run in confirmed.fresh(row)]
        assert found[row, "gap_val_accuracy", "fresh"] == pytest.approx(sum(fresh) / 2)
    difference = found["winner", "test_accuracy", "fresh"] - found["baseline", "test_accuracy", "fresh"]
    assert found["winner - baseline", "test_accuracy", "fresh"] == pytest.approx(difference)


def test_it_is_one_sweep_that_says_what_it_confirms_and_touches_no_other_run(confirmed: Confirmed) -> None:
    *_, parent = read_sweeps(open_store(confirmed.project.store))
    firsts = [confirmed.document["rows"][row]["compared"][0] for row in ("winner", "baseline")]
    assert parent.tags["harness.confirms"].split() == firsts
    assert parent.name.startswith("confirming ")
    assert (parent.state, parent.tags["harness.jobs"]) == (RunState.FINISHED, "4")
    assert {run.parent_id for row in ("winner", "baseline") for run in confirmed.fresh(row)} == {parent.run_id}
    assert "[4/4]" in confirmed.stderr
    assert "harness sweep" not in parent.tags["mlflow.note.content"]
    assert {run_id: confirmed.runs[run_id] for run_id in confirmed.before} == confirmed.before


def test_the_same_command_again_trains_nothing_whatever_names_the_runs(confirmed: Confirmed) -> None:
    runs = confirmed.runs
    for words in ((), ("latest",), ("--experiment", "study")):
        found = confirmed.again(*words)
        assert found["figures"] == confirmed.document["figures"]
    assert confirmed.runs == runs


def test_what_confirms_is_not_compared_unless_it_is_named(confirmed: Confirmed) -> None:
    [first, confirming] = read_sweeps(open_store(confirmed.project.store))
    for words in ((), ("latest",), ("--experiment", "study")):
        document = json.loads(confirmed.project.run("compare", *words, "--format", "json").stdout)
        assert {run["seed"] for row in document["rows"] for run in row["runs"]} == {"0", "1"}
    named = json.loads(confirmed.project.run("compare", confirming.run_id, "--format", "json").stdout)
    assert {run["seed"] for row in named["rows"] for run in row["runs"]} == {"2", "3"}
    assert first.run_id != confirming.run_id


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--confirm", "1"), "--confirm 1: an interval needs at least two runs"),
        (("--confirm", "2", "--pareto"), "--confirm trains the row that ranks first, and --pareto"),
        (("--confirm", "2", "--effect", "optimizer"), "and --effect ranks none"),
        (("--confirm", "2", "--baseline", "optimizer=lion"), "--baseline optimizer=lion: no row"),
        (
            ("--confirm", "2", "--output", "../project/mlflow.db/x.csv"),
            "--output ../project/mlflow.db/x.csv: nothing can be written",
        ),
    ],
)
def test_a_wrong_request_is_refused_and_nothing_is_written(
    confirmed: Confirmed, words: tuple[str, ...], said: str
) -> None:
    runs = confirmed.runs
    done = confirmed.project.run("compare", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert confirmed.runs == runs


def test_images_that_are_others_by_now_are_refused(confirmed: Confirmed) -> None:
    store = shutil.copy(confirmed.project.root / "mlflow.db", confirmed.project.root / "other.db")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE params SET value = 'f00' WHERE key = 'data.test_digest'")
    done = confirmed.project.run("compare", "--store", f"sqlite:///{store}", "--confirm", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The test images of" in done.stderr
    assert "are not those that the run" in done.stderr
    assert len(read_sweeps(open_store(f"sqlite:///{store}"))) == 2
