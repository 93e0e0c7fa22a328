"""A store that an earlier version wrote is read, resumed and continued from as if this version had written it.

tests/data/old_store/README.md says what is in it.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.machine import this_process
from tests.conftest import REPOSITORY
from tests.integration.conftest import NewProject, Project

pytestmark = pytest.mark.slow

DATA = REPOSITORY / "tests" / "data"
COMMON = (
    f"dataset.directory={DATA}", "regime=validated", "regime.validation.size=100", "tracking.experiment=old",
    "figures=none", "tracking.log_model=false", "threads=1",
)  # fmt: skip
FINISHED_SWEEP = ("model=mlp_128,mlp", "model.hidden=[8]", "seed=0,1", "regime.epochs=2", "tracking.log_state=false")
KILLED_SWEEP = (
    "model=mlp", "model.hidden=[8]", "model.dropout=0.0,0.2", "seed=0,1", "regime.epochs=60",
    "hydra.launcher.workers=1", "tracking.checkpoint_seconds=0",
)  # fmt: skip
KILLED_AT = 20


def restore(root: Path) -> None:
    """Unpack the store, with the places, the machine and the versions of this one in it."""
    with tarfile.open(DATA / "old_store" / "store.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.3 and older have none
        archive.extractall(root)
    here = this_process().rsplit(" ", 2)[0]
    places = {
        "@ROOT@": str(root), "@DATA@": str(DATA), "@HERE@": here,
        "@KERAS@": version("keras"), "@TENSORFLOW@": version("tensorflow"),
    }  # fmt: skip
    for file in (*root.rglob("*.yaml"), root / "mlflow.sql", root / "compare.json"):
        text = file.read_text()
        for placeholder, place in places.items():
            text = text.replace(placeholder, place)
        file.write_text(text)
    with sqlite3.connect(root / "mlflow.db") as database:
        database.executescript((root / "mlflow.sql").read_text())
    database.close()


@pytest.fixture
def old(new_project: NewProject) -> Project:
    project = new_project()
    restore(project.root)
    return project


def runs(project: Project) -> dict[str, tuple[str, str, int | None]]:
    """Name, state and end of every run, by id."""
    return {run.info.run_id: (run.info.run_name, run.info.status, run.info.end_time) for run in project.runs()}


def scores(comparison: dict[str, Any]) -> dict[frozenset[str], Any]:
    """Means, deviations and intervals of each row, by the runs that are in it."""
    known = ("mean", "sd", "n", "interval", "bca")  # what the version that made the store told of a score
    return {
        frozenset(run["run_id"] for run in row["runs"]): {
            name: {key: score[key] for key in known} for name, score in row["scores"].items()
        }
        for row in comparison["rows"]
    }


def test_its_runs_are_the_same_rows_with_the_same_figures(old: Project) -> None:
    before = json.loads((old.root / "compare.json").read_text())
    done = old.run("compare", "--experiment", "old", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert scores(json.loads(done.stdout)) == scores(before)


def test_a_sweep_that_it_has_as_finished_is_not_trained_again(old: Project) -> None:
    before = runs(old)
    done = old.run("sweep", *FINISHED_SWEEP, *COMMON)
    assert done.returncode == 0, done.stderr
    assert "All 4 jobs are finished already" in done.stderr + done.stdout
    assert runs(old) == before


def test_a_sweep_that_was_killed_there_is_resumed_at_its_last_epoch(old: Project) -> None:
    before = runs(old)
    (cut_off,) = (
        run.info.run_id for run in old.runs() if run.info.status == "RUNNING" and run.data.tags["harness.kind"] == "run"
    )
    client = old.client()
    kept = {point.step: point.value for point in client.get_metric_history(cut_off, "train/loss")}
    assert max(kept) >= KILLED_AT

    done = old.run("sweep", *KILLED_SWEEP, *COMMON)
    assert done.returncode == 0, done.stderr
    after = runs(old)
    assert Counter(state for _, state, _ in after.values()) == {"FINISHED": len(before) + 2}  # the jobs not begun
    assert all(after[run] == found for run, found in before.items() if found[1] == "FINISHED")
    history = client.get_metric_history(cut_off, "train/loss")
    assert sorted(point.step for point in history) == list(range(1, 61))
    assert {point.step: point.value for point in history if point.step in kept} == kept
    log = next((old.root / "mlruns").glob(f"old/{cut_off}/artifacts/logs/try_2/run.log")).read_text()
    assert "epoch 60:" in log
    assert "epoch 1:" not in log, "it started again"


def test_training_continues_from_a_run_that_it_has(old: Project) -> None:
    done = old.run("train", "model=mlp", "model.hidden=[8]", *COMMON, "regime.epochs=1", "regime.continue_from=start")
    assert done.returncode == 0, done.stderr
    continued = old.runs()[-1]
    assert continued.data.params["continued.epochs"] == "3"
    assert [point.step for point in old.client().get_metric_history(continued.info.run_id, "train/loss")] == [4]
