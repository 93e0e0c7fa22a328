"""(5) Comparing 10,000 runs of 30 epochs, each command from start to exit, against MLflow's own search of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import HARNESS, CommandFailed, run
from benchmarks.rounds import take_turns
from benchmarks.stores import EXPERIMENT, SEEDS, make_store
from benchmarks.surroundings import Places

RUNS, EPOCHS, ROUNDS = 10_000, 30, 5
QUICK_RUNS = 200
COMMANDS = {"table": (), "effect": ("--effect", "optimizer"), "csv": ("--format", "csv")}
"""What is asked of `harness compare`."""

SEARCH = """
import sys
import mlflow

mlflow.set_tracking_uri(sys.argv[1])
frame = mlflow.search_runs(experiment_names=[sys.argv[2]], max_results=50_000)
frame = frame[frame["tags.harness.kind"] == "run"]
keys = ["params.model.hidden", "params.optimizer.name", "params.optimizer.learning_rate"]
means = frame.groupby(keys)["metrics.final/gap_test_accuracy"].agg(["mean", "std", "count"])
print(means.sort_values("mean").to_string())
"""
"""The usual way: every run of the experiment as a data frame, then its means over seeds."""


def measure(places: Places, quick: bool, rounds: int | None) -> None:
    """The commands take turns; MLflow's search, which takes many times as long, is measured once."""
    runs = QUICK_RUNS if quick else RUNS
    with tempfile.TemporaryDirectory() as folder:
        uri = make_store(Path(folder), runs, EPOCHS)
        seconds = take_turns(_contenders(Path(folder), runs), 1 if quick else rounds or ROUNDS)
        search = [sys.executable, "-c", SEARCH, uri, EXPERIMENT]
        searched = run(search, {}, Path(folder)).seconds
        size = (Path(folder) / "mlflow.db").stat().st_size
    for name, each in seconds.items():
        print(f"{name}: {min(each):.1f} to {max(each):.1f} s", flush=True)
    print(f"MLflow's search: {searched:.1f} s", flush=True)
    result: dict[str, Any] = {"runs": runs, "epochs": EPOCHS, "megabytes": size / 1e6, "seconds": seconds}
    places.write("comparing", quick, result | {"search_seconds": searched})


def _contenders(folder: Path, runs: int) -> dict[str, Callable[[], float]]:
    def contender(arguments: tuple[str, ...], lines: int) -> Callable[[], float]:
        def turn() -> float:
            done = run([HARNESS, "compare", *arguments], {"HARNESS_ROOT": str(folder)}, folder)
            if done.output.count("\n") < lines:
                raise CommandFailed(f"harness compare {' '.join(arguments)} printed less than {lines} lines")
            return done.seconds

        return turn

    rows = runs // SEEDS
    return {name: contender(words, 3 if name == "effect" else rows) for name, words in COMMANDS.items()}
