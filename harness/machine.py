"""The cores, memory and GPUs of this machine or container, and which of its processes are alive."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import math
import os
import platform
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import psutil

_STARTED_WITHIN = 2.0
"""The most seconds by which two readings of a process's start may differ."""

CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""The control groups of Linux, and the file that lists those of this process."""
FIRST_NAMESPACE = "4026531836"
"""The PID namespace of processes outside any container (`PROC_PID_INIT_INO` of Linux)."""


received_signal = 0
"""The signal that told this process to end, or 0. Kept here because libraries may catch the exception of a signal."""


def available_cpus() -> int:
    """The number of cores that this process may use. A container, `taskset` or a quota may allow fewer than exist.

    A quota of 1.5 counts as 2, as in loky and the JVM.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _control_groups("cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, min([there, *map(math.ceil, quotas)]))


def available_memory() -> int:
    """The bytes of memory that new processes can use before the machine swaps or a control group kills a process."""
    free = [left for folder in _control_groups("memory") if (left := _memory_left(folder)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *free]))


def user_name() -> str:
    """The name of this process's user, or the user id if there is no name (often in a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def seconds_elapsed() -> float:
    """Seconds on a clock that cannot be set and that also runs while the machine sleeps. Its zero means nothing."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _control_groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control groups (v1 and v2), innermost first. The limits of all of them apply.

    Empty outside Linux.
    """
    with suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            for mount in (CONTROL_GROUPS / name for name in ((names, controller) if names else ("", "unified"))):
                own = mount / path.lstrip("/")
                yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))


def _cpu_quota(folder: Path) -> float | None:
    """The number of cores that a control group may use, or None if it sets no limit."""
    with suppress(OSError, ValueError):
        if (file := folder / "cpu.max").is_file():  # version 2
            quota, period = file.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    return None


def _memory_left(folder: Path) -> int | None:
    """The bytes that a control group may still use, or None if it sets no limit.

    Its file cache counts as free, because the system frees that first.
    """
    version_2 = (folder / "memory.max").is_file()
    limit, used, cached = (
        ("memory.max", "memory.current", "inactive_file")
        if version_2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    with suppress(OSError, ValueError):  # there is no limit: no such file, or the text `max`
        bound, taken = (int((folder / name).read_text()) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return bound - taken + int(statistics.get(cached, 0))
    return None


def gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that TensorFlow could use here, as `CUDA_VISIBLE_DEVICES` names them; parts of a GPU (MIG) count
    as GPUs.

    This does not start CUDA, because a process that has started CUDA cannot give single GPUs to its children.
    """
    there = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if not there or (find_spec("nvidia") is None and find_library("cudart") is None):
        return ()  # no GPU, or no CUDA libraries (from `make setup EXTRAS=gpu` or the system)
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return visible_devices(named)
    return listed_devices(_gpu_list()) or tuple(str(number) for number in range(len(there)))


def visible_devices(named: str) -> tuple[str, ...]:
    """The devices in a value of `CUDA_VISIBLE_DEVICES`: those before the first that is none, as CUDA reads it.

    Example:
        >>> visible_devices("0, MIG-4f2c,-1,3")
        ('0', 'MIG-4f2c')
    """
    return tuple(takewhile(lambda device: device not in ("", "-1"), map(str.strip, named.split(","))))


def listed_devices(listed: str) -> tuple[str, ...]:
    """The devices in the output of `nvidia-smi -L` if some GPUs are in parts (MIG): the parts, and the whole GPUs by
    their identifier. Empty if none is.

    CUDA gives a process one part at most, and numbers do not name parts.
    """
    devices: list[str] = []
    whole: str | None = None
    for line in listed.splitlines():
        if not (found := _IDENTIFIER.search(line)):
            continue
        if found[1].startswith("GPU-"):
            devices += [] if whole is None else [whole]
            whole = found[1]
        else:
            devices.append(found[1])
            whole = None
    devices += [] if whole is None else [whole]
    return tuple(devices) if any(device.startswith("MIG-") for device in devices) else ()


def _gpu_list() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "-L"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
    return ""


_IDENTIFIER = re.compile(r"\(UUID: ((?:GPU|MIG)-[0-9A-Za-z/-]+)\)")

MARK_VARIABLE = "HARNESS_COMMAND"
"""The environment variable of workers with the mark of the process that started them. It is stored nowhere else."""


