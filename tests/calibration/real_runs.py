"""The real runs of tests/data/real_runs, and pseudo-sweeps drawn from them.

A pseudo-sweep has n of the forty seeds, drawn without replacement, the same for each configuration. A mean of n of
forty is closer to the mean of all forty than a mean of n new seeds would be. So the distance of each row's mean from
the overall mean is divided by sqrt(1 - n/40), and its spread is kept. Mean and variance are then those of new seeds.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from harness.records import RunRecord
from tests.analysis.records import data, run

FOLDER = Path(__file__).parents[1] / "data" / "real_runs"
SCORES = tuple(f"{split}_{name}" for split in ("train", "val", "test") for name in ("accuracy", "loss"))
ACCURACY = [place for place, name in enumerate(SCORES) if name.endswith("accuracy")]
SEEDS = 40

Configuration = tuple[str, str]
"""Model and dropout."""
Values = Mapping[Configuration, np.ndarray]
"""An array (seeds, scores) for each configuration, with the scores in the order of `SCORES`."""


@cache
def settings() -> Values:
    """Six configurations with forty seeds each."""
    return {key: np.array([values for _, values in rows]) for key, rows in _read("settings").items()}


@cache
def draws() -> Values:
    """Arrays (draws, seeds, scores): twenty draws of the training images, three seeds each."""
    return {
        key: np.array([values for _, values in sorted(rows, key=lambda row: row[0])]).reshape(20, 3, -1)
        for key, rows in _read("draws").items()
    }


@cache
def curves(sweep: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and validation loss by epoch of each run of a sweep."""
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with (FOLDER / "curves.csv").open() as file:
        for row in csv.DictReader(file):
            if row["sweep"] == sweep:
                found[row["seed"]].append((float(row["train/loss"]), float(row["val/loss"])))
    return [(array[:, 0], array[:, 1]) for array in map(np.array, found.values())]


@cache
def right(dropout: str) -> np.ndarray:
    """(seeds, images): which test images each run of the model with one layer of 128 units predicted correctly."""
    with np.load(FOLDER / "right.npz") as arrays:
        return np.unpackbits(arrays[f"dropout_{dropout}"], axis=1).astype(bool)


def _read(sweep: str) -> dict[Configuration, list[tuple[tuple[int, int], list[float]]]]:
    found: defaultdict[Configuration, list[tuple[tuple[int, int], list[float]]]] = defaultdict(list)
    with (FOLDER / "runs.csv").open() as file:
        for row in csv.DictReader(file):
            if row["sweep"] == sweep:
                place = int(row["dataset.seed"]), int(row["seed"])
                found[row["model.name"], row["model.dropout"]].append((place, [float(row[name]) for name in SCORES]))
    return dict(found)


def equalised(values: Values) -> Values:
    """The values, with every configuration shifted to the means of the first, so that there is no true difference."""
    first = next(iter(values.values())).mean(axis=0)
    return {key: of - of.mean(axis=0) + first for key, of in values.items()}


def drawn(values: Values, n: int, rng: np.random.Generator) -> Values:
    """A pseudo-sweep: n seeds, the same for each configuration; see the module."""
    chosen = rng.choice(SEEDS, size=n, replace=False)
    stretch = 1 / np.sqrt(1 - n / SEEDS) - 1
    found = {}
    for key, of in values.items():
        part = of[chosen]
        found[key] = part + stretch * (part.mean(axis=0) - of.mean(axis=0))
    return found


def records(values: Values, first_seed: int = 0, **extra: object) -> list[RunRecord]:
    """Runs with these scores, and with seeds from `first_seed` on."""
    return [
        run(metrics=metrics(scores), seed=first_seed + seed, model__name=model, model__dropout=dropout,
            **data("train", "test", "val"), **extra)
        for (model, dropout), of in values.items() for seed, scores in enumerate(of)
    ]  # fmt: skip


def metrics(scores: Sequence[float]) -> dict[str, float]:
    """Scores and gaps of a run, by their names in the store."""
    of = dict(zip(SCORES, scores, strict=True))
    found = {f"final/{name}": float(value) for name, value in of.items()}
    for split in ("val", "test"):
        found[f"final/gap_{split}_accuracy"] = float(of["train_accuracy"] - of[f"{split}_accuracy"])
        found[f"final/gap_{split}_loss"] = float(of[f"{split}_loss"] - of["train_loss"])
    return found | {"data/val_images": 2000.0, "data/test_images": 10000.0}


def truth(values: np.ndarray, name: str) -> float:
    """The mean of a score or gap over all seeds of a configuration."""
    return metrics(values.reshape(-1, len(SCORES)).mean(axis=0))[f"final/{name}"]
