"""What the machine offers."""

from __future__ import annotations

import os
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

import psutil


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
