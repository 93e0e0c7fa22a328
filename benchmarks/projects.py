"""What whole commands find when they start, and what they leave: images for Keras's loader, and runs in a store."""

from __future__ import annotations

import gzip
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.guides import quick_overrides
from benchmarks.processes import CommandFailed


def keras_home(folder: Path, quick: bool) -> Path:
    """A home for Keras (`KERAS_HOME`) in which `keras.datasets.fashion_mnist` finds the harness's images, so that no
    contender waits for a download. Making it warms the harness's own cache as well."""
    from harness.composing import compose_config
    from harness.data import load_dataset

    dataset = load_dataset(compose_config(quick_overrides(quick)).dataset)
    files = folder / "datasets" / "fashion-mnist"
    files.mkdir(parents=True)
    for prefix, split in (("train", dataset.train), ("t10k", dataset.test)):
        images = struct.pack(">4I", 2051, len(split), 28, 28) + split.images.tobytes()
        labels = struct.pack(">2I", 2049, len(split)) + split.labels.tobytes()
        (files / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (files / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder


@dataclass(frozen=True)
class StoredRun:
    """A finished run as MLflow's SQLite store has it; times in seconds since 1970."""

    started: float
    ended: float
    metrics: Mapping[str, float]


def finished_runs(database: Path, expected: int, accuracy: str) -> Sequence[StoredRun]:
    """The finished runs that trained something (a sweep's parent has no `accuracy`), in the order of their start.

    Raises `CommandFailed` unless there are `expected` of them: a contender that did less must not win.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT run_uuid, start_time, end_time FROM runs WHERE status = 'FINISHED'").fetchall()
        metrics: dict[str, dict[str, float]] = {run: {} for run, *_ in rows}
        for run, key, value in store.execute("SELECT run_uuid, key, value FROM latest_metrics"):
            if run in metrics:
                metrics[run][key] = float(value)
    runs = [
        StoredRun(started / 1000, ended / 1000, metrics[run])
        for run, started, ended in rows
        if accuracy in metrics[run]
    ]
    if len(runs) != expected:
        raise CommandFailed(f"{database.name} has {len(runs)} finished runs with {accuracy}, not {expected}")
    return sorted(runs, key=lambda run: run.started)


def span(runs: Sequence[StoredRun]) -> float:
    """Seconds from the start of the first run to the end of the last."""
    return max(run.ended for run in runs) - runs[0].started


def mean_accuracy(runs: Sequence[StoredRun], accuracy: str) -> float:
    return sum(run.metrics[accuracy] for run in runs) / len(runs)
