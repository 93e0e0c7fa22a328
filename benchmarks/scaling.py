"""(3) What a run costs as a sweep grows: time and memory of 12 to 1,000 runs of one epoch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.guides import quick_overrides
from benchmarks.processes import HARNESS, memory_kind, run
from benchmarks.projects import finished_runs
from benchmarks.surroundings import Places

SIZES = (12, 48, 192, 1000)
QUICK_SIZES = (2, 4)
POINTS = 60
"""Samples of memory that are kept of each sweep."""


def measure(places: Places, quick: bool) -> None:
    result: dict[str, Any] = {"memory_kind": memory_kind(), "sweeps": [], "limits": limits.measure(quick, [([128], 1)])}
    for size in QUICK_SIZES if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measured = _sweep(Path(folder), size, quick)
        print(
            f"{size} runs: {measured['seconds']:.1f} s, {measured['seconds_a_run']:.2f} s a run after the start, "
            f"{measured['peak_mb']:.0f} MB at most, {measured['end_mb']:.0f} MB at the end",
            flush=True,
        )
        result["sweeps"].append(measured)
        places.write("scaling", quick, result)


def _sweep(folder: Path, size: int, quick: bool) -> dict[str, Any]:
    command = [HARNESS, "sweep", "model=mlp_128", f"seed=range({size})", "regime.epochs=1", *quick_overrides(quick)]
    done = run(command, {"HARNESS_ROOT": str(folder)}, folder, sample_memory=True)
    first = finished_runs(folder / "mlflow.db", size, "final/fit_accuracy")[0]
    start_up = first.started - done.started
    samples = done.memory.samples
    return {
        "runs": size,
        "seconds": done.seconds,
        "start_up_seconds": start_up,
        "seconds_a_run": (done.seconds - start_up) / size,
        "peak_mb": done.memory.peak,
        "end_mb": done.memory.at_end,
        "memory": samples[:: max(1, len(samples) // POINTS)],
    }
