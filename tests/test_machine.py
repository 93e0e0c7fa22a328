"""The limits of a container, and which processes count as alive if the clock is set or the machine restarted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import machine
from harness.machine import (
    available_cpus,
    available_memory,
    is_alive,
    is_gone,
    is_here,
    listed_devices,
    seconds_elapsed,
    this_process,
    visible_devices,
)

GIGABYTE = 2**30
OFFERED = """
from harness.machine import available_cpus, available_memory
from harness.sweeps.launcher import plan_workers
print(available_cpus(), available_memory(), len(plan_workers(None, 64)))
"""


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups that replaces the system's; `own` lists the groups of this process."""
    (tmp_path / "groups").mkdir()
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    return tmp_path / "groups"


def belongs_to(groups: Path, *lines: str) -> None:
    (groups.parent / "own").write_text("\n".join(lines) + "\n")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_the_quota_of_a_container_counts_and_not_the_cores_of_its_host(groups: Path) -> None:
    belongs_to(groups, "0::/")
    write(groups, cpu__max="150000 100000", memory__max=str(4 * GIGABYTE), memory__current=str(3 * GIGABYTE))
    write(groups, memory__stat=f"anon 1\ninactive_file {GIGABYTE}")
    assert available_cpus() == 2
    assert available_memory() <= 2 * GIGABYTE, "what it keeps of files can be had"


def test_the_strictest_of_nested_control_groups_counts(groups: Path) -> None:
    belongs_to(groups, "0::/lab.slice/user.slice/job.scope")
    write(groups / "lab.slice/user.slice/job.scope", cpu__max="max 100000", memory__max="max", memory__current="5")
    write(groups / "lab.slice/user.slice", cpu__max="800000 100000")
    write(groups / "lab.slice", cpu__max="300000 100000")
    assert available_cpus() == 3


