"""One command at a time works on a sweep."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from harness import machine
from harness.errors import StoreError
from harness.machine import is_alive, is_here, this_process
from harness.records import RunRecord, RunState
from harness.sweeps.lease import (
    CUT_OFF,
    DIED_ALONE,
    HEARTBEAT_TAG,
    LeaseWatch,
    close_dead,
    holder_of,
    is_held,
    take_lease,
    take_over,
)
from harness.tracking.reading import read_runs
from harness.tracking.shared_writes import tag_run, write_once
from harness.tracking.store import open_store
from harness.tracking.unfinished import close_abandoned

ELSEWHERE = "elsewhere:0123:1 4711 1.00"


@pytest.fixture
def parent(project: Path) -> str:
    client = open_store().client
    experiment = client.create_experiment("harness")
    return str(client.create_run(experiment, tags={"harness.kind": "sweep"}).info.run_id)


def record(parent: str) -> RunRecord:
    [run] = read_runs(open_store(), run_ids=[parent], include_parents=True)
    return run


def ended_process() -> str:
    told = [sys.executable, "-c", "from harness.machine import this_process; print(this_process())"]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_is_known_again_and_its_end_is_seen() -> None:
    assert is_here(this_process())
    assert is_alive(this_process())
    ended = ended_process()
    assert is_here(ended)
    assert not is_alive(ended)
    assert not is_here(ELSEWHERE)


def test_a_process_of_the_same_number_is_not_the_one_that_was_recorded() -> None:
    here, number, started = this_process().rsplit(" ", 2)
    assert not is_alive(f"{here} {number} {float(started) - 100:.2f}")


def test_of_many_that_claim_at_once_one_has_it(parent: str) -> None:
    found = []
    ready = threading.Barrier(6)

    def lease() -> None:
        ready.wait()
        found.append(take_lease(open_store(), parent))

    threads = [threading.Thread(target=lease) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert sum(lease is not None for lease in found) == 1


def test_a_claim_holds_until_it_is_released_and_the_next_has_the_next_number(parent: str) -> None:
    assert not is_held(record(parent))
    lease = take_lease(open_store(), parent)
    assert lease is not None
    assert is_held(record(parent)), "before it first beats, too"
    with lease:
        assert not LeaseWatch().is_over(record(parent))
        assert take_lease(open_store(), parent) is None
    assert not is_held(record(parent))
    assert LeaseWatch().is_over(record(parent))
    holder = holder_of(record(parent))
    assert holder is not None
    assert (holder.number, holder.released) == (1, True)
    assert take_lease(open_store(), parent, after=1) is not None


def test_a_claim_whose_process_has_gone_is_over_at_once(parent: str) -> None:
    write_once(open_store(), parent, "claim.1", f"{ended_process()} 0123")
    tag_run(open_store(), parent, {HEARTBEAT_TAG: f"{time.time():.1f}"})
    assert not is_held(record(parent))


def test_a_claim_of_another_machine_is_over_when_it_no_longer_moves(
    parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.sweeps.lease.EXPIRY_SECONDS", 1.0)
    write_once(open_store(), parent, "claim.1", f"{ELSEWHERE} 0123")
    watch = LeaseWatch()
    for _ in range(4):
        tag_run(open_store(), parent, {HEARTBEAT_TAG: f"{time.time() - 100:.2f}"})
        assert not watch.is_over(record(parent)), "its clock is behind, but it lives"
        time.sleep(0.2)
    time.sleep(1.2)
    assert is_held(record(parent)), "nobody can tell at a glance"
    assert watch.is_over(record(parent))


def test_who_finds_that_another_has_taken_over_stops(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sweeps.lease.BEAT_SECONDS", 0.1)
    lease = take_lease(open_store(), parent)
    assert lease is not None

    def work() -> None:
        with lease:
            write_once(open_store(), parent, "claim.2", f"{ELSEWHERE} 4567")
            for _ in range(400):  # an interruption that a thread asks for is not seen within a sleep
                time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert lease.is_lost()
    assert is_held(record(parent)), "what the other has is not given up"


def test_what_a_dead_command_left_running_is_closed_with_the_reason(parent: str) -> None:
    client = open_store().client
    experiment = record(parent).experiment_id
    tags = {"mlflow.parentRunId": parent, "harness.process": ended_process()}
    left = client.create_run(experiment, tags=tags).info.run_id
    said: list[str] = []
    take_over(open_store(), record(parent), said.append)
    [run] = read_runs(open_store(), run_ids=[left])
    assert run.state is RunState.KILLED
    assert run.tags["harness.error"] == CUT_OFF
    assert said == []


def state_of(run_id: str) -> tuple[RunState, str | None]:
    [run] = read_runs(open_store(), run_ids=[run_id], include_parents=True)
    return run.state, run.tags.get("harness.error")


def test_single_runs_whose_process_is_proven_to_be_gone_are_closed_and_no_others(
    parent: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_store().client
    left = {
        name: client.create_run(record(parent).experiment_id, run_name=name, tags=tags).info.run_id
        for name, tags in {
            "dead": {"harness.kind": "run", "harness.process": ended_process()},
            "lives": {"harness.kind": "run", "harness.process": this_process()},
            "elsewhere": {"harness.kind": "run", "harness.process": ELSEWHERE},
            "of others": {},
        }.items()
    }
    assert [run.name for run in close_dead(open_store())] == ["dead"]
    assert state_of(left["dead"]) == (RunState.KILLED, DIED_ALONE)
    assert all(state_of(left[name]) == (RunState.RUNNING, None) for name in ("lives", "elsewhere", "of others"))
    assert f"dead ({left['dead']}) was RUNNING and its process has gone" in caplog.text
    assert close_dead(open_store()) == []


def test_a_sweep_that_was_killed_is_closed_with_its_runs_but_not_one_that_another_command_has(parent: str) -> None:
    client, dead = open_store().client, ended_process()
    client.set_tag(parent, "harness.process", dead)
    tags = {"mlflow.parentRunId": parent, "harness.kind": "run", "harness.process": dead}
    child = client.create_run(record(parent).experiment_id, tags=tags).info.run_id
    write_once(open_store(), parent, "claim.1", f"{ended_process()} 0123")
    with take_lease(open_store(), parent, after=1) or pytest.fail("nobody else wants it"):
        assert close_dead(open_store()) == [], "whoever has it now closes what is left of it"
    assert {run.run_id for run in close_dead(open_store())} == {parent, child}
    assert state_of(parent)[0] is state_of(child)[0] is RunState.KILLED


def test_a_run_that_another_process_goes_on_with_meanwhile_is_not_closed(parent: str) -> None:
    client = open_store().client
    left = client.create_run(record(parent).experiment_id, tags={"harness.process": ended_process()}).info.run_id
    [before] = read_runs(open_store(), run_ids=[left])
    client.set_tag(left, "harness.process", this_process())
    close_abandoned(open_store(), before, RunState.KILLED, "It is gone.", "ProcessDied")
    assert state_of(left) == (RunState.RUNNING, None)


def cut_off(parent: str, worker: str) -> psutil.Process:
    """A process that runs the program `worker`, of a command that leased the sweep and is no more."""
    command = (
        "import subprocess, sys; from harness.sweeps.lease import take_lease; from harness.tracking.store import *;"
        f"assert take_lease(open_store(), {parent!r}) is not None;"
        "told = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True, stdout=-3, stderr=-3);"
        "print(told.pid)"
    )
    told = subprocess.run([sys.executable, "-c", command, worker], capture_output=True, text=True, check=True)
    return psutil.Process(int(told.stdout))


def test_a_worker_of_a_command_that_was_cut_off_is_waited_for(parent: str, tmp_path: Path) -> None:
    over, said = tmp_path / "over", list[str]()
    worker = cut_off(parent, f"import os, time\nwhile not os.path.exists({str(over)!r}): time.sleep(0.1)")
    waiting = threading.Thread(target=take_over, args=(open_store(), record(parent), said.append))
    waiting.start()
    time.sleep(1.0)
    assert waiting.is_alive()
    over.touch()
    waiting.join(10)
    assert not waiting.is_alive()
    assert "1 workers" in said[0]
    assert f"kill -9 {worker.pid}" in said[0]


def test_a_worker_that_hangs_is_waited_for_as_long_as_a_job_may_take_and_then_killed(parent: str) -> None:
    worker = cut_off(parent, "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    left = open_store().client.create_run(record(parent).experiment_id, tags={"mlflow.parentRunId": parent})
    said: list[str] = []
    take_over(open_store(), record(parent), said.append, timeout=0.5)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert "timeout=0.5" in said[0]
    assert "killed" in said[1]
    [run] = read_runs(open_store(), run_ids=[left.info.run_id])
    assert run.state is RunState.KILLED


def test_a_store_that_does_not_take_a_claim_says_so(parent: str) -> None:
    with pytest.raises(StoreError):
        write_once(open_store(), "0" * 32, "claim.1", "x")


def test_processes_are_marked_from_the_time_that_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.MARK_VARIABLE, raising=False)
    before = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[60])
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[60])
    try:
        before.start()
        mark = machine.mark_children()
        worker.start()
        found: set[int] = set()
        for _ in range(50):  # it shows the environment of its parent until it has begun
            found = {process.pid for process, its in machine.marked_processes() if its == mark}
            if worker.pid in found:
                break
            time.sleep(0.1)
        assert worker.pid in found  # a resource tracker of an earlier test in this process may be there as well
        assert not found & {before.pid, os.getpid()}
    finally:
        before.kill()
        worker.kill()
        before.join()
        worker.join()
