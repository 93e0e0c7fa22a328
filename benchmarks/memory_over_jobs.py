"""Does a sweep's process grow with the number of its jobs?

    .venv/bin/python benchmarks/memory_over_jobs.py [JOBS]

Runs JOBS (40) small jobs of alternating models in one process, as a sweep in process does, fully tracked with figures
and models, and prints the resident memory after each tenth. The first jobs fill the caches of MLflow and matplotlib.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

SUBSET = Path(__file__).resolve().parents[1] / "tests" / "data"
MODELS = ("mlp_128", "mlp_300_100", "cnn", "mlp_128_128")


class Nobody:
    """Watches nothing."""

    def training_started(self, epochs: int) -> None: ...

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def training_ended(self, reason: str) -> None: ...


def main(jobs: int) -> None:
    from harness.composing import compose_config
    from harness.run import RunContext, execute

    process = psutil.Process()
    print("| jobs | resident MB | open files | threads |\n|---|---|---|---|")
    for number in range(1, jobs + 1):
        settings = [f"model={MODELS[number % len(MODELS)]}", f"dataset.directory={SUBSET}", f"seed={number}"]
        execute(compose_config([*settings, "regime.epochs=1"]), RunContext(f"job {number}"), Nobody())
        if number % 10 == 0 or number == 1:
            megabytes = process.memory_info().rss / 2**20
            print(f"| {number} | {megabytes:.0f} | {process.num_fds()} | {process.num_threads()} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as root:
        os.environ["HARNESS_ROOT"] = root
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
