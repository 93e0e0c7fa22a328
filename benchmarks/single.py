"""(4) One fully tracked run of guide A, imports included, against the notebook as a script that tracks nothing."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.guides import quick_overrides
from benchmarks.processes import HARNESS, run
from benchmarks.projects import finished_runs, keras_home, mean_accuracy
from benchmarks.rounds import ROOT, take_turns
from benchmarks.surroundings import Places

ROUNDS = 5
EPOCHS = 10


def measure(places: Places, quick: bool, rounds: int | None) -> None:
    """Both take turns; the first run of each is kept apart: it makes the harness's store and fills the disk's cache.
    A quick trial has only that one."""
    rounds = 0 if quick else rounds or ROUNDS
    epochs = 2 if quick else EPOCHS
    limit = limits.measure(quick, [([128], epochs)])
    with tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(Path(folder), epochs, quick)
        first = {name: contender() for name, contender in contenders.items()}
        turns = take_turns(contenders, rounds) if rounds else {name: [seconds] for name, seconds in first.items()}
        runs = finished_runs(Path(folder) / "harness" / "mlflow.db", 1 + rounds, "final/test_accuracy")
        plain = json.loads((Path(folder) / "plain" / "result.json").read_text())
    for name, seconds in turns.items():
        print(f"{name}: {min(seconds):.1f} to {max(seconds):.1f} s; the first run {first[name]:.1f} s", flush=True)
    accuracies = {"harness": mean_accuracy(runs, "final/test_accuracy"), "plain": plain["test_accuracy"]}
    result: dict[str, Any] = {
        "epochs": epochs,
        "rounds": rounds,
        "seconds": turns,
        "first_seconds": first,
        "limits": limit,
    }
    places.write("single", quick, result | {"test_accuracy": accuracies})


def _contenders(folder: Path, epochs: int, quick: bool) -> dict[str, Callable[[], float]]:
    root, plain = folder / "harness", folder / "plain"
    root.mkdir()
    plain.mkdir()
    home = keras_home(folder / "keras", quick)
    overrides = ["model=mlp_128", "optimizer=adam", f"regime.epochs={epochs}", *quick_overrides(quick)]
    script = [sys.executable, str(ROOT / "benchmarks" / "plain_script.py"), str(epochs)]
    return {
        "plain": lambda: run(script, {"KERAS_HOME": str(home), "MPLBACKEND": "Agg"}, plain).seconds,
        "harness": lambda: run([HARNESS, "train", *overrides], {"HARNESS_ROOT": str(root)}, root).seconds,
    }
