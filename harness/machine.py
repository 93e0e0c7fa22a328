"""What the machine, or the container, offers, and which of its processes live."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import math
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil

_STARTED_WITHIN = 2.0
"""Seconds by which two readings of the start of one process may differ; earlier versions recorded the time of day."""

CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux shows the control groups, and in which of them this process is."""
FIRST_NAMESPACE = "4026531836"
"""That of the processes of a whole machine, outside any container (`PROC_PID_INIT_INO` of Linux)."""


told_to_end = 0
"""The signal that told this process to end, 0 for none. Libraries may swallow the exception that a signal raises."""


def available_cpus() -> int:
    """The processors that this process may use: a container, `taskset` or a quota may allow fewer than there are.

    A quota of one and a half counts as two, as in loky and the JVM.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _control_groups("cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, min([there, *map(math.ceil, quotas)]))


def available_memory() -> int:
    """Bytes of memory that new processes can have without swapping, and without being ended by a control group."""
    free = [left for folder in _control_groups("memory") if (left := _memory_left(folder)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *free]))


def user_name() -> str:
    """The name of this process's user; the number, where the system knows no name (in a container, mostly)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def seconds_elapsed() -> float:
    """Seconds since some moment, on a clock that nobody sets and that runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _control_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that hold this process, of both versions, from its own to the outermost that is
    to be seen: the limits of each count. None outside Linux."""
    with suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            for mount in (CONTROL_GROUPS / name for name in ((names, controller) if names else ("", "unified"))):
                own = mount / path.lstrip("/")
                yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))


def _cpu_quota(folder: Path) -> float | None:
    """The processors that a control group may use at once; None where it sets no limit."""
    with suppress(OSError, ValueError):
        if (file := folder / "cpu.max").is_file():  # version 2
            quota, period = file.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    return None


def _memory_left(folder: Path) -> int | None:
    """The bytes that a control group may still take; None where it sets no limit. What it keeps of files does not
    count: the system takes that back first."""
    version_2 = (folder / "memory.max").is_file()
    limit, used, cached = (
        ("memory.max", "memory.current", "inactive_file")
        if version_2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    with suppress(OSError, ValueError):  # there is none, or it is `max`
        bound, taken = (int((folder / name).read_text()) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return bound - taken + int(statistics.get(cached, 0))
    return None


def gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that TensorFlow could use here, as `CUDA_VISIBLE_DEVICES` names them.

    Found without starting CUDA: a process that has started it could not hand single devices to its children.
    """
    there = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if not there or (find_spec("nvidia") is None and find_library("cudart") is None):
        return ()  # none, or not the libraries of `make setup EXTRAS=gpu`, nor those of the system
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(str(number) for number in range(len(there)))
    return tuple(device for device in named.split(",") if device.strip() not in ("", "-1"))


MARK_VARIABLE = "HARNESS_COMMAND"
"""In the environment of workers: the mark of the process that they work for, which is written down nowhere else."""


class _Place(NamedTuple):
    """Where a process number holds good: the machine's name, its last start, the container, and what tells the machine
    from others; what is not known is empty."""

    host: str
    boot: str = ""
    namespace: str = ""
    machine: str = ""


def this_process() -> str:
    """This process in a text that no other process has, on any machine: `is_alive` and `is_gone` read it."""
    return f"{':'.join(_here())} {os.getpid()} {_started(psutil.Process()):.2f}"


def process_in_words(process: str) -> str:
    """`process 4711 on this machine`, as `this_process` recorded it."""
    number = process.split(" ")[-2:-1]
    where = "this machine" if is_here(process) else process_host(process)
    return f"process {' '.join(number) or 'of no number'} on {where or 'an unnamed machine'}"


def process_host(process: str) -> str:
    """The name of the machine that `this_process` recorded."""
    return _place(process).host


def is_here(process: str) -> bool:
    """Whether a process that `this_process` recorded was one of this machine, since it was started last."""
    return _here()[:3] == _place(process)[:3]


def is_alive(process: str) -> bool:
    """Whether a process of this machine (`is_here`) still runs."""
    with suppress(psutil.NoSuchProcess, ValueError, OverflowError):  # no such number, or the record is none of ours
        number, started = process.rsplit(" ", 2)[1:]
        found = psutil.Process(int(number))
        starts = (_started(found), found.create_time())
        same = any(abs(start - float(started)) < _STARTED_WITHIN for start in starts)
        return same and found.status() != psutil.STATUS_ZOMBIE
    return False


def is_hidden(process: str) -> bool:
    """Whether a process of this machine is another user's, of whom the system does not tell (`hidepid`): it may be the
    one that was recorded, or have its number by now."""
    with suppress(ValueError, OverflowError, ProcessLookupError):
        _, number, _ = process.rsplit(" ", 2)
        try:
            os.kill(int(number), 0)  # sends nothing
        except PermissionError:
            return Path("/proc/self").exists() and not Path("/proc", number).exists()
    return False


def is_gone(process: str) -> bool:
    """Whether a process that `this_process` recorded is proven to be no more: one of this machine that has ended, or of
    the time before the machine was started last. Of another machine, or of another container, nothing is proven."""
    if is_here(process):
        return not is_alive(process) and not is_hidden(process)
    here, there = _here(), _place(process)
    whole = here.namespace == there.namespace == FIRST_NAMESPACE
    same = here.host == there.host and here.machine == there.machine != ""
    return whole and same and here.boot != there.boot != ""


def mark_children() -> str:
    """Have every process that comes from this one from now on carry its mark; the mark."""
    os.environ[MARK_VARIABLE] = _mark(os.getpid())
    return os.environ[MARK_VARIABLE]


def marked_processes() -> Iterator[tuple[psutil.Process, str]]:
    """The other processes here, of this user, that carry a mark of `mark_children`, each with it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has just ended, or is somebody else's
            mark = process.environ().get(MARK_VARIABLE)
            if mark and process.pid != os.getpid():
                yield process, mark


@cache
def _mark(number: int) -> str:
    """A forked child has another number, and so a mark of its own."""
    return secrets.token_hex(16)


def _started(process: psutil.Process) -> float:
    """When a process started, by a clock that nobody sets: psutil tells by it which processes are the same."""
    return float(process._ident[1])  # type: ignore[attr-defined]


def _place(process: str) -> _Place:
    return _Place(*process.rsplit(" ", 2)[0].split(":")[:4])


@cache
def _here() -> _Place:
    host, namespace, machine = platform.node().replace(" ", "_").replace(":", "_"), "", ""
    with suppress(OSError):  # there on Linux
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    with suppress(OSError):  # there with systemd; not to be shown as it is, says its manual
        number = Path("/etc/machine-id").read_text().strip()
        machine = hashlib.sha256(f"overfitting-harness {number}".encode()).hexdigest()[:8] if number else ""
    return _Place(host, _boot()[:8], namespace, machine)


def _boot() -> str:
    """What tells this start of the machine from others; empty where the system does not say."""
    with suppress(OSError):  # there on Linux
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError, AttributeError):  # there on macOS
        text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        ask = ctypes.CDLL(None).sysctlbyname
        if ask(b"kern.bootsessionuuid", text, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            return text.value.decode()
    return ""
