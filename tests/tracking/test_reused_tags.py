"""The runs of a sweep: its own, and those of earlier commands that it reuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking.client_reader import ClientReader
from harness.tracking.reading import runs_of_fingerprints, sweep_runs
from harness.tracking.reused_tags import reused_runs, reused_tags
from harness.tracking.selection import FINGERPRINT_TAG, Selection
from harness.tracking.sqlite_reader import SqliteReader
from harness.tracking.store import open_store
from harness.tracking.writing import TAG_LIMIT
from tests.tracking.stores import new_client, new_study, record, record_sweep

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def test_ten_thousand_reused_runs_fit_into_tags() -> None:
    reused = {number: f"{number:032x}" for number in range(99_990, 109_990)}
    tags = reused_tags(reused, {})
    assert max(map(len, tags.values())) < TAG_LIMIT
    assert len(tags) == 100
    assert {number: run_id for run_id, number in reused_runs(tags, "").items()} == reused


def test_a_tag_that_is_needed_no_more_is_emptied() -> None:
    many = reused_tags({number: f"{number:032x}" for number in range(150)}, {})
    after = many | reused_tags({3: "f" * 32}, {**many, "harness.kind": "sweep"})
    assert reused_runs(after, "") == {"f" * 32: 3}
    assert reused_runs(many | reused_tags({}, many), "") == {}


@pytest.fixture
def study(tmp_path: Path) -> tuple[str, MlflowClient, str]:
    uri, client = new_client(tmp_path)
    return uri, client, new_study(client, tmp_path)


def test_a_sweep_has_its_own_runs_and_the_reused_ones_each_with_its_number_there(
    study: tuple[str, MlflowClient, str],
) -> None:
    uri, client, experiment = study
    first = record_sweep(client, experiment, "first", started=1, swept=["seed"])
    tags = {"mlflow.parentRunId": first, "harness.job": "7"}
    reused = record(client, experiment, "of another sweep", started=2, tags=tags)
    single = record(client, experiment, "single", started=3)
    deleted = record(client, experiment, "deleted", started=4)
    second = record_sweep(client, experiment, "second", started=5, swept=["seed"])
    own = record(client, experiment, "own", started=6, tags={"mlflow.parentRunId": second, "harness.job": "0"})
    for key, value in reused_tags({1: reused, 2: single, 3: deleted}, {}).items():
        client.set_tag(second, key, value)
    client.delete_run(deleted)
    found = [(run.run_id, run.tags["harness.job"], run.parent_id) for run in sweep_runs(open_store(uri), second)]
    assert found == [(reused, "1", first), (single, "2", None), (own, "0", second)]
    assert [run.run_id for run in sweep_runs(open_store(uri), first)] == [reused]
    assert client.get_run(reused).data.tags["harness.job"] == "7", "nothing is written into it"


def test_a_reused_run_takes_the_place_of_a_try_that_failed_in_the_sweep_itself(
    study: tuple[str, MlflowClient, str],
) -> None:
    uri, client, experiment = study
    parent = record_sweep(client, experiment, "sweep", started=1, swept=["seed"])
    failed, own = (
        record(client, experiment, f"job {job}", started=2, state=state,
               tags={"mlflow.parentRunId": parent, "harness.job": job})
        for job, state in (("0", "FAILED"), ("1", "FAILED"))
    )  # fmt: skip
    elsewhere = record(client, experiment, "elsewhere", started=3)
    for key, value in reused_tags({0: elsewhere}, {}).items():
        client.set_tag(parent, key, value)
    assert [run.run_id for run in sweep_runs(open_store(uri), parent)] == [own, elsewhere]
    client.delete_run(elsewhere)
    assert sorted(run.run_id for run in sweep_runs(open_store(uri), parent)) == sorted([failed, own])


@pytest.mark.parametrize("many", [False, True], ids=["a few", "more than are asked for one by one"])
def test_both_readers_find_runs_by_their_fingerprints(
    study: tuple[str, MlflowClient, str], tmp_path: Path, many: bool
) -> None:
    uri, client, experiment = study
    other = new_study(client, tmp_path, "other")
    for place, where in ((0, experiment), (1, experiment), (2, other)):
        record(client, where, f"run {place}", started=place, tags={FINGERPRINT_TAG: f"{place:032x}"})
    record(client, experiment, "unknown", started=3)
    wanted = tuple(f"{place:032x}" for place in (1, 2, *(range(100, 300) if many else ())))
    local = SqliteReader(tmp_path / "mlflow.db")
    try:
        for reader in (local, ClientReader(open_store(uri))):
            found = reader.select(Selection(fingerprints=wanted))
            assert [run.name for run in found] == ["run 1", "run 2"]
            assert reader.select(Selection(fingerprints=())) == []
    finally:
        local.close()
    assert [run.name for run in runs_of_fingerprints(open_store(uri), "study", wanted)] == ["run 1"]
    assert runs_of_fingerprints(open_store(uri), "nowhere", wanted) == []
    assert runs_of_fingerprints(open_store(f"sqlite:///{tmp_path}/nothing.db"), "study", wanted) == []


def test_a_repetition_stands_for_no_other_run(study: tuple[str, MlflowClient, str]) -> None:
    uri, client, experiment = study
    tags = {FINGERPRINT_TAG: "f" * 32}
    once = record(client, experiment, "once", started=1, tags=tags)
    record(client, experiment, "once again", started=2, tags={**tags, "harness.reproduces": once})
    assert [run.run_id for run in runs_of_fingerprints(open_store(uri), "study", ["f" * 32])] == [once]
