"""Where the validation loss turned, configuration by configuration: epochs of different lengths are not one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from harness.analysis.comparison import Comparison
from harness.analysis.legend import counted
from harness.analysis.rows import Row
from harness.metrics import ONSET_EPOCHS, Onset, onset
from harness.records import RunRecord
from harness.report.content import shortened
from harness.report.wording import label
from harness.tracking.selection import Series

_NAMED = 6
_LOSSES = ("train/loss", "val/loss")


def rises(comparison: Comparison, series: Series) -> list[str]:
    """Which rows' validation loss rises, from where, and of which no rise is shown.

    A row is told by its mean curve where `series` has its runs and they are of equal length, else by its single runs.
    Nothing is said of runs that the harness did not write: they have not been looked at.
    """
    rows = [(row, runs) for row in comparison.rows if (runs := _validated(row))]
    if not rows or comparison.reading.keys is not None:
        return []
    lengths = [run.metrics.get("last/epoch", math.inf) for _, runs in rows for run in runs]
    if max(lengths) < ONSET_EPOCHS:
        return [f"Fewer than {ONSET_EPOCHS} epochs cannot show whether the validation loss rises."]
    told = [text for row, runs in rows if (text := _of_row(row, runs, series))]
    if not told:
        runs_in_all = sum(len(runs) for _, runs in rows)
        return [
            f"No rise of the validation loss is shown in any of {counted(runs_in_all, 'run')}. The gap of loss may "
            "have grown all the same: the training loss falls alone."
        ]
    others = len(rows) - len(told)
    rest = (
        f" In {counted(others, 'other')} no rise of the validation loss is shown; the gap of loss may have grown there "
        "all the same."
    )
    return [
        f"The validation loss turns and rises in {len(told):,} of {counted(len(rows), 'configuration')}: "
        f"{shortened(told, _NAMED, '; ')}.{rest if others else ''}"
    ]


def _validated(row: Row) -> list[RunRecord]:
    return [run for run in row.finished_runs if "final/val_loss" in run.metrics]


def _of_row(row: Row, runs: Sequence[RunRecord], series: Series) -> str:
    """What one row shows, empty for nothing."""
    epochs = _values(runs, "overfit/onset_epoch")
    epochs_of_all, curves = _mean_curves(runs, series)
    of_mean = onset(*curves) if len(epochs_of_all) else None
    if not epochs and of_mean is None:
        return ""
    parts = []
    if of_mean is not None:
        parts.append(f"by the mean curve at epoch {_dated(of_mean, epochs_of_all)}")
    elif len(epochs_of_all):
        parts.append("not shown by the mean curve")
    if epochs:
        said = f"in {len(epochs)} of {counted(len(runs), 'run')} at epoch {median(epochs):g}"
        if len(set(epochs)) > 1:
            said += f" ({min(epochs):g} to {max(epochs):g})"
        # Runs of earlier versions did not record by when it is shown.
        if by := _values(runs, "overfit/onset_by_epoch"):
            said += f", shown by epoch {median(by):g}"
        parts.append(said)
    if growth := _values(runs, "overfit/growth"):
        parts.append(f"the gap of loss then grows by {median(growth):z.4f} nats an epoch")
    return f"{label(row.settings)}: {', '.join(parts)}"


def _dated(found: Onset, epochs: Sequence[int]) -> str:
    return f"{epochs[found.epoch - 1]}, shown by epoch {epochs[found.by_epoch - 1]}"


def _values(runs: Sequence[RunRecord], metric: str) -> list[float]:
    return [run.metrics[metric] for run in runs if metric in run.metrics]


def _mean_curves(runs: Sequence[RunRecord], series: Series) -> tuple[list[int], list[np.ndarray]]:
    """Epochs, and the mean training and validation loss at each; none for a single run, or of different lengths."""
    found = [series.get(run.run_id, {}).get(name, {}) for run in runs for name in _LOSSES]
    epochs = sorted(found[0])
    if len(runs) < 2 or any(sorted(curve) != epochs for curve in found):
        return [], []
    values = np.array([[curve[epoch] for epoch in epochs] for curve in found])
    return epochs, [values[start :: len(_LOSSES)].mean(axis=0) for start in range(len(_LOSSES))]
