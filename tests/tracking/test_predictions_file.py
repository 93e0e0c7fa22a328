"""What runs answered for each held-out image, written by a run and read back from real stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.request import url2pathname

import numpy as np
import pytest

from harness.errors import StoreError
from harness.records import Predictions, RunRecord
from harness.tracking.predictions_file import FILE, read_predictions, readable_predictions
from harness.tracking.reading import read_runs
from harness.tracking.store import Store, open_store
from harness.tracking.writing import RunIdentity, tracked_run
from tests.tracking.servers import mlflow_server

ANSWERS = Predictions(
    np.array([0, 1, 2, 2], dtype=np.uint8),
    np.array([0, 1, 1, 2], dtype=np.uint8),
    np.array([0.1, 0.2, 3.5, 0.3], np.float16),
)


def keep(store: Store, answers: Mapping[str, Predictions], name: str = "a run") -> str:
    with tracked_run(store, RunIdentity(name, "study")) as tracked:
        if answers:
            tracked.log_predictions(answers)
        return tracked.run_id


@pytest.fixture
def store(tmp_path: Path, project: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'mlflow.db'}")


def file_of(run: RunRecord) -> Path:
    return Path(url2pathname(run.artifacts.removeprefix("file://"))) / FILE


def test_what_a_run_answered_is_read_as_it_was_written(store: Store) -> None:
    run_id, plain = keep(store, {"val": ANSWERS, "test": ANSWERS}), keep(store, {}, "of an earlier version")
    runs = read_runs(store)
    found = read_predictions(store, runs)
    assert set(found) == {run_id}
    assert plain in {run.run_id for run in runs}
    assert list(found[run_id]) == ["val", "test"]
    read = found[run_id]["test"]
    for name in ("labels", "predicted", "losses"):
        np.testing.assert_array_equal(getattr(read, name), getattr(ANSWERS, name))
    assert list(read.right) == [True, True, False, True]


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_gone_or_broken_is_named_with_its_run(store: Store, content: bytes | None) -> None:
    run_id = keep(store, {"test": ANSWERS})
    (run,) = read_runs(store)
    if content is None:
        file_of(run).unlink()
    else:
        file_of(run).write_bytes(content)
    with pytest.raises(StoreError, match=rf"a run \({run_id}\) cannot be read.*--interval seeds"):
        read_predictions(store, [run])


def test_runs_whose_files_are_gone_cost_the_others_nothing(store: Store) -> None:
    ids = [keep(store, {"test": ANSWERS}, f"run {number}") for number in range(4)]
    runs = read_runs(store)
    for run in runs:
        if run.run_id in ids[:2]:
            file_of(run).unlink()
    said: list[str] = []
    assert set(readable_predictions(store, runs, said.append)) == set(ids[2:])
    [line] = said
    assert line.startswith("Intervals over images of their rows rest on the formula p (1 - p) / N: The predictions of")
    assert line.endswith("(and 1 more)")


def test_objects_in_the_file_are_not_unpickled(store: Store) -> None:
    keep(store, {"test": ANSWERS})
    (run,) = read_runs(store)
    np.savez(file_of(run), test_labels=np.array([print], dtype=object))
    with pytest.raises(StoreError, match="cannot be read"):
        read_predictions(store, [run])


@pytest.mark.slow
def test_those_of_a_server_are_downloaded(tmp_path: Path, project: Path) -> None:
    with mlflow_server(tmp_path) as uri:
        store = open_store(uri)
        ids = [keep(store, {"test": ANSWERS}, f"run {n}") for n in range(3)]
        found = read_predictions(store, read_runs(store))
    assert set(found) == set(ids)
    assert all(of["test"].right.sum() == 3 for of in found.values())
