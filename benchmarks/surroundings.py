"""What a result must say of where it was measured, and where results go."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rounds import ROOT
from harness.machine import available_cpus
from harness.paths import write_text

LOAD = round(os.getloadavg()[0], 2)
"""The load when this process started: what others were doing."""
PACKAGES = ("tensorflow", "keras", "mlflow", "hydra-core", "numpy")


class Others:
    """What share of the processors other processes use, from now on."""

    def __init__(self) -> None:
        self._clock, self._all, self._own = time.monotonic(), _all_seconds(), _own_seconds()

    def share(self) -> float:
        """From 0 to 1. Processes that this one's have left behind count as others."""
        busy = _all_seconds() - self._all - (_own_seconds() - self._own)
        cores = psutil.cpu_count() or 1
        return min(max(busy / cores / max(time.monotonic() - self._clock, 0.001), 0.0), 1.0)


def _all_seconds() -> float:
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))


def _own_seconds() -> float:
    """Of this process, of those that it has waited for, and of those that are running."""
    total = sum(os.times()[:4])
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile
    return total


@dataclass(frozen=True)
class Places:
    """Where results, the page and its picture are kept."""

    results: Path
    page: Path
    picture: Path
    others: Others = field(default_factory=Others)
    """Since the part of the benchmarks began."""

    @classmethod
    def of_the_project(cls) -> Places:
        return cls(
            ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md", ROOT / "docs/images/benchmarks.png"
        )

    @classmethod
    def below(cls, folder: Path) -> Places:
        return cls(folder / "results", folder / "benchmarks.md", folder / "images" / "benchmarks.png")

    def write(self, benchmark: str, quick: bool, result: dict[str, Any]) -> None:
        """Keep the result of one benchmark, with the date and the machine."""
        heading = {
            "benchmark": benchmark,
            "quick": quick,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine() | {"others": round(self.others.share(), 3)},
        }
        write_text(self.results / f"{benchmark}.json", json.dumps(heading | result, indent=1) + "\n")

    def read(self) -> dict[str, dict[str, Any]]:
        """Every result that there is, by the name of its benchmark."""
        return {file.stem: json.loads(file.read_text()) for file in sorted(self.results.glob("*.json"))}


def machine() -> dict[str, Any]:
    return {
        "cores": available_cpus(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "load_before": LOAD,
    }


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.exists():
        for line in known.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
