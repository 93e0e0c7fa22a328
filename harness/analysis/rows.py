"""Runs of one configuration as a row: their scores, and what can be said of it beside other rows."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.settings import ABSENT, SEED, sortable
from harness.analysis.statistics import Interval, mean_and_deviation, t_interval
from harness.records import RunRecord, RunState

HeldOut = Literal["val", "test"]

SCORES = (
    "train_accuracy", "val_accuracy", "test_accuracy", "gap_val_accuracy", "gap_test_accuracy",
    "gap_val_loss", "gap_test_loss",
)  # fmt: skip
"""What is compared. Each is the metric `STAGE/NAME` of a run: accuracies are fractions, losses in nats."""

Stage = Literal["final", "last", "best"]
STAGES: Mapping[Stage, str] = {
    "final": "with the weights that each run ended with",
    "last": "with the weights after the last epoch of each run",
    "best": "with the weights of each run's epoch of least validation loss",
}
"""With which weights a run is judged, in words."""


@dataclass(frozen=True)
class Score:
    """Over the n finished runs that have the metric: mean, sample standard deviation and 95 % t interval of the mean.

    The last two are None for n = 1, and where a value is not finite; the mean then is NaN.
    """

    mean: float
    deviation: float | None
    n: int
    interval: Interval | None


@dataclass(frozen=True)
class Row:
    """Runs of one configuration, whatever their seed.

    `repeats` counts finished ones whose seed another finished one has too, `missing` are seeds that this row's sweeps
    asked for and it lacks. `judged_on` is the same text for rows whose held-out images are the same: only such rows are
    compared with each other. `underfit`: its held-out accuracy is too low for its gap to count; `on_front`: no other
    row is better in one of the two and as good in the other.
    """

    settings: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    scores: Mapping[str, Score]
    repeats: int
    stage: Stage = "final"
    missing: tuple[str, ...] = ()
    judged_on: str = ""
    underfit: bool = False
    on_front: bool = False

    @property
    def label(self) -> str:
        """What tells the row apart, in words."""
        return " ".join(self.settings.values()) or "all runs"

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def finished(self) -> int:
        return sum(run.state is RunState.FINISHED for run in self.runs)

    @property
    def expected(self) -> int:
        """How many finished runs the row would have if each seed, of its own or missing, had finished."""
        return self.finished + len(self.lacking) + len(self.missing)

    @property
    def incomplete(self) -> bool:
        """Whether its means rest on fewer runs than they should."""
        return bool(self.missing or self.lacking)

    @property
    def lacking(self) -> tuple[RunRecord, ...]:
        """The runs that no finished run of their seed replaces, the latest of each seed."""
        unfinished = [run for run in self.runs if run.state is not RunState.FINISHED]
        if not unfinished:
            return ()
        done = {run.parameters.get(SEED) for run in self.runs if run.state is RunState.FINISHED} - {None}
        latest = {run.parameters.get(SEED, run.run_id): run for run in unfinished}
        return tuple(run for seed, run in latest.items() if seed not in done)

    def values(self, name: str) -> list[float]:
        """The score of each finished run that has it."""
        finished = (run for run in self.runs if run.state is RunState.FINISHED)
        metric = f"{self.stage}/{name}"
        return [run.metrics[metric] for run in finished if metric in run.metrics]

    def by_seed(self, name: str) -> dict[str, float]:
        """The score of each seed that finished; of a seed that ran more than once the mean."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            if run.state is RunState.FINISHED and (metric := f"{self.stage}/{name}") in run.metrics:
                found[run.parameters.get(SEED, ABSENT)].append(run.metrics[metric])
        return {seed: math.fsum(values) / len(values) for seed, values in found.items()}

    @property
    def unfinished(self) -> Mapping[RunState, int]:
        """How many runs failed, were killed, still run or wait; their scores are in no mean."""
        return Counter(run.state for run in self.runs if run.state is not RunState.FINISHED)

    @property
    def seeds(self) -> tuple[str, ...]:
        return tuple(run.parameters.get(SEED, ABSENT) for run in self.runs)


def make_row(settings: Mapping[str, str], members: Sequence[RunRecord], stage: Stage) -> Row:
    """The row of these runs, by its shown `settings`; what it is beside other rows is not told yet."""
    finished = [run for run in members if run.state is RunState.FINISHED]
    scores = {}
    for name in SCORES:
        metric = f"{stage}/{name}"
        if values := [run.metrics[metric] for run in finished if metric in run.metrics]:
            scores[name] = _score(values)
    seeds = Counter(run.parameters.get(SEED, ABSENT) for run in finished)
    ordered = sorted(members, key=lambda run: (sortable(run.parameters.get(SEED, ABSENT)), run.started, run.run_id))
    return Row(settings, tuple(ordered), scores, sum(count for count in seeds.values() if count > 1), stage)


def _score(values: Sequence[float]) -> Score:
    return Score(*mean_and_deviation(values), len(values), t_interval(values))
