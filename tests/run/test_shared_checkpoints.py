"""The checkpoint of a sweep's job is in the store too: another machine, with a root of its own, resumes from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.run.checkpoint import Checkpoint
from harness.tracking.shared_checkpoints import SharedCheckpoints
from harness.tracking.store import Store, open_store
from harness.training.state import Progress, TrainingState, write_state

MINE = "a" * 32
SHAPES: Sequence[tuple[int, ...]] = [(2,)]


def state(epochs: int) -> TrainingState:
    return TrainingState(epochs, (np.full(2, epochs, np.float32),), progress=Progress(0, {}))


class Node:
    """A machine of its own: another root, the same store."""

    def __init__(self, root: Path, store: Store, run_id: str) -> None:
        self.root, self.store, self.run_id = root, store, run_id

    def checkpoint(self, attempt: int = 1, seconds: float | None = 0) -> Checkpoint:
        shared = SharedCheckpoints(self.store, self.run_id, attempt, seconds)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HARNESS_ROOT", str(self.root))
            return Checkpoint(self.run_id, 0, MINE, shared)

    def names(self) -> list[str]:
        return [item.path for item in self.store.client.list_artifacts(self.run_id, "checkpoint")]


@pytest.fixture
def nodes(project: Path, tmp_path: Path) -> tuple[Node, Node]:
    store = open_store(f"sqlite:///{project / 'mlflow.db'}")
    run_id = store.client.create_run(store.ensure_experiment("harness")).info.run_id
    return Node(project, store, run_id), Node(tmp_path / "b", store, run_id)


def test_another_machine_reads_the_newest_and_nothing_is_left_at_the_end(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    writing = here.checkpoint()
    writing.keep(state(3))
    writing.keep(state(5), last=True)
    assert here.names() == ["checkpoint/epoch_5.npz"], "the one before is removed"
    here.store.client.set_tag(here.run_id, "harness.tries", "2")
    going_on = there.checkpoint(attempt=2)
    found = going_on.read(SHAPES)
    assert found is not None
    assert (found.epochs, found.weights[0].tolist(), found.progress) == (5, [5.0, 5.0], Progress(0, {}))
    writing.keep(state(9), last=True)
    assert here.names() == ["checkpoint/epoch_5.npz"], "whom the run was taken from writes no more"
    going_on.remove()
    assert here.names() == []


def test_the_local_one_is_preferred_unless_it_is_older(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    here.checkpoint().keep(state(5), last=True)
    here.checkpoint(seconds=None).keep(state(8), last=True)
    local, shared = here.checkpoint(attempt=2).read(SHAPES), there.checkpoint(attempt=2).read(SHAPES)
    assert (local is not None and local.epochs, shared is not None and shared.epochs) == (8, 5)
    there.checkpoint(seconds=None).keep(state(4))
    found = there.checkpoint(attempt=2).read(SHAPES)
    assert found is not None
    assert found.epochs == 5


@pytest.mark.parametrize("how", ["cut", "pickle", "another job", "other weights", "few values", "a link"])
def test_what_cannot_be_used_costs_only_itself(nodes: tuple[Node, Node], how: str, tmp_path: Path) -> None:
    here, there = nodes
    here.checkpoint().keep(state(5), last=True)
    folder = next(here.root.glob("mlruns/*/*/artifacts/checkpoint"))
    newest = folder / "epoch_7.npz"
    Checkpoint(here.run_id, 0, "b" * 32 if how == "another job" else MINE).keep(state(7))
    whole = next(here.root.glob("checkpoints/*.npz")).read_bytes()
    newest.write_bytes(whole[:-200] if how == "cut" else whole)
    if how == "pickle":
        np.savez(newest, version=np.array(1), weight_0=np.array([{}], dtype=object))
    if how == "other weights":
        write_state(newest, TrainingState(7, (np.ones(3, np.float32),), progress=Progress(0, {}), fingerprint=MINE))
    if how == "few values":
        write_state(newest, replace(state(7), progress=Progress(0, {"fit/loss": (0.5,)}), fingerprint=MINE))
    if how == "a link":
        newest.replace(tmp_path / "elsewhere.npz")
        newest.symlink_to(tmp_path / "elsewhere.npz")
    found = there.checkpoint(attempt=2).read(SHAPES)
    assert (found is None) if how == "a link" else (found is not None and found.epochs == 5)


def test_uploads_are_thinned_and_a_run_that_stops_uploads_at_once(nodes: tuple[Node, Node]) -> None:
    here, _ = nodes
    writing = here.checkpoint(seconds=60)
    writing.keep(state(1))
    assert here.names() == []
    writing.keep(state(2), last=True)
    assert here.names() == ["checkpoint/epoch_2.npz"]


def test_a_store_that_fails_costs_the_checkpoint_and_not_the_run(
    nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = nodes
    writing = here.checkpoint()
    folder = here.store.artifact_path(here.store.client.get_run(here.run_id).info.artifact_uri)
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_text("a file where the folder should be")
    writing.keep(state(2), last=True)
    assert any("was not uploaded" in said for said in caplog.messages)
    assert there.checkpoint(attempt=2).read(SHAPES) is None
    writing.remove()
