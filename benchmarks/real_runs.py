"""The real runs that the calibration suite resamples: `python -m benchmarks.real_runs` (make real-runs).

Trains them by sweeps of the harness in a store of their own (outputs/real_runs; a sweep that was cut off is resumed),
and writes what the suite needs into tests/data/real_runs/: `runs.csv` (a line a run), `curves.csv` (a line an epoch)
and `right.npz` (which test images each run of two configurations had right). 408 runs, all on Fashion-MNIST.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from harness.records import RunRecord
from harness.tracking.predictions_file import read_predictions
from harness.tracking.reading import read_runs, read_series
from harness.tracking.store import Store, open_store

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "real_runs"
STORE = ROOT / "outputs" / "real_runs"

SMALL = ("dataset.train_size=1000", "regime=validated", "regime.validation.size=2000", "regime.epochs=8")
SWEEPS: dict[str, tuple[str, ...]] = {
    # Six configurations of like accuracy under forty seeds.
    "settings": (*SMALL, "model=mlp_128,mlp_128_128,mlp_300_100", "model.dropout=0.0,0.2", "seed=range(40)"),
    # Twenty draws of the training images.
    "draws": (*SMALL, "model=mlp_128", "model.dropout=0.0,0.2", "dataset.seed=range(20)", "seed=range(3)"),
    # Curves that turn early, that turn late, and that do not turn.
    "turning": (
        *SMALL[:3], "regime.epochs=40", "model=mlp_300_100", "optimizer.learning_rate=0.0003", "seed=range(16)",
    ),
    "cosine": (
        *SMALL[:3], "regime.epochs=40", "model=mlp_128", "optimizer.learning_rate=0.0005",
        "regime.schedule.name=cosine", "seed=range(16)",
    ),
    "falling": (*SMALL[:3], "regime.epochs=40", "model=mlp_128", "optimizer=sgd", "seed=range(16)"),
}  # fmt: skip
LEAN = ("figures=none", "tracking.log_model=false", "tracking.log_state=false")
SETTINGS = ("model.name", "model.dropout", "dataset.seed", "seed")
METRICS = tuple(f"{split}_{name}" for split in ("train", "val", "test") for name in ("accuracy", "loss"))
CURVES = ("train/loss", "val/loss")
BY_IMAGE = "mlp_128"
"""The model of which the answers for each test image are kept."""


def main() -> None:
    """Train what is missing and write the files."""
    started = time.perf_counter()
    STORE.mkdir(parents=True, exist_ok=True)
    store, found = open_store(f"sqlite:///{STORE / 'mlflow.db'}"), {}
    for name, overrides in SWEEPS.items():
        command = (sys.executable, "-m", "harness", "sweep", *overrides, *LEAN, f"tracking.experiment={name}")
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"HARNESS_ROOT": str(STORE)})
        found[name] = read_runs(store, experiment=name)
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_runs(found)
    write_curves(store, found)
    write_right(store, [run for run in found["settings"] if run.parameters["model.name"] == BY_IMAGE])
    print(f"{sum(map(len, found.values()))} runs in {FOLDER}, {time.perf_counter() - started:.0f} s")


def write_runs(found: dict[str, Sequence[RunRecord]]) -> None:
    """What each run scored with its final weights."""
    with (FOLDER / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sweep", *SETTINGS, *METRICS])
        for name, runs in found.items():
            for run in ordered(runs):
                scores = [f"{run.metrics[f'final/{metric}']:.6g}" for metric in METRICS]
                writer.writerow([name, *(run.parameters[key] for key in SETTINGS), *scores])


def write_curves(store: Store, found: dict[str, Sequence[RunRecord]]) -> None:
    """The losses of each epoch of the runs that were trained for long."""
    with (FOLDER / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sweep", "seed", "epoch", *CURVES])
        for name in ("turning", "cosine", "falling"):
            series = read_series(store, [run.run_id for run in found[name]], CURVES)
            for run in ordered(found[name]):
                own = series[run.run_id]
                for epoch in sorted(own[CURVES[0]]):
                    writer.writerow(
                        [name, run.parameters["seed"], epoch, *(f"{own[key][epoch]:.5g}" for key in CURVES)]
                    )


def write_right(store: Store, runs: Sequence[RunRecord]) -> None:
    """Which test images each run had right, a bit an image: arrays (runs, images / 8), by configuration."""
    predictions = read_predictions(store, runs)
    by_dropout: dict[str, list[np.ndarray]] = {}
    for run in ordered(runs):
        right = predictions[run.run_id]["test"].right
        by_dropout.setdefault(f"dropout_{run.parameters['model.dropout']}", []).append(np.packbits(right))
    np.savez_compressed(FOLDER / "right.npz", **{name: np.stack(bits) for name, bits in by_dropout.items()})


def ordered(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """By their settings, numbers by size."""
    return sorted(runs, key=lambda run: [(run.parameters[key].rjust(12)) for key in SETTINGS])


if __name__ == "__main__":
    main()
