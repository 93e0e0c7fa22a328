"""How soon a search is close to the best of a whole grid, and what suggesting costs.

`python -m benchmarks.search CURVES.csv` reads recorded curves of a grid (a row for each configuration and epoch: its
settings, `epoch` and `val_accuracy`), and repeats searches over them without training: random, TPE, and TPE with
successive halving. It prints the median number of epochs until a search has a configuration within 0.5 points of the
best of the grid, as ratios to random. Without a file it only measures what 1,000 suggestions cost.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from harness.config.search import Dimension, SearchConfig, Space
from harness.sweeps.search.samplers import Told, generator, make_sampler

REPETITIONS = 10
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


def read_curves(file: Path) -> tuple[Space, Curves]:
    """The space of a recorded grid, and its curves."""
    with file.open(newline="") as lines:
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


def main() -> None:
    """Print the measurements."""
    seconds = overhead()
    first, last = (1000 * median(part) for part in (seconds[50:150], seconds[-100:]))
    print(f"suggest and tell (TPE, six settings): {first:.1f} ms at 100 trials, {last:.1f} ms at 1,000")
    for argument in sys.argv[1:]:
        space, curves = read_curves(Path(argument))
        print(f"{argument}: {len(curves)} configurations")
        usual = 0.0
        for name, halving in (("random", False), ("tpe", False), ("tpe", True)):
            spent = [epochs_until_close(space, curves, name, seed, halving) for seed in range(REPETITIONS)]
            middle = median(spent)
            usual = usual or middle
            label = f"{name}{' with halving' if halving else ''}"
            print(f"  {label:18} {middle:6.0f} epochs until within 0.5 points, {middle / usual:.2f} of random")


if __name__ == "__main__":
    main()
