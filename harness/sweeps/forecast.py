"""Estimates how long a sweep will take, from earlier runs of the same structure on this machine."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from harness.analysis.settings import setting_of
from harness.config.schema import OPTIONS, flatten, settings_with
from harness.records import RunRecord
from harness.sweeps.plan import PlannedJob
from harness.tracking.selection import CONTINUED_EPOCHS, recorded_number

STRUCTURE = tuple(key for key in settings_with("time") if key not in OPTIONS)
"""Settings on which the time of an epoch depends; of dropout, penalties and the like only whether they are used."""
_BY_PRESENCE = settings_with("time", "presence")

EPOCH_SECONDS, TOTAL_SECONDS = "time/epoch_seconds", "time/total_seconds"


class Forecast:
    """Median seconds of an epoch, and of the rest of a run (start, evaluation, saving the model), by structure; `runs`
    is the number of runs that they were measured on."""

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
        """The remaining seconds of a job; None if no earlier run has its structure."""
        found = self._medians.get(_structure({key: str(value) for key, value in flatten(job.config).items()}))
        if found is None:
            return None
        epoch, rest = found
        return rest + epoch * max(job.config.regime.epochs - job.epochs_kept, 0)

    def total_seconds(self, jobs: Sequence[PlannedJob], workers: int) -> float | None:
        """Seconds for all `jobs` on so many `workers`; None if the time of one job is not known."""
        times = [self.job_seconds(job) for job in jobs]
        known = [time for time in times if time is not None]
        return sum(known) / max(workers, 1) if len(known) == len(times) else None


def _structure(settings: Mapping[str, str]) -> tuple[str, ...]:
    values = {key: setting_of(settings, key) for key in STRUCTURE}
    options = sorted(f"{key}={value}" for key, value in settings.items() if key.startswith(OPTIONS))
    return (
        *(str(values[key] not in ("0", "0.0")) if key in _BY_PRESENCE else values[key] for key in STRUCTURE),
        *options,
    )
