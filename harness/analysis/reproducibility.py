"""Compares a run with its repetition (`harness reproduce`), value by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.metrics import FOR_CHARTS
from harness.records import DIGEST_PARAMETERS, RunRecord

Values = Mapping[str, Mapping[int, float]]
"""The metrics of one run by name and step, as in `tracking.reading.read_series`."""

NOT_REPEATED = ("time/", "system/", *(f"{unit}/" for unit in FOR_CHARTS.values()))
"""Prefixes of metrics that are not compared: times, load of the machine, and copies of other metrics."""

CIRCUMSTANCES: Mapping[str, str] = {
    "harness.intra_op_threads": "threads",
    "harness.engine": "engine",
    "harness.gpus": "GPUs",
    "harness.tensorflow": "TensorFlow",
    "harness.keras": "Keras",
    "harness.python": "Python",
    "harness.version": "version of the harness",
    "mlflow.source.git.commit": "commit",
    "harness.dataset_digest": "digest of the dataset",
    "harness.platform": "system",
    "harness.host": "machine",
}
"""Tags whose difference can explain other digits or other numbers."""

PARAMETERS: Mapping[str, str] = {
    DIGEST_PARAMETERS["train"]: "digest of the training images",
    DIGEST_PARAMETERS["val"]: "digest of the validation images",
    DIGEST_PARAMETERS["test"]: "digest of the test images",
    "continued.settings": "settings of what was continued",
    "continued.epochs": "epochs that were continued",
}
"""Parameters whose difference can explain other numbers."""
DIRTY_TAG = "harness.git.dirty"


@dataclass(frozen=True)
class Deviation:
    """A metric that differs: its values at the `step` of the largest difference, and in how many of all `of` steps the
    runs differ. A missing value is None."""

    metric: str
    step: int
    recorded: float | None
    again: float | None
    differing: int
    of: int

    @property
    def difference(self) -> float:
        """The repetition's value - the recorded one; infinite if one of them is missing or not finite."""
        if self.recorded is None or self.again is None:
            return math.inf
        difference = self.again - self.recorded
        return math.inf if math.isnan(difference) else difference


@dataclass(frozen=True)
class Repetition:
    """The result: `metrics` metrics over `epochs` epochs were compared; `deviations` are those that differ, the largest
    first. `reasons` are possible explanations, `added` are metrics that only the repetition has."""

    original: RunRecord
    again: RunRecord
    metrics: int
    epochs: int
    deviations: tuple[Deviation, ...]
    reasons: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.deviations


def compare_values(original: RunRecord, again: RunRecord, recorded: Values, repeated: Values) -> Repetition:
    """Compare every metric of the original except those of time, at every step, to the last bit."""
    names = sorted(name for name in recorded if not name.startswith(NOT_REPEATED))
    found = [_deviation(name, recorded[name], repeated.get(name, {})) for name in names]
    deviations = sorted((one for one in found if one is not None), key=lambda one: -abs(one.difference))
    epochs = max((step for name in names for step in recorded[name]), default=0)
    added = sorted(name for name in repeated if name not in recorded and not name.startswith(NOT_REPEATED))
    return Repetition(original, again, len(names), epochs, tuple(deviations), _reasons(original, again), tuple(added))


def _deviation(name: str, recorded: Mapping[int, float], again: Mapping[int, float]) -> Deviation | None:
    steps = sorted({*recorded, *again})
    found = [
        Deviation(name, step, recorded.get(step), again.get(step), 0, len(steps))
        for step in steps
        if not _same(recorded.get(step), again.get(step))
    ]
    if not found:
        return None
    farthest = max(found, key=lambda one: abs(one.difference))
    return Deviation(name, farthest.step, farthest.recorded, farthest.again, len(found), len(steps))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _reasons(original: RunRecord, again: RunRecord) -> tuple[str, ...]:
    found = []
    for words, then, now in (
        *((words, original.tags.get(tag), again.tags.get(tag)) for tag, words in CIRCUMSTANCES.items()),
        *((words, original.parameters.get(key), again.parameters.get(key)) for key, words in PARAMETERS.items()),
    ):
        if then is not None and now is not None and then != now:
            found.append(f"{words}: {then} then, {now} now")
    when = [word for run, word in ((original, "then"), (again, "now")) if run.tags.get(DIRTY_TAG) == "true"]
    if when:
        found.append(f"code that was not committed: {' and '.join(when)}")
    return tuple(found)
