"""What nobody can go below: the import of TensorFlow, and the arithmetic of training at the peak rate."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.guides import training_flop
from benchmarks.processes import run
from benchmarks.rounds import Contender

PEAK_SIZE, QUICK_SIZE = 4096, 1024
IMAGES, QUICK_IMAGES = 60_000, 2_000
TIMES = 3


def measure(quick: bool, trainings: Iterable[tuple[list[int], int]]) -> dict[str, float]:
    """Seconds of an import (the median of three), GFLOP/s of a large product, and seconds that `trainings`, the hidden
    layers and the epochs of each, would take at this rate."""
    with tempfile.TemporaryDirectory() as folder:
        imports = [run([sys.executable, "-c", "import tensorflow"], {}, Path(folder)).seconds for _ in range(TIMES)]
    rate = _peak(QUICK_SIZE if quick else PEAK_SIZE)
    flop = sum(epochs * training_flop(QUICK_IMAGES if quick else IMAGES, hidden) for hidden, epochs in trainings)
    return {"import_seconds": statistics.median(imports), "gflops": rate, "arithmetic_seconds": flop / rate / 1e9}


def _peak(size: int) -> float:
    contender = Contender(Path(sys.executable), "matmul", str(size))
    try:
        contender.go()
        answers: list[dict[str, Any]] = [contender.go()[0]["gflops"] for _ in range(TIMES)]
    finally:
        contender.close()
    return max(statistics.median(answer[library] for answer in answers) for library in answers[0])
