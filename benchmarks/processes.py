"""Whole commands: how long they take from start to exit, and the memory of the processes that they start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HARNESS = str(Path(sys.executable).with_name("harness"))
SAMPLE_SECONDS = 0.5
LAST_SECONDS = 3.0
"""The memory at the end is the largest sample of so many seconds before exit."""


class CommandFailed(Exception):
    """A command that a benchmark measures did not do its work."""


@dataclass
class Memory:
    """The resident memory of a process and its descendants, sampled: pairs of seconds since the start and MB.

    Where the system tells (Linux), a page that several processes share is divided among them (PSS); elsewhere it is
    counted for each (RSS).
    """

    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def peak(self) -> float:
        return max((megabytes for _, megabytes in self.samples), default=0.0)

    @property
    def at_end(self) -> float:
        last = self.samples[-1][0] if self.samples else 0.0
        return max((megabytes for at, megabytes in self.samples if at >= last - LAST_SECONDS), default=0.0)


@dataclass(frozen=True)
class Finished:
    """A command that ended well: when it started (seconds since 1970), how long it took, what it printed."""

    started: float
    seconds: float
    output: str
    memory: Memory


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, sample_memory: bool = False) -> Finished:
    """Run `command` in `folder`, and wait. Raises `CommandFailed` with the end of what it printed."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRA_"))}
    memory, over = Memory(), threading.Event()
    log = folder / "command.log"
    started, clock = time.time(), time.perf_counter()
    with log.open("w") as said:
        process = subprocess.Popen(
            command, env={**surroundings, **environment}, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        sampler = threading.Thread(target=_sample, args=(process.pid, memory, over), daemon=True)
        if sample_memory:
            sampler.start()
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            over.set()
    seconds = time.perf_counter() - clock
    output = log.read_text(errors="replace")
    if code != 0:
        raise CommandFailed(f"{' '.join(map(str, command))}\nended with exit code {code}:\n{output[-3000:]}")
    return Finished(started, seconds, output, memory)


def memory_kind() -> str:
    return "PSS" if hasattr(psutil.Process().memory_full_info(), "pss") else "RSS"


def _sample(pid: int, memory: Memory, over: threading.Event) -> None:
    clock = time.perf_counter()
    while not over.wait(SAMPLE_SECONDS):
        total = 0
        try:
            root = psutil.Process(pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                full = process.memory_full_info()
                total += getattr(full, "pss", full.rss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it ended meanwhile
        memory.samples.append((round(time.perf_counter() - clock, 2), round(total / 2**20, 1)))
