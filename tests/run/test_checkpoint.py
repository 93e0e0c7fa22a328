"""The checkpoint of a run is read by the same work only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import paths
from harness.composing import compose_config
from harness.run.checkpoint import Checkpoint
from harness.run.warm_start import find_start
from harness.tracking.store import open_store
from harness.training.state import Progress, TrainingState, write_state

MINE, ANOTHERS = "a" * 32, "b" * 32
STATE = TrainingState(3, (np.ones(2, np.float32),), progress=Progress(0, {"fit/loss": [3.0, 2.0, 1.0]}))


def test_a_checkpoint_is_read_by_the_run_of_its_fingerprint(project: Path) -> None:
    Checkpoint("run", 0, MINE).keep(STATE)
    found = Checkpoint("run", 0, MINE).read()
    assert found is not None
    assert found.epochs == 3
    assert found.progress == STATE.progress


@pytest.mark.parametrize("fingerprint", [ANOTHERS, ""])
def test_a_checkpoint_of_another_fingerprint_is_left_alone_and_the_log_says_why(
    project: Path, fingerprint: str, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoint("run", 0, MINE).keep(STATE)
    assert Checkpoint("run", 0, fingerprint).read() is None
    [said] = caplog.messages
    assert "training starts anew" in said
    assert MINE in said


def test_a_checkpoint_of_an_earlier_version_which_has_no_fingerprint_is_read(project: Path) -> None:
    file = paths.checkpoint_file("run")
    file.parent.mkdir()
    write_state(file, STATE)
    with np.load(file) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "fingerprint"}
    np.savez(file, **arrays)
    found = Checkpoint("run", 0, MINE).read()
    assert found is not None
    assert found.epochs == 3


def test_a_run_that_continues_from_the_checkpoint_of_another_takes_its_weights_but_not_its_history(
    project: Path,
) -> None:
    Checkpoint("run", 0, ANOTHERS).keep(STATE)
    config = compose_config([f"regime.continue_from={paths.checkpoint_file('run')}"])
    state = find_start(open_store(), config).state
    assert state is not None
    assert state.epochs == 3
    assert state.progress is None
