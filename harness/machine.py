"""What the machine offers."""

from __future__ import annotations

import os


def available_cpus() -> int:
    """The processors that this process may use (a container or `taskset` may allow fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
