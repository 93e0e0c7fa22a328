"""What the machine offers."""

from __future__ import annotations

import os
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
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(device for device in named.split(",") if device.strip() not in ("", "-1"))
    if find_spec("nvidia") is None:  # the libraries of `make setup EXTRAS=gpu`
        return ()
    return tuple(str(number) for number, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*"))))