class _Place(NamedTuple):
    """Where a process id is valid: the machine's name, its boot id, its PID namespace and a hash of its machine id.

    What is not known is empty.
    """

    host: str
    boot: str = ""
    namespace: str = ""
    machine: str = ""


def this_process() -> str:
    """A text that identifies this process among those of all machines. `is_alive` and `is_gone` read it."""
    return f"{':'.join(_here())} {os.getpid()} {_started(psutil.Process()):.2f}"


def process_in_words(process: str) -> str:
    """For messages: `process 4711 on this machine`, from a text of `this_process`."""
    number = process.split(" ")[-2:-1]
    where = "this machine" if is_here(process) else process_host(process)
    return f"process {' '.join(number) or 'of no number'} on {where or 'an unnamed machine'}"


def process_host(process: str) -> str:
    """The name of the machine of a process that `this_process` recorded."""
    return _place(process).host


def is_here(process: str) -> bool:
    """Whether a recorded process belongs to this machine (and container), and to its time since the last boot."""
    return _here()[:3] == _place(process)[:3]


def is_alive(process: str) -> bool:
    """Whether a process of this machine (`is_here`) still runs."""
    with suppress(psutil.NoSuchProcess, ValueError, OverflowError):  # no such process, or a record in another form
        number, started = process.rsplit(" ", 2)[1:]
        found = psutil.Process(int(number))
        starts = (_started(found), found.create_time())  # earlier versions recorded the time of day
        same = any(abs(start - float(started)) < _STARTED_WITHIN for start in starts)
        return same and found.status() != psutil.STATUS_ZOMBIE
    return False


def is_hidden(process: str) -> bool:
    """Whether the system hides (`hidepid`) a process with this id, because it belongs to another user.

    It may be the recorded process, or a later one with the same id.
    """
    with suppress(ValueError, OverflowError, ProcessLookupError):
        _, number, _ = process.rsplit(" ", 2)
        try:
            os.kill(int(number), 0)  # only checks that the process exists
        except PermissionError:
            return Path("/proc/self").exists() and not Path("/proc", number).exists()
    return False


def is_gone(process: str) -> bool:
    """Whether a recorded process has certainly ended: it ended on this machine, or before this machine's last boot.

    False for a process of another machine or container, because nothing is known about it.
    """
    if is_here(process):
        return not is_alive(process) and not is_hidden(process)
    here, there = _here(), _place(process)
    no_container = here.namespace == there.namespace == FIRST_NAMESPACE
    same_machine = here.host == there.host and here.machine == there.machine != ""
    return no_container and same_machine and here.boot != there.boot != ""


def mark_children() -> str:
    """Give all later child processes a mark of this process, through their environment. Returns the mark."""
    os.environ[MARK_VARIABLE] = _mark(os.getpid())
    return os.environ[MARK_VARIABLE]


def marked_processes() -> Iterator[tuple[psutil.Process, str]]:
    """The other processes of this user here that have a mark of `mark_children`, each with its mark."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has just ended, or belongs to another user
            mark = process.environ().get(MARK_VARIABLE)
            if mark and process.pid != os.getpid():
                yield process, mark


@cache
def _mark(number: int) -> str:
    """The argument is the process id, so that a forked child gets its own mark."""
    return secrets.token_hex(16)


def _started(process: psutil.Process) -> float:
    """When a process started, on a clock that cannot be set. psutil identifies processes by it."""
    return float(process._ident[1])  # type: ignore[attr-defined]


def _place(process: str) -> _Place:
    return _Place(*process.rsplit(" ", 2)[0].split(":")[:4])


@cache
def _here() -> _Place:
    host, namespace, machine = platform.node().replace(" ", "_").replace(":", "_"), "", ""
    with suppress(OSError):  # exists on Linux only
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    with suppress(OSError):  # exists with systemd, whose manual says that the id must not be published unhashed
        number = Path("/etc/machine-id").read_text().strip()
        machine = hashlib.sha256(f"overfitting-harness {number}".encode()).hexdigest()[:8] if number else ""
    return _Place(host, _boot()[:8], namespace, machine)


def _boot() -> str:
    """The id of the current boot of this machine, or empty if the system has none."""
    with suppress(OSError):  # exists on Linux only
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError, AttributeError):  # exists on macOS only
        text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        sysctl = ctypes.CDLL(None).sysctlbyname
        if sysctl(b"kern.bootsessionuuid", text, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            return text.value.decode()
    return ""
