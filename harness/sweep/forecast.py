"""How long the jobs of a sweep will take, from runs of the same structure that this machine has trained before."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from harness.analysis.settings import setting_of
from harness.config.schema import flatten
from harness.records import RunRecord
from harness.sweep.plan import PlannedJob
from harness.tracking.selection import CONTINUED_EPOCHS, recorded_number

STRUCTURE = (
    "dataset.name", "dataset.train_size", "dataset.test_size", "model.architecture", "model.hidden", "model.width",
    "model.depth", "model.filters", "model.kernel_size", "model.pool_size", "model.dropout", "model.l2",
    "model.batch_norm", "model.shift", "optimizer.name",
    "regime.batch_size", "regime.validation.strategy", "mixed_precision",
)  # fmt: skip
"""Settings on which the time of an epoch depends; dropout, penalties and the like by whether there are any."""
_BY_PRESENCE = ("model.dropout", "model.l2", "model.shift")

EPOCH_SECONDS, TOTAL_SECONDS = "time/epoch_seconds", "time/total_seconds"


class Forecast:
    """What an epoch takes, and what a run takes besides (its start, its scores, its model), by structure: the medians
    over `runs`."""

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        taken: defaultdict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
        for run in runs:
            if TOTAL_SECONDS in run.metrics and run.tags.get("harness.host") == platform.node():
                epoch, total = run.metrics[EPOCH_SECONDS], run.metrics[TOTAL_SECONDS]
                trained = run.epochs - recorded_number(run, CONTINUED_EPOCHS)
                taken[_structure(run.parameters)].append((epoch, max(total - epoch * trained, 0.0)))
        self._medians = {
            structure: (median(epoch for epoch, _ in pairs), median(rest for _, rest in pairs))
            for structure, pairs in taken.items()
        }

    def job_seconds(self, job: PlannedJob) -> float | None:
        """Seconds that a job still takes; None where no run of its structure is known."""
        if (
            found := self._medians.get(_structure({key: str(value) for key, value in flatten(job.config).items()}))
        ) is None:
            return None
        epoch, rest = found
        return rest + epoch * max(job.config.regime.epochs - job.epochs_kept, 0)

    def total_seconds(self, jobs: Sequence[PlannedJob], workers: int) -> float | None:
        """Seconds for all `jobs`, shared out among `workers`; None where one of them is not known."""
        times = [self.job_seconds(job) for job in jobs]
        known = [time for time in times if time is not None]
        return sum(known) / max(workers, 1) if len(known) == len(times) else None


def _structure(settings: Mapping[str, str]) -> tuple[str, ...]:
    values = {key: setting_of(settings, key) for key in STRUCTURE}
    return tuple(str(values[key] not in ("0", "0.0")) if key in _BY_PRESENCE else values[key] for key in STRUCTURE)
