"""What the end of a sweep records of jobs that could not do it themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.composing import SweepJobs
from harness.config.schema import Config
from harness.records import RunState
from harness.sweeps.lost_jobs import end_runs
from harness.sweeps.worker import LOG, TRACEBACK, Failure
from harness.sweeps.worker_process import DIED
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, RunWriter


@pytest.mark.parametrize("dump", ["Fatal Python error: Bus error\n", ""])
def test_a_job_whose_death_could_not_be_recorded_at_once_has_its_log_and_traceback_at_the_end(
    project: Path, dump: str
) -> None:
    """The store may be busy when a worker dies: then the end of the sweep makes up for it."""
    folder = project / "outputs" / "3"
    folder.mkdir(parents=True)
    (folder / LOG).write_text("epoch 1: fine\n")
    if dump:
        (folder / TRACEBACK).write_text(dump)
    store = open_store()
    parent = RunWriter(store, RunIdentity("sweep", "study", tags={"harness.kind": "sweep"}))
    left = RunWriter(store, RunIdentity("seed=3", "study", parent.run_id, tags={"harness.job": "3"})).run_id
    failures = {3: Failure("Its process was ended by SIGBUS.", DIED, folder=folder)}
    runs = read_runs(store, parent_id=parent.run_id)
    end_runs(parent, runs, SweepJobs(((),) * 4, ("seed",)), Config(), failures, interrupted=False)
    [run] = read_runs(store, run_ids=[left])
    assert run.state is RunState.FAILED
    assert run.tags["harness.error"] == "Its process was ended by SIGBUS."
    log = Path(store.client.download_artifacts(left, "logs/run.log")).read_text()
    assert log.startswith("epoch 1: fine")
    assert "FAILED: ProcessDied: Its process was ended by SIGBUS." in log.splitlines()[-1]
    traceback = Path(store.client.download_artifacts(left, "traceback.txt")).read_text()
    assert (dump or "epoch 1: fine") in traceback
