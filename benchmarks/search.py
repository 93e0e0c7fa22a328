"""How soon a search is close to the best of a whole grid, and what suggesting costs.

`python -m benchmarks.search` trains a grid of 500 configurations once (ten minutes; a sweep that was cut off is
resumed) and keeps its curves in `CURVES`. The benchmark repeats searches over these curves without training: random,
TPE, and TPE with successive halving.
"""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from statistics import median

from benchmarks.real_runs import LEAN
from benchmarks.rounds import ROOT, Unavailable
from benchmarks.surroundings import Places
from harness.config.search import Dimension, SearchConfig, Space
from harness.paths import write_bytes
from harness.sweeps.search.samplers import Told, generator, make_sampler
from harness.tracking.reading import latest_sweep, read_series, sweep_runs
from harness.tracking.store import open_store

CURVES = ROOT / "benchmarks" / "results" / "search_curves.csv.gz"
STORE = ROOT / "outputs" / "search_curves"
GRID = {
    "optimizer.learning_rate": "0.0003,0.001,0.003,0.01,0.03",
    "model.dropout": "0.0,0.15,0.3,0.45,0.6",
    "regime.batch_size": "16,32,64,128",
    "model.hidden": "[32],[128],[512],[128,128],[300,100]",
}
SETTINGS = ("model=mlp", "dataset.train_size=2000", "regime=validated", "regime.validation.size=2000",
            "regime.epochs=27")  # fmt: skip
KINDS = {"random": ("random", False), "TPE": ("tpe", False), "TPE with halving": ("tpe", True)}
REPETITIONS = 20
CLOSE = 0.005
FACTOR, RUNGS = 3, 2
COLUMNS = ("epoch", "val_accuracy")
MADE: Space = {
    "rate": Dimension(low=1e-4, high=0.1, log=True),
    "dropout": Dimension(low=0.0, high=0.6),
    "width": Dimension(low=16, high=512, whole=True, log=True),
    "batch": Dimension(choices=("16", "32", "64")),
    "model": Dimension(choices=("mlp", "cnn")),
    "l2": Dimension(low=1e-6, high=1e-2, log=True),
}

Curves = Mapping[tuple[str, ...], Sequence[float]]
"""The validation accuracy after each epoch, by the values of the settings."""


def read_curves(file: Path = CURVES) -> tuple[Space, Curves]:
    """The space of a recorded grid, and its curves."""
    with gzip.open(file, "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    keys = [key for key in rows[0] if key not in COLUMNS]
    curves: dict[tuple[str, ...], dict[int, float]] = {}
    for row in rows:
        curves.setdefault(tuple(row[key] for key in keys), {})[int(row["epoch"])] = float(row["val_accuracy"])
    space = {key: Dimension(choices=tuple(dict.fromkeys(row[key] for row in rows))) for key in keys}
    return space, {key: [values[epoch] for epoch in sorted(values)] for key, values in curves.items()}


def epochs_until_close(space: Space, curves: Curves, name: str, seed: int, halving: bool) -> int:
    """The epochs that a search trains until it has a configuration within 0.5 points of the best."""
    goal = max(curve[-1] for curve in curves.values()) - CLOSE
    length = len(next(iter(curves.values())))
    rungs = [round(length / FACTOR**power) for power in range(RUNGS, 0, -1)] if halving else []
    sampler = make_sampler(SearchConfig(sampler=name, study_seed=seed), space, 1)
    reached: dict[int, list[float]] = {rung: [] for rung in rungs}
    spent, draw = 0, generator(seed, 0)
    for number in range(len(curves)):
        settings = sampler.suggest(number)
        curve = curves.get(tuple(map(str, settings.values())))
        if curve is None:  # the grid has a hole here
            curve = curves[list(curves)[int(draw.integers(len(curves)))]]
        stopped = None
        for rung in rungs:
            reached[rung].append(curve[rung - 1])
            better = sum(value > curve[rung - 1] for value in reached[rung])
            if better >= max(len(reached[rung]) // FACTOR, 1):
                stopped = rung
                break
        spent += stopped or length
        if stopped is None and curve[-1] >= goal:
            return spent
        value = -curve[(stopped or length) - 1]
        sampler.tell(Told(number, settings, (value,), -1.0, epochs=stopped))
    return spent


def overhead(name: str = "tpe", trials: int = 1000) -> list[float]:
    """The processor seconds of each suggestion and telling."""
    sampler, seconds = make_sampler(SearchConfig(sampler=name), MADE, 1), list[float]()
    for number in range(trials):
        began = time.process_time()
        settings = sampler.suggest(number)
        sampler.tell(Told(number, settings))
        sampler.tell(Told(number, settings, (float(generator(7, number).random()),), -1.0))
        seconds.append(time.process_time() - began)
    return seconds


def measure(places: Places, quick: bool) -> None:
    """What a suggestion costs, and how soon searches over the recorded curves are close to the best."""
    trials, repetitions = (100, 2) if quick else (1000, REPETITIONS)
    if not CURVES.is_file():
        if quick:
            raise Unavailable(f"{CURVES.name} is missing. `python -m benchmarks.search` makes it in ten minutes.")
        record()
    seconds = overhead(trials=trials)
    space, curves = read_curves()
    until = {
        label: [epochs_until_close(space, curves, name, seed, halving) for seed in range(repetitions)]
        for label, (name, halving) in KINDS.items()
    }
    early, late = (median(part) for part in (seconds[50:100], seconds[-50:]))
    result = {"trials": trials, "early": early, "late": late, "configurations": len(curves), "until": until}
    places.write("search", quick, result | {"epochs": len(next(iter(curves.values()))), "settings": SETTINGS})


def record() -> None:
    """Train what is missing of the grid, and write `CURVES`."""
    STORE.mkdir(parents=True, exist_ok=True)
    grid = [f"{key}={values}" for key, values in GRID.items()]
    command = (sys.executable, "-m", "harness", "sweep", *SETTINGS, *grid, *LEAN)
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"HARNESS_ROOT": str(STORE)})
    store = open_store(f"sqlite:///{STORE / 'mlflow.db'}")
    sweep = latest_sweep(store)
    assert sweep is not None
    runs = {run.run_id: run for run in sweep_runs(store, sweep.run_id)}
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow((*GRID, *COLUMNS))
    found = read_series(store, list(runs), ["val/accuracy"])
    curves = {tuple(runs[run_id].parameters[key] for key in GRID): found[run_id]["val/accuracy"] for run_id in found}
    for settings, curve in sorted(curves.items()):
        writer.writerows((*settings, epoch, f"{value:.4f}") for epoch, value in sorted(curve.items()))
    write_bytes(CURVES, gzip.compress(lines.getvalue().encode(), mtime=0))
    print(f"Written: {CURVES}")


if __name__ == "__main__":
    record()
