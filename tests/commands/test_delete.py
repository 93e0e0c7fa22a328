"""`harness delete` on real stores: what goes, what stays, and what is refused."""

from __future__ import annotations

import io
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness import paths
from harness.cli import main
from harness.machine import this_process
from harness.tracking import deleting
from harness.tracking.pending_writes import Metrics
from harness.tracking.spool import Origin, Spool, find_spools
from tests.commands.conftest import Filled
from tests.tracking.servers import mlflow_server


def deleted(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["delete", *arguments]) == code
    done = capsys.readouterr()
    return done.err if code == 2 else done.out


def names(store: Filled) -> set[str]:
    return {run.info.run_name for run in store.client.search_runs([store.experiment], run_view_type=3)}


def test_a_sweep_goes_with_all_that_its_runs_have_and_nothing_else_does(
    filled: Filled, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = filled.run("alone", model=True)
    before = filled.left()
    sweep, *_ = filled.sweep("grid", "a", "b", model=True)
    view, others = (f"mlflow.sharedViewState.harness-sweep-{run_id}" for run_id in (sweep, "of-another"))
    for tag in (view, others):
        filled.client.set_experiment_tag(filled.experiment, tag, "{}")
    said = deleted(capsys, sweep[:8], "--yes")
    assert "sweep of 2 runs" in said
    assert "1 sweep and 2 runs, 3.0 kB on disk" in said
    assert filled.left() == before
    assert names(filled) == {"alone"}
    tags = filled.client.get_experiment(filled.experiment).tags
    assert (view in tags, others in tags) == (False, True)
    assert [one.source_run_id for one in filled.client.search_logged_models([filled.experiment])] == [alone]


def test_artifacts_of_an_experiment_with_a_place_of_its_own_that_the_user_names_go_too(
    filled: Filled, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "another disk"
    monkeypatch.setenv("HARNESS_ARTIFACTS", str(place))
    filled.experiment = filled.client.create_experiment("elsewhere", artifact_location=place.as_uri())
    run_id = filled.run("a run", model=True)
    (place / "notes.txt").write_text("mine")
    assert "1 run, 1.5 kB on disk" in deleted(capsys, "--experiment", "elsewhere", "--yes")
    assert not (place / run_id).exists()
    assert [file.name for file in place.rglob("*") if file.is_file()] == ["notes.txt"]


def test_it_asks_first(filled: Filled, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    filled.run("kept")
    before = filled.left()
    for answer, code, words in (("n\n", 1, "Nothing was taken away"), ("\n", 1, "Nothing"), ("", 2, "Add --yes")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert words in deleted(capsys, "kept", code=code) or code == 1
        assert filled.left() == before
    assert "dry run" in deleted(capsys, "kept", "--dry-run")
    assert names(filled) == {"kept"}
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    deleted(capsys, "kept")
    assert names(filled) == set()


def test_failed_runs_go_and_their_sweep_stays_while_it_has_others(
    filled: Filled, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, *_ = filled.sweep("grid", "good")
    filled.client.set_terminated(sweep, "FAILED")
    filled.run("bad", state="FAILED", mlflow__parentRunId=sweep)
    filled.run("stopped", state="KILLED")
    deleted(capsys, "--failed", "--yes")
    assert names(filled) == {"grid", "good", "stopped"}


def test_what_ended_before_an_age_goes(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.sweep("old", "older")
    young = filled.run("young", state=None)
    filled.client.set_terminated(young)
    deleted(capsys, "--older-than", "1d12h", "--yes")
    assert names(filled) == {"young"}
    for wrong in ("30", "30 days", "", "d", "1h1d"):
        assert "write weeks, days" in deleted(capsys, "--older-than", wrong, "young", code=2)


@pytest.mark.parametrize("job", [True, False])
def test_what_is_at_work_is_refused_and_left_by_a_rule(
    filled: Filled, capsys: pytest.CaptureFixture[str], job: bool
) -> None:
    sweep, done = filled.sweep("grid", "done")
    filled.client.update_run(sweep, status="RUNNING")
    filled.client.set_tag(sweep, "harness.process", this_process())
    filled.run("bad", state="FAILED")
    before = filled.left()
    assert f"grid ({sweep}) is at work" in deleted(capsys, done if job else sweep, "bad", "--yes", code=2)
    assert filled.left() == before
    assert "kept: grid" in deleted(capsys, "--older-than", "1d", "--yes")
    assert names(filled) == {"grid", "done"}


def test_a_run_whose_process_is_gone_can_go(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    dead = this_process().rsplit(" ", 2)[0] + " 4194999 1.00"
    filled.run("dead", state=None, harness__process=dead)
    deleted(capsys, "dead", "--yes")
    assert names(filled) == set()


def test_a_registered_model_keeps_its_run(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = filled.run("best one", model=True)
    [model] = filled.client.search_logged_models([filled.experiment])
    filled.client.create_registered_model("shoes")
    filled.client.create_model_version("shoes", model.artifact_location, run_id=run_id, model_id=model.model_id)
    assert "registered as shoes, version 1" in deleted(capsys, "best one", "--yes", code=2)
    assert "kept: The model of best one" in deleted(capsys, "--older-than", "1d", "--yes")
    filled.client.delete_run(run_id)
    assert main(["gc", "--yes"]) == 0
    assert filled.folder(run_id).is_dir()
    assert paths.checkpoint_file(run_id).exists()


def test_what_waits_in_a_spool_goes_too(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = filled.run("spooled")
    origin = Origin(f"sqlite:///{filled.root / 'mlflow.db'}", run_id, "spooled", filled.experiment)
    spool = Spool.create(filled.root / "spool", origin, 1)
    spool.append(Metrics({"train/loss": 1.0}, 1, 1000))
    spool.lock.release()
    deleted(capsys, "spooled", "--yes")
    assert find_spools() == {}
    assert filled.left() == set()


def test_sweeps_that_reuse_a_run_are_named(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    _, shared, _ = filled.sweep("first", "shared", "own")
    later, *_ = filled.sweep("later")
    filled.client.set_tag(later, "harness.reused.1", f"0:{shared}")
    assert f"The sweep later ({later[:8]}) reuses 1 of these runs" in deleted(capsys, "first", "--dry-run")
    deleted(capsys, "later", "--yes")
    assert names(filled) == {"first", "shared", "own"}


def test_no_link_or_record_leads_out_of_the_store(
    filled: Filled, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    within, instead, moved = filled.run("within"), filled.run("instead"), filled.run("moved")
    for run_id in (within, instead, moved):
        (precious / run_id / "artifacts").mkdir(parents=True)
        (precious / run_id / "artifacts" / "file").write_text("mine")
    (filled.folder(within) / "artifacts" / "link").symlink_to(precious)
    shutil.rmtree(filled.folder(instead))
    filled.folder(instead).symlink_to(precious / instead)
    with sqlite3.connect(filled.root / "mlflow.db") as connection:
        where = (precious / moved / "artifacts").as_uri()
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (where, moved))
    before = set(precious.rglob("*"))
    deleted(capsys, "within", "instead", "moved", "--yes")
    assert main(["gc", "--yes"]) == 0
    assert names(filled) == set()
    assert set(precious.rglob("*")) == before
    assert not filled.folder(within).exists()


class Killed(BaseException):
    """As `kill -9` would, but for this process."""


def test_what_a_killed_command_has_left_is_found(
    filled: Filled, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when all were marked, and then as it takes away one thing after another."""
    other = filled.run("other", state="KILLED")
    before = filled.left()
    filled.sweep("grid", "a", "b", model=True)

    def killed_at(name: str, call: int, *arguments: str) -> None:
        left = iter(range(call))
        real = getattr(deleting, name)

        def cut_off(*given: object) -> object:
            if next(left, None) is None:
                raise Killed
            return real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(deleting, name, cut_off)
            with pytest.raises(Killed):
                main([*arguments, "--yes"])

    killed_at("purge", 0, "delete", "grid")
    for name, call in (("remove", 1), ("_forget_here", 1), ("remove", 2), ("_take_rows", 0), ("_take_rows", 1)):
        killed_at(name, call, "gc")
    assert main(["gc", "--yes"]) == 0
    assert filled.left() == before
    assert names(filled) == {"other"}
    assert paths.checkpoint_file(other).exists()


def test_nothing_said_is_nothing_deleted(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Say what to delete" in deleted(capsys, "--yes", code=2)
    assert "given together" in deleted(capsys, "a", "--experiment", "study", code=2)
    assert "No run in the store" in deleted(capsys, "nobody", code=2)
    assert "no run is like that" in deleted(capsys, "--failed")


@pytest.mark.slow
def test_on_a_server_files_go_by_its_hand_and_what_it_must_do_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A path that a server records is one of its own machine: nothing is touched at that path here."""
    with mlflow_server(tmp_path) as uri:
        client = MlflowClient(uri)
        there = client.create_experiment("its own disk", artifact_location=(tmp_path / "disk").as_uri())
        store = Filled(project, client, client.create_experiment("study"))
        sweep, _ = store.sweep("grid", "a", model=True)
        store.experiment = there
        on_disk = store.run("b")
        assert "Deleted 1 sweep and 2 runs" in (said := deleted(capsys, sweep, on_disk, "--yes", "--store", uri))
        assert f"These files as well: {(tmp_path / 'disk' / on_disk / 'artifacts').as_uri()}" in said
        assert "`mlflow gc`" in said
        assert (tmp_path / "disk" / on_disk / "artifacts" / "logs" / "run.log").exists()
        assert [file for file in (tmp_path / "kept").rglob("*") if file.is_file()] == []
        assert [run.info.lifecycle_stage for run in client.search_runs(["1", "2"], run_view_type=3)] == ["deleted"] * 3
        assert main(["gc", "--store", uri]) == 2