def test_control_groups_of_version_1_and_of_both_versions_are_read(groups: Path) -> None:
    """A container shows its own group as the outermost one, but the path is that of the host."""
    belongs_to(groups, "3:memory:/docker/0123", "2:cpu,cpuacct:/docker/0123", "1:name=systemd:/", "0::/")
    write(groups / "unified", cgroup__procs="")
    write(groups / "cpu,cpuacct", cpu__cfs_quota_us="250000", cpu__cfs_period_us="50000")
    write(groups / "memory", memory__limit_in_bytes=str(GIGABYTE), memory__usage_in_bytes=str(GIGABYTE // 2))
    write(groups / "memory", memory__stat="cache 5\ntotal_inactive_file 0")
    assert available_cpus() == 5
    assert available_memory() == GIGABYTE // 2


@pytest.mark.parametrize("lines", [(), ("0::/../../elsewhere",), ("nonsense",)])
def test_without_limits_all_cores_count(groups: Path, lines: tuple[str, ...]) -> None:
    belongs_to(groups, *lines)
    write(groups, cpu__max="max 100000")
    assert available_cpus() == 64
    assert available_memory() > 0


def test_without_control_groups_all_cores_count(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which does not have CPU affinity either."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cpus() == os.cpu_count()


@pytest.fixture
def one_core() -> Iterator[tuple[str, ...]]:
    """Start programs with one core and three gigabytes, in real control groups."""
    root = Path("/sys/fs/cgroup")
    first = (root / "cpu").is_dir()
    name = f"harness-test-{os.getpid()}"
    folders = [root / "cpu" / name, root / "memory" / name] if first else [root / name]
    limits = (
        {"cpu.cfs_quota_us": "100000", "memory.limit_in_bytes": str(3 * GIGABYTE)}
        if first
        else {"cpu.max": "100000 100000", "memory.max": str(3 * GIGABYTE)}
    )
    made = []
    try:
        for folder in folders:
            folder.mkdir()
            made.append(folder)
        for limit, value in limits.items():
            next(folder / limit for folder in made if (folder / limit).exists()).write_text(value)
        enter = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in made)
        yield ("/bin/sh", "-c", f'{enter} && exec "$@"', "sh")
    except (OSError, StopIteration):
        pytest.skip("no control group can be made here")
    finally:
        for folder in made:
            folder.rmdir()


def test_a_command_in_a_real_control_group_starts_as_many_workers_as_allowed(one_core: tuple[str, ...]) -> None:
    done = subprocess.run([*one_core, sys.executable, "-c", OFFERED], capture_output=True, text=True, check=True)
    cpus, memory, workers = map(int, done.stdout.split())
    assert (cpus, workers) == (1, 1)
    assert GIGABYTE < memory <= 3 * GIGABYTE


def test_setting_the_clock_does_not_make_a_process_count_as_dead(tmp_path: Path) -> None:
    """Linux computes the time of the last boot from the system clock, so it changes when the clock is set."""
    text = Path("/proc/stat").read_text()
    (booted,) = (line for line in text.splitlines() if line.startswith("btime"))
    (tmp_path / "stat").write_text(text.replace(booted, f"btime {int(booted.split()[1]) + 5}"))
    program = (
        "import sys, psutil; from harness.machine import is_alive, is_gone, is_here; told = sys.argv[1];"
        "print(psutil.boot_time(), is_here(told), is_alive(told), is_gone(told))"
    )
    script = f'mount --bind {tmp_path}/stat /proc/stat && exec "$@"'
    inside = ["unshare", "--mount", "/bin/sh", "-c", script, "sh", sys.executable, "-c", program, this_process()]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if done.returncode and "ermi" in done.stderr:  # permission denied, operation not permitted
        pytest.skip("no file can be mounted here")
    assert done.stdout.split() == [f"{int(booted.split()[1]) + 5}.0", "True", "True", "False"], done.stderr


def test_the_elapsed_clock_runs_at_the_same_speed_as_others() -> None:
    began, also = seconds_elapsed(), time.monotonic()
    time.sleep(0.05)
    assert seconds_elapsed() - began == pytest.approx(time.monotonic() - also, abs=0.05)


def test_a_process_from_before_the_last_boot_is_gone() -> None:
    place, number, started = this_process().rsplit(" ", 2)
    host, boot, _, own = place.split(":")
    if not (boot and own):
        pytest.skip("this machine has no number of its own, or no number of its starts")

    def recorded(host: str, boot: str, namespace: str, machine: str) -> str:
        return f"{host}:{boot}:{namespace}:{machine} {number} {started}"

    whole = machine.FIRST_NAMESPACE
    earlier = recorded(host, "00000000", whole, own)
    assert not is_here(earlier)
    assert is_gone(earlier) == (machine._here().namespace == whole)
    for other in (
        recorded(host, "00000000", whole, "0" * 8),
        recorded(host, "00000000", "4026532000", own),
        recorded("another", "00000000", whole, own),
        f"{host}:00000000:{whole} {number} {started}",
    ):
        assert not is_gone(other), "it may be running on another machine, or in a container"


def test_what_an_earlier_version_recorded_is_read() -> None:
    import psutil

    host, boot, namespace, _ = machine._here()
    own = f"{host}:{boot}:{namespace} {os.getpid()} {psutil.Process().create_time():.2f}"
    assert is_here(own)
    assert is_alive(own)


@pytest.mark.parametrize(
    ("named", "devices"),
    [
        ("0,2", ("0", "2")),
        ("", ()),
        ("-1", ()),
        ("1,-1,0", ("1",)),
        ("GPU-5a1f,MIG-77c0", ("GPU-5a1f", "MIG-77c0")),
        (" 3 , MIG-GPU-5a1f/7/0", ("3", "MIG-GPU-5a1f/7/0")),
    ],
)
def test_visible_devices_are_those_before_the_first_that_is_none(named: str, devices: tuple[str, ...]) -> None:
    assert visible_devices(named) == devices


def test_parts_of_a_gpu_count_as_gpus_and_whole_gpus_are_named_beside_them() -> None:
    whole = "GPU 0: NVIDIA A100 (UUID: GPU-11)\n"
    parted = (
        "GPU 1: NVIDIA A100 (UUID: GPU-22)\n"
        "  MIG 3g.20gb Device 0: (UUID: MIG-a1)\n  MIG 3g.20gb Device 1: (UUID: MIG-a2)\n"
    )
    assert listed_devices(whole + parted) == ("GPU-11", "MIG-a1", "MIG-a2")
    assert listed_devices(parted + whole) == ("MIG-a1", "MIG-a2", "GPU-11")
    assert listed_devices(whole) == ()
    assert listed_devices("No devices were found") == ()
