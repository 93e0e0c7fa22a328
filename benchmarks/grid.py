"""(2) A grid of 24 tracked runs of five epochs: `harness sweep` against the way one writes it today, and its peers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.guides import quick_overrides
from benchmarks.processes import HARNESS, CommandFailed, run
from benchmarks.projects import finished_runs, keras_home, mean_accuracy, span
from benchmarks.rounds import ROOT
from benchmarks.surroundings import Places
from harness.machine import available_cpus

MODELS = {"mlp_128": [128], "mlp_128_128": [128, 128], "mlp_300_100": [300, 100]}
OPTIMIZERS = ("adam", "sgd")
RUNS = 24
MEASURED = 6
"""Runs of the grid that the other ways, which take minutes, are measured on."""
EPOCHS = 5
LEARNED, LEARNED_QUICKLY = 0.8, 0.3
PARTS = {2: (1, 1), 6: (3, 1), 12: (3, 2), 18: (3, 3), RUNS: (3, 4)}
"""How a part of the grid may be measured: runs by (models, seeds), each with both optimizers."""

BESIDE = ROOT / "benchmarks" / ".venv" / "beside"
"""What Ray Tune needs besides the harness's own packages (see `beside.txt`)."""
TODAY = ROOT / "benchmarks" / "today"
PEERS = ("optuna", "optuna_at_once", "ray")
"""Those without which the rest is measured all the same."""


def measure(places: Places, quick: bool, runs: int | None) -> None:
    """Run the harness's sweep before and after the others, which take minutes."""
    whole = 2 if quick else RUNS
    part = 2 if quick else runs or MEASURED
    epochs = 1 if quick else EPOCHS
    trainings = [(hidden, epochs) for hidden in _models(whole).values()] * (whole // len(_models(whole)))
    result: dict[str, Any] = {"epochs": epochs, "runs": whole, "limits": limits.measure(quick, trainings)}
    for name in ("harness", "today", *PEERS, "harness"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                measured = _measure(name, Path(folder), epochs, quick, whole, part)
            except CommandFailed as error:
                if name not in PEERS:
                    raise
                print(f"{name}: left out: {error}", file=sys.stderr, flush=True)
                result[name] = {"absent": str(error).strip().splitlines()[-1]}
                continue
        took = f"{measured['runs']} runs took {measured['measured_seconds']:.1f} s"
        print(f"{name}: {took}, {measured['seconds']:.1f} s for the whole grid", flush=True)
        result.setdefault(name, []).append(measured)
        if "today" in result:
            places.write("grid", quick, result)


def _measure(name: str, folder: Path, epochs: int, quick: bool, whole: int, part: int) -> dict[str, Any]:
    runs = whole if name == "harness" else part
    models, seeds = _models(runs), PARTS[runs][1]
    store = folder / "mlflow.db"
    if name == "harness":
        environment = {"HARNESS_ROOT": str(folder)}
    else:
        home = keras_home(folder / "keras", quick)
        environment = {"KERAS_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{store}"}
    if name == "ray":
        environment |= {"PYTHONPATH": str(BESIDE), "RAY_USAGE_STATS_ENABLED": "0"}
    accuracy = "final/fit_accuracy" if name == "harness" else "accuracy"
    done = run(_command(name, list(models), seeds, epochs, quick), environment, folder)
    measured = _measured(done.seconds, store, runs, whole, accuracy)
    if measured["accuracy"] < (LEARNED_QUICKLY if quick else LEARNED):
        raise CommandFailed(f"{name}: training accuracy {measured['accuracy']:.2f}: the work was not done")
    return measured


def _models(runs: int) -> dict[str, list[int]]:
    """Those of a part of the grid; a part with one model takes the middle one."""
    return MODELS if PARTS[runs][0] == len(MODELS) else {"mlp_128_128": MODELS["mlp_128_128"]}


def _command(name: str, models: Sequence[str], seeds: int, epochs: int, quick: bool) -> list[str]:
    grid = [f"model={','.join(models)}", f"optimizer={','.join(OPTIMIZERS)}", f"seed=range({seeds})"]
    words = [",".join(models), str(seeds), str(epochs)]
    commands = {
        "harness": [HARNESS, "sweep", *grid, f"regime.epochs={epochs}", *quick_overrides(quick)],
        "today": [sys.executable, str(TODAY / "train.py"), "--multirun", *grid, f"epochs={epochs}"],
        "optuna": [sys.executable, str(TODAY / "optuna_grid.py"), *words, "1"],
        "optuna_at_once": [sys.executable, str(TODAY / "optuna_grid.py"), *words, str(available_cpus())],
        "ray": [sys.executable, str(TODAY / "ray_grid.py"), *words],
    }
    return commands[name]


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
