"""(6) Planning 1,000 and 10,000 configurations, as seconds of processor time, against Hydra composing each of them."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import run
from benchmarks.surroundings import Places

WIDTHS = {1_000: 100, 10_000: 1_000}
"""The widths of each plan, crossed with `RATES`."""
RATES = "optimizer.learning_rate=" + ",".join(f"0.00{digit}" for digit in range(1, 10)) + ",0.01"
COMPOSED, ROUNDS = 20, 3

PLAN = """
import json, resource, sys
from harness.cli import main
main(["sweep", "--plan", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}))
"""
"""`harness sweep --plan`, its imports included."""

COMPOSE = """
import json, sys, time
from hydra import compose, initialize_config_dir
from harness import paths
from harness.composing import VERSION_BASE, register
register()
with initialize_config_dir(str(paths.configuration_directory()), **VERSION_BASE):
    compose("config", [])
    started = time.process_time()
    for width in range(int(sys.argv[1])):
        compose("config", ["model=mlp", f"model.width={8 + width}", "optimizer.learning_rate=0.01"])
    print(json.dumps({"seconds": (time.process_time() - started) / int(sys.argv[1])}))
"""
"""What a job costs if Hydra composes it, and nothing else is done with it."""


def measure(places: Places, quick: bool) -> None:
    """Plans and Hydra's composing take turns."""
    sizes = list(WIDTHS)[:1] if quick else list(WIDTHS)
    plans: dict[int, list[dict[str, float]]] = {jobs: [] for jobs in sizes}
    composed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if quick else ROUNDS):
            composed.append(_answer(Path(folder), COMPOSE, str(COMPOSED))["seconds"])
            for jobs in sizes:
                width = f"model.width=range(8,{8 + WIDTHS[jobs]})"
                plans[jobs].append(_answer(Path(folder), PLAN, "model=mlp", width, RATES))
    result: dict[str, Any] = {"compose_seconds": composed, "plans": {str(jobs): found for jobs, found in plans.items()}}
    for jobs, found in plans.items():
        print(f"{jobs:,} jobs: {min(item['seconds'] for item in found):.1f} s of processor time", flush=True)
    places.write("planning", quick, result)


def _answer(folder: Path, code: str, *words: str) -> dict[str, float]:
    done = run([sys.executable, "-c", code, *words], {"HARNESS_ROOT": str(folder)}, folder)
    answer: dict[str, float] = json.loads(done.output.splitlines()[-1])
    return answer
