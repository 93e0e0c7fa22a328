"""No record of a store makes the harness end, or tell anybody to end, a process that is not a worker of the sweep."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.machine import MARK_VARIABLE, is_alive, is_gone, is_here, this_process
from harness.records import RunRecord
from harness.sweeps.lease import close_dead, holder_of, take_over
from harness.tracking.reading import read_runs
from harness.tracking.shared_writes import tag_run, write_once
from harness.tracking.store import open_store

NAMING = "from harness.machine import this_process; print(this_process(), flush=True); input()"


@pytest.fixture
def parent(project: Path) -> str:
    client = open_store().client
    experiment = client.create_experiment("harness")
    return str(client.create_run(experiment, tags={"harness.kind": "sweep"}).info.run_id)


@pytest.fixture(params=["", "0123456789abcdef"])
def bystander(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of the user that is no worker of the sweep, without a mark or with another one; and its name."""
    environment = {MARK_VARIABLE: request.param} if request.param else {}
    program = [sys.executable, "-c", NAMING]
    with subprocess.Popen(
        program,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def record(parent: str) -> RunRecord:
    [run] = read_runs(open_store(), run_ids=[parent], include_parents=True)
    return run


def ended() -> str:
    return subprocess.run([sys.executable, "-c", NAMING], capture_output=True, text=True, input="\n").stdout.strip()


def test_a_process_that_a_record_names_is_neither_ended_nor_named_for_it(
    parent: str, bystander: tuple[subprocess.Popen[str], str]
) -> None:
    process, name = bystander
    gone = ended()
    owner = " ".join([*gone.split(" ")[:-2], str(process.pid), gone.split(" ")[-1]])  # a dead command of its number
    write_once(open_store(), parent, "claim.1", f"{name} 0123")
    write_once(open_store(), parent, "claim.2", f"{owner} 0123.{'0' * 32}")
    write_once(open_store(), parent, "claim.3", f"{gone} {'0' * 32}")
    client, experiment = open_store().client, record(parent).experiment_id
    run = client.create_run(experiment, tags={"mlflow.parentRunId": parent, "harness.process": name}).info.run_id
    said: list[str] = []
    take_over(open_store(), record(parent), said.append, timeout=0.1)
    assert process.poll() is None
    assert said == []
    [closed] = read_runs(open_store(), run_ids=[run])
    assert closed.state == "KILLED"


HIDDEN = """
import os
from harness.machine import is_alive, is_gone, is_hidden, this_process
name = this_process()
if not os.fork():
    os.setgroups([])
    os.setgid(54333)
    os.setuid(54333)
    print(is_alive(name), is_hidden(name), is_gone(name), flush=True)
    os._exit(0)
os.wait()
"""


def test_a_colleagues_run_is_not_taken_for_dead_where_the_system_hides_processes_of_others() -> None:
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, sys.executable, HIDDEN], capture_output=True, text=True, check=False
    )
    if done.returncode and "ermi" in done.stderr:  # permission denied, operation not permitted
        pytest.skip("nothing can be mounted here")
    assert done.stdout == "False True False\n", done.stderr


MALFORMED = (
    "", "x", " ", "  ", "a b", "a b c", f"x:{'y' * 50} 1 nan", "h 99999999999999999999999 1.0", "h -1 inf", "::: 1 7e7",
    f"h {'9' * 5000} 1", "h:b:n:m 1 1e999",
)  # fmt: skip


def test_a_malformed_process_is_nobody(parent: str) -> None:
    place, store = this_process().rsplit(" ", 2)[0], open_store()
    for number, malformed in enumerate(MALFORMED, 1):
        for text in (malformed, f"{place} {malformed}"):
            assert not (is_here(text) and is_alive(text)), text
        assert not is_gone(malformed), "nothing is proven of it"
        tag_run(store, parent, {"harness.process": malformed or " "})
        assert close_dead(store) == []
        write_once(store, parent, f"claim.{number}", malformed or " ")
        holder = holder_of(record(parent))
        assert holder is not None
        assert holder.number == number
        assert str(holder).startswith("process ")
    for key in ("claim.01", "claim.0", f"claim.{'9' * 200}", "claim.1.2"):
        write_once(store, parent, key, "x")
    holder = holder_of(record(parent))
    assert holder is not None
    assert holder.number == len(MALFORMED)
    take_over(store, record(parent), lambda said: None, timeout=0.1)
