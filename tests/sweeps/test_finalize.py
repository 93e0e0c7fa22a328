"""The report that a sweep ends with."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console

from harness.sweeps.finalize import compared, print_locations, store_report
from harness.sweeps.progress import SweepDisplay
from harness.tracking.reading import sweep_runs
from harness.tracking.store import open_store
from tests.tracking.stores import new_client, new_study, record, record_sweep, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture
def sweep(tmp_path: Path) -> tuple[str, MlflowClient, str]:
    uri, client = new_client(tmp_path)
    study = new_study(client, tmp_path)
    parent = record_sweep(client, study, "grid", started=1, swept=["model"])
    for number, model in enumerate("ab"):
        record(client, study, model, started=2 + number, settings={"model.name": model},
               metrics=scores(0.9, 0.8), tags={"mlflow.parentRunId": parent})  # fmt: skip
    return uri, client, parent


def test_a_sweep_keeps_a_report_that_says_how_to_make_it_again(sweep: tuple[str, MlflowClient, str]) -> None:
    uri, client, parent = sweep
    comparison = compared(sweep_runs(open_store(uri), parent), parent, ["model"], "grid")
    assert comparison is not None
    screen = io.StringIO()
    display = SweepDisplay(Console(file=screen))
    print_locations(open_store(uri), parent, display)
    assert screen.getvalue() == "", "there is none yet"
    assert store_report(open_store(uri), parent, comparison)
    print_locations(open_store(uri), parent, display)
    place = screen.getvalue().removeprefix("Report: ").rstrip("\n")
    assert "<h1>grid</h1>" in Path(place).read_text()
    page = Path(client.download_artifacts(parent, "report.html")).read_text()
    assert "<h1>grid</h1>" in page
    assert f"harness report {parent}" in page


def test_a_report_that_fails_is_said_and_fails_nothing(
    sweep: tuple[str, MlflowClient, str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    uri, _, parent = sweep
    comparison = compared(sweep_runs(open_store(uri), parent), parent, ["model"], "grid")
    assert comparison is not None
    (tmp_path / "mlruns" / "study" / parent).mkdir(parents=True)
    (tmp_path / "mlruns" / "study" / parent / "artifacts").write_text("a file where MLflow wants a folder")
    assert not store_report(open_store(uri), parent, comparison)
    [said] = caplog.messages
    assert said.startswith("The report was not made (")
    assert f"`harness report {parent}` makes it" in said
