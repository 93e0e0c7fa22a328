"""A store of thousands of runs that nobody trained: MLflow makes the tables, SQL fills them."""

from __future__ import annotations

import itertools
import json
import math
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any

from harness.analysis.settings import NOT_CONTINUED
from harness.config.schema import Config, flatten
from harness.tracking.store import open_store

EXPERIMENT, SWEEP = "main", "sweep of model, optimizer, learning_rate, seed"
SERIES = (
    *(f"{split}/{score}" for split in ("fit", "train", "val", "gap") for score in ("loss", "accuracy")),
    "optimizer/learning_rate",
    "time/epoch_seconds",
)
SCALARS = (
    *(f"{stage}/{name}_{score}" for stage in ("final", "last", "best") for name in ("train", "val", "test", "gap_val",
      "gap_test") for score in ("loss", "accuracy")),
    "final/fit_loss", "final/fit_accuracy", "final/gap_test_accuracy_running", "final/gap_running_minus_clean",
    "final/test_ece", "final/val_ece", "best/epoch", "last/epoch", "overfit/onset_epoch", "overfit/growth",
    "data/train_images", "data/val_images", "data/test_images", "model/parameters", "time/fit_seconds",
    "time/total_seconds",
)  # fmt: skip
_DATA = {
    "data.variant": "published", "data.train_digest": "1" * 32, "data.val_digest": "2" * 32,
    "data.test_digest": "3" * 32, "data.image_shape": "28x28", "data.classes": "10",
}  # fmt: skip
SEEDS = 5
_START = 1_700_000_000_000
_BATCH = 500


def make_store(folder: Path, runs: int, epochs: int = 30) -> str:
    """The URI of a new SQLite store in `folder` with one sweep of `runs` runs: 20 widths, 2 optimizers, as many
    learning rates as it takes, 5 seeds; each run with the parameters, scalars, tags and series of a real one."""
    file = folder / "mlflow.db"
    uri = f"sqlite:///{file}"
    experiment = int(open_store(uri).ensure_experiment(EXPERIMENT))
    chance = random.Random(0)
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.execute("PRAGMA synchronous = OFF")
        store.execute("PRAGMA foreign_keys = OFF")
        parent = f"{0:032x}"
        swept = ["model.hidden", "optimizer", "optimizer.learning_rate", "seed"]
        _insert(
            store,
            experiment,
            [(parent, SWEEP, {}, {"harness.kind": "sweep", "harness.swept": json.dumps(swept)}, {}, 0)],
        )
        rows = _runs(runs, epochs, parent, chance)
        while batch := list(itertools.islice(rows, _BATCH)):
            _insert(store, experiment, batch)
    return uri


Row = tuple[str, str, dict[str, str], dict[str, str], dict[str, float], int]
"""Id, name, parameters, tags, final scores and epochs of a run."""


def _runs(count: int, epochs: int, parent: str, chance: random.Random) -> Iterator[Row]:
    shared = {key: str(value) for key, value in {**flatten(Config()), **NOT_CONTINUED, **_DATA}.items()}
    for number in range(count):
        seed, configuration = number % SEEDS, number // SEEDS
        width = 8 * (1 + configuration % 20)
        optimizer = ("sgd", "adam")[configuration // 20 % 2]
        rate = 0.0005 * (1 + configuration // 40)
        settings = {
            "model.hidden": f"[{width}]", "optimizer.name": optimizer, "optimizer.learning_rate": f"{rate:.4f}",
            "seed": str(seed),
        }  # fmt: skip
        train = 0.88 + 0.0005 * width + chance.gauss(0, 0.002)
        gap = 0.0004 * width + rate + chance.gauss(0, 0.002)
        scores = dict.fromkeys(SCALARS, 0.5)
        for stage in ("final", "last", "best"):
            scores[f"{stage}/train_accuracy"] = train
            for split in ("val", "test"):
                scores[f"{stage}/{split}_accuracy"] = train - gap
                scores[f"{stage}/gap_{split}_accuracy"] = gap
                scores[f"{stage}/gap_{split}_loss"] = 3 * gap
        tags = {
            "harness.kind": "run", "mlflow.parentRunId": parent, "harness.job": str(number), "mlflow.user": "nobody",
            "harness.fingerprint": f"{number:032x}", "mlflow.source.name": "harness", "mlflow.source.type": "LOCAL",
            "harness.command": "harness sweep", "harness.engine": "compiled", "mlflow.note.content": "nothing " * 40,
            **{f"harness.tag_{place}": "a value" for place in range(12)},
        }  # fmt: skip
        yield md5(str(number).encode()).hexdigest(), f"run {number}", {**shared, **settings}, tags, scores, epochs


def _insert(store: sqlite3.Connection, experiment: int, rows: list[Row]) -> None:
    store.execute("BEGIN")
    tables: dict[str, list[tuple[Any, ...]]] = {name: [] for name in ("params", "tags", "metrics", "latest_metrics")}
    for run, name, parameters, tags, scores, epochs in rows:
        started = _START + 1000 * int(name.removeprefix("run ") if name != SWEEP else -1)
        store.execute(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
            "artifact_uri, experiment_id) VALUES (?, ?, 'LOCAL', 'nobody', 'FINISHED', ?, ?, 'active', ?, ?)",
            (run, name, started, started + 900, f"mlruns/{experiment}/{run}/artifacts", experiment),
        )
        tables["params"] += [(key, value, run) for key, value in parameters.items()]
        tables["tags"] += [(key, value, run) for key, value in {**tags, "mlflow.runName": name}.items()]
        last = [(key, value, started, 0, 0, run) for key, value in scores.items()]
        for key in SERIES if epochs else ():
            curve = [(key, math.exp(-epoch / 10), started + epoch, epoch, 0, run) for epoch in range(1, epochs + 1)]
            tables["metrics"] += curve
            last.append(curve[-1])
        tables["metrics"] += [row for row in last if row[3] == 0]
        tables["latest_metrics"] += last
    for table in ("params", "tags"):
        store.executemany(f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)", tables[table])
    for table in ("metrics", "latest_metrics"):
        columns = "key, value, timestamp, step, is_nan, run_uuid"
        store.executemany(f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?)", tables[table])
    store.execute("COMMIT")
