"""A real search: `harness search` is killed, resumed and finished, and confirms its winner."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.records import RunRecord
from harness.tracking.reading import read_runs, read_series, read_sweeps
from harness.tracking.selection import CONFIRMS_TAG, JOB_TAG, TRIES_TAG, recorded_number
from harness.tracking.store import Store, open_store
from tests import forking
from tests.conftest import RunCommand

SERIES = ("train/accuracy", "val/accuracy", "val/loss")


def words(subset: Path) -> list[str]:
    return [
        "search", "debug=tiny", "regime.epochs=6", f"dataset.directory={subset}", "dataset.train_size=300",
        "regime.validation.strategy=stratified", "regime.validation.size=100", "figures=none", "engine=keras",
        "tracking.log_model=false",
        "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model=mlp_128,mlp_300_100", "search.trials=4",
        "search.seeds=2", "search.pruner=halving", "search.objective=accuracy", "hydra.launcher.workers=1",
    ]  # fmt: skip


def searched(store: Store) -> tuple[RunRecord, dict[str, tuple[str, object]]]:
    """The parent run of the only search, and the state and the curves of each job."""
    [parent] = [sweep for sweep in read_sweeps(store) if CONFIRMS_TAG not in sweep.tags]
    runs = read_runs(store, parent_id=parent.run_id)
    series = read_series(store, [run.run_id for run in runs], SERIES)
    return parent, {run.tags[JOB_TAG]: (str(run.state), series.get(run.run_id)) for run in runs}


@pytest.mark.slow
def test_a_killed_search_ends_with_the_same_trials_bit_for_bit_on_another_machine(
    project: Path,
    subset: Path,
    run_command: RunCommand,
    executable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run_command(*words(subset), "search.confirm=2")
    assert whole.returncode == 0, whole.stderr
    assert "flattered by" in whole.stdout
    assert "gap to test" not in whole.stderr.partition("again under fresh seeds")[0]
    parent, expected = searched(open_store())
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("HARNESS_ROOT", str(other))
    with forking.popen_class(())([executable, *words(subset), "search.confirm=0"], env=dict(os.environ)) as process:
        for _ in range(1200):
            time.sleep(0.1)
            store = open_store()
            found = [] if store.is_missing or not read_sweeps(store) else read_runs(store)
            if any(recorded_number(run, TRIES_TAG, 1) > 1 for run in found):
                break  # a run that had paused continues
        process.send_signal(signal.SIGKILL)
    elsewhere = tmp_path / "machine"  # another machine has the store, but not the checkpoints
    elsewhere.mkdir()
    monkeypatch.setenv("HARNESS_ROOT", str(elsewhere))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    resumed = run_command(*words(subset), "search.confirm=0")
    assert resumed.returncode == 0, resumed.stderr
    assert "is spent already" in run_command(*words(subset), "search.confirm=0").stderr
    again, ended = searched(open_store())
    trials = {key: text for key, text in parent.parameters.items() if key.startswith("trial.")}
    assert {key: text for key, text in again.parameters.items() if key.startswith("trial.")} == trials
    assert ended == expected
    logs = "".join(file.read_text() for file in elsewhere.rglob("*.log"))
    assert "comes from the store" in logs, "what had paused continued, and did not begin again"
