"""What the machine offers, and which of its processes live."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

import psutil

_STARTED_WITHIN = 2.0
"""Seconds by which two readings of the start of one process may differ (the clock is set now and then)."""


def available_cpus() -> int:
    """The processors that this process may use (a container or `taskset` may allow fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that new processes can have without swapping."""
    return int(psutil.virtual_memory().available)


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


PARENT_VARIABLE = "HARNESS_COMMAND"
"""In the environment of workers: the number of the process that they work for."""


def this_process() -> str:
    """This process in a text that no other process has, on any machine: `is_alive` reads it."""
    return f"{_here()} {os.getpid()} {psutil.Process().create_time():.2f}"


def process_number(process: str) -> int:
    """The number (pid) that `this_process` recorded."""
    return int(process.split(" ")[-2])


def is_here(process: str) -> bool:
    """Whether a process that `this_process` recorded was one of this machine, since it was started last."""
    return process.rsplit(" ", 2)[0] == _here()


def is_alive(process: str) -> bool:
    """Whether a process of this machine (`is_here`) still runs."""
    number, started = process.rsplit(" ", 2)[1:]
    with suppress(psutil.NoSuchProcess, ValueError):
        found = psutil.Process(int(number))
        return abs(found.create_time() - float(started)) < _STARTED_WITHIN and found.status() != psutil.STATUS_ZOMBIE
    return False


def spawned_by(number: int) -> list[psutil.Process]:
    """The processes here that come from process `number`, which may be gone, since it called `mark_children`."""

    def is_one(process: psutil.Process) -> bool:
        with suppress(psutil.Error):  # it has just ended, or is somebody else's
            return process.pid != number and process.environ().get(PARENT_VARIABLE) == str(number)
        return False

    return [process for process in psutil.process_iter() if is_one(process)]


def mark_children() -> None:
    """Have every process that comes from this one from now on be found by `spawned_by`."""
    os.environ[PARENT_VARIABLE] = str(os.getpid())


def _here() -> str:
    """The machine, its last start, and the container: what process numbers hold good in."""
    parts = [platform.node().replace(" ", "_")]
    with suppress(OSError):  # there on Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return ":".join(parts)
