"""`harness sync` on real stores and spools: what it says, and with which exit code."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness import paths
from harness.cli import main
from harness.records import RunState
from harness.tracking.pending_writes import End, Metrics
from harness.tracking.spool import Origin, Spool, find_spools
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, RunWriter


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def spool_of(uri: str, project: Path, name: str, ended: bool = True, parent: str | None = None) -> Spool:
    """A run with an epoch and its end in a spool."""
    tags = {} if parent is None else {"mlflow.parentRunId": parent}
    run = MlflowClient(uri).create_run(open_store(uri).ensure_experiment("study"), run_name=name, tags=tags)
    origin = Origin(uri, run.info.run_id, name, run.info.experiment_id)
    spool = Spool.create(project / "spool", origin, 1)
    spool.append(Metrics({"train/loss": 1.0}, 1, 1000))
    if ended:
        spool.append(End("FINISHED", 2000))
    spool.lock.release()
    return spool


def test_with_nothing_to_do_it_says_so(project: Path, temporary: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync"]) == 0
    assert capsys.readouterr().out == "Nothing to do: no run has results waiting in a spool.\n"


def test_each_run_that_came_home_is_told_and_the_sweep_that_missed_it(
    project: Path, temporary: None, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = RunWriter(open_store(uri), RunIdentity("sweep", "study", tags={"harness.kind": "sweep"}))
    parent.end(RunState.FINISHED)
    whole = spool_of(uri, project, "whole", parent=parent.run_id)
    cut = spool_of(uri, project, "cut", ended=False)
    for spool in (whole, cut):
        paths.write_text(paths.checkpoint_file(spool.origin.run_id), "what it would go on from")
    assert main(["sync"]) == 0
    assert not paths.checkpoint_file(whole.origin.run_id).exists()
    assert paths.checkpoint_file(cut.origin.run_id).exists()
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line for line in lines if line.startswith("whole")] == [
        f"whole ({whole.origin.run_id[:8]}): 2 entries put into {uri}; FINISHED"
    ]
    assert [line for line in lines if line.startswith("cut")] == [
        f"cut ({cut.origin.run_id[:8]}): 1 entry put into {uri}; cut off before its end, the same `harness sweep ...` "
        "again goes on with it"
    ]
    [hint] = [line for line in lines if line.startswith("The sweep")]
    assert f"harness compare {parent.run_id[:8]} --store {uri}" in hint
    assert main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to do")


def test_a_store_that_is_still_away_is_exit_code_1_and_the_others_come_home(
    project: Path, temporary: None, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = spool_of(uri, project, "home")
    lost = Origin(f"sqlite:///{tmp_path / 'gone.db'}", "0" * 32, "lost", "1")
    Spool.create(project / "spool", lost, 1).lock.release()
    assert main(["sync"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"home ({home.origin.run_id[:8]}): 2 entries")
    assert f"{tmp_path / 'gone.db'} is not there" in said.err
    assert (
        f"Nothing is lost. Until the next `harness sync` these wait:\n  lost (00000000) in {project / 'spool'}"
        in said.err
    )
    assert list(find_spools()) == ["0" * 32]


def test_only_one_store_is_served_where_one_is_named(
    project: Path, temporary: None, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Origin(f"sqlite:///{tmp_path / 'gone.db'}", "0" * 32, "lost", "1")
    Spool.create(project / "spool", lost, 1).lock.release()
    spool_of(uri, project, "home")
    assert main(["sync", "--store", uri]) == 0
    assert "lost" not in capsys.readouterr().out
    assert list(find_spools()) == ["0" * 32]


def test_a_run_that_is_still_at_work_is_left_alone(
    project: Path, temporary: None, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = spool_of(uri, project, "busy")
    spool.lock.acquire()
    assert main(["sync"]) == 0
    assert capsys.readouterr().out.endswith("still at work, or in the hands of another sync; left alone\n")
    spool.lock.release()
    assert spool.origin.run_id in find_spools()
