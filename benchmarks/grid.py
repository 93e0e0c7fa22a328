"""(2) A grid of 24 fully tracked runs of five epochs: `harness sweep` against the way one writes it today."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.guides import quick_overrides
from benchmarks.processes import HARNESS, run
from benchmarks.projects import finished_runs, keras_home, mean_accuracy, span
from benchmarks.rounds import ROOT
from benchmarks.surroundings import Places

MODELS = ("mlp_128", "mlp_128_128", "mlp_300_100")
OPTIMIZERS = ("adam", "sgd")
RUNS = 24
EPOCHS = 5
PARTS = {2: (1, 1), 6: (3, 1), 12: (3, 2), 18: (3, 3), RUNS: (3, 4)}
"""How the way of today may be measured on a part of the grid: runs by (models, seeds), each with both optimizers."""


def measure(places: Places, quick: bool, runs: int | None) -> None:
    """Run the harness's sweep before and after the other one, which takes minutes."""
    runs = runs or (2 if quick else RUNS)
    epochs = 1 if quick else EPOCHS
    result: dict[str, Any] = {"epochs": epochs, "harness": [], "today": []}
    for turn in ("harness", "today", "harness"):
        with tempfile.TemporaryDirectory() as folder:
            if turn == "harness":
                measured = _harness(Path(folder), epochs, quick)
            else:
                measured = _today(Path(folder), epochs, quick, runs)
        part = f"{measured['runs']} runs took {measured['measured_seconds']:.1f} s"
        print(f"{turn}: {part}, {measured['seconds']:.1f} s for the whole grid", flush=True)
        result[turn].append(measured)
        if result["today"]:
            places.write("grid", quick, result)


def _harness(folder: Path, epochs: int, quick: bool) -> dict[str, Any]:
    models, seeds = PARTS[2 if quick else RUNS]
    grid = [f"model={','.join(MODELS[:models])}", f"optimizer={','.join(OPTIMIZERS)}", f"seed=range({seeds})"]
    command = [HARNESS, "sweep", *grid, f"regime.epochs={epochs}", *quick_overrides(quick)]
    done = run(command, {"HARNESS_ROOT": str(folder)}, folder)
    return _measured(
        done.seconds, folder / "mlflow.db", 2 if quick else RUNS, 2 if quick else RUNS, "final/fit_accuracy"
    )


def _today(folder: Path, epochs: int, quick: bool, runs: int) -> dict[str, Any]:
    models, seeds = PARTS[runs]
    # A part with one model takes the middle one.
    chosen = MODELS[1:2] if models == 1 else MODELS
    grid = [f"model={','.join(chosen)}", f"optimizer={','.join(OPTIMIZERS)}", f"seed=range({seeds})"]
    command = [sys.executable, str(ROOT / "benchmarks" / "today" / "train.py"), "--multirun", *grid, f"epochs={epochs}"]
    home = keras_home(folder / "keras", quick)
    store = folder / "mlflow.db"
    done = run(command, {"KERAS_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{store}"}, folder)
    return _measured(done.seconds, store, runs, 2 if quick else RUNS, "accuracy")


def _measured(seconds: float, store: Path, runs: int, whole: int, accuracy: str) -> dict[str, Any]:
    """`seconds` is for the `whole` grid. If a part was run, its time from first start to last end is scaled, and what
    came before and after is not."""
    stored = finished_runs(store, runs, accuracy)
    training = span(stored)
    return {
        "runs": runs,
        "measured_seconds": seconds,
        "seconds": seconds - training + training * whole / runs,
        "seconds_a_run": training / runs,
        "accuracy": mean_accuracy(stored, accuracy),
    }
