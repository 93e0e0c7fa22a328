"""Runs side by side, ranked by how much they overfit.

Runs that differ only in their seed are one row: mean, sample standard deviation and 95 % interval over the finished
ones. The least gap is first among rows that are accurate enough (ranking.py); the others follow.
Every gap is positive where the model fares better on what it was trained on (see metrics.py).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.foreign import Reading
from harness.analysis.ordering import COUNT, column_named, in_order, mean_of
from harness.analysis.ranking import Demand, is_underfit, pareto_front
from harness.analysis.selected import selected_on
from harness.analysis.settings import ABSENT, SEED, distinguish, is_setting, settings_of, sortable, swept_settings
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

DATASET = "dataset.name"


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

    `repeats` counts finished ones whose seed another finished one has too, `missing` are seeds that other rows have and
    this one lacks. `underfit`: its held-out accuracy is too low for its gap to count; `on_front`: no other row is
    better in one of the two and as good in the other.
    """

    settings: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    scores: Mapping[str, Score]
    repeats: int
    stage: Stage = "final"
    missing: tuple[str, ...] = ()
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


@dataclass(frozen=True)
class Comparison:
    """Rows in order, and what they have in common.

    `settings` are the parameters that the rows show, `scores` the scores that any row has; `constants` are the
    parameters that all runs share; `follows` names, for each parameter that differs but is not shown, the shown one
    that it is a function of.

    `reading` says how runs were read that the harness did not write.

    `ranked` says whether rows below their floor of accuracy come after the others; `accuracy_floors` has it by dataset,
    as a fraction made of `demand` (none: no floor). `selected_on` says what each split was used to select.
    `configurations` counts the rows before all but the Pareto front were left out.
    """

    title: str
    rows: tuple[Row, ...]
    settings: tuple[str, ...]
    scores: tuple[str, ...]
    constants: Mapping[str, str]
    follows: Mapping[str, str]
    stage: Stage
    held_out: HeldOut
    sorted_by: str
    ascending: bool
    ranked: bool
    demand: Demand
    accuracy_floors: Mapping[str, float]
    selected_on: Mapping[str, tuple[str, ...]]
    configurations: int
    reading: Reading = Reading()

    @property
    def accuracy_floor(self) -> float | None:
        """The floor of all rows; None where there is none, or one for each of several datasets."""
        return next(iter(self.accuracy_floors.values())) if len(self.accuracy_floors) == 1 else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that rows can be sorted by."""
        return (*self.settings, COUNT, *self.scores)

    @property
    def runs(self) -> int:
        return sum(row.n for row in self.rows)

    @property
    def finished(self) -> int:
        return sum(row.finished for row in self.rows)

    @property
    def repeats(self) -> int:
        return sum(row.repeats for row in self.rows)


def compare(
    runs: Iterable[RunRecord],
    *,
    stage: Stage = "final",
    held_out: HeldOut | None = None,
    sort_by: str | None = None,
    ascending: bool = True,
    swept: Iterable[str] = (),
    title: str = "",
    demand: Demand | None = None,
    only_front: bool = False,
    reading: Reading | None = None,
) -> Comparison:
    """Group runs by configuration and rank the groups.

    Args:
        runs: of any state; sweeps' parents must have been left out.
        stage: with which weights each run is judged (`STAGES`).
        held_out: the split whose gap is ranked and shown first; None: validation, where every finished run has one,
            else test.
        sort_by: a column's name, or a setting's short one (`learning_rate`); None: the gap in accuracy of `held_out`
            among the rows that meet `demand`, then that of the others. Rows without a value come last in any case.
        ascending: whether the smallest comes first.
        swept: keys that were varied on purpose: shown wherever they differ (see settings.py).
        title: what is compared, in words.
        demand: the held-out accuracy that a row must reach not to be called underfit; None: the usual one.
        only_front: keep the rows on the Pareto front of held-out accuracy and gap.
        reading: how the runs were read, where others than the harness may have written them (see foreign.py).

    Raises:
        RequestError: `sort_by` is no column of this comparison.
    """
    every, reading = tuple(runs), reading or Reading()
    keys = reading.keys
    if keys is None:
        keys = tuple(sorted(filter(is_setting, set().union(*(run.parameters for run in every)))))
    groups: defaultdict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for run in every:
        groups[settings_of(run.parameters, keys)].append(run)
    distinction = distinguish(keys, list(groups), (*swept_settings(swept, keys), *reading.chosen))
    place = {key: keys.index(key) for key in distinction.shown}
    rows = [
        _row({key: configuration[place[key]] for key in distinction.shown}, members, stage)
        for configuration, members in groups.items()
    ]
    chosen: HeldOut = held_out if held_out is not None else _held_out(every, stage)
    demand = demand or Demand()
    rows, floors = _placed(rows, chosen, demand)
    found = tuple(name for name in SCORES if any(name in row.scores for row in rows))
    column = _ranking(chosen, found) if sort_by is None else column_named(sort_by, distinction.shown, found)
    ordered = in_order(rows, column, distinction.shown, ascending)
    if sort_by is None:
        ordered.sort(key=lambda row: (math.isnan(mean_of(row.scores.get(column))), row.underfit))
    return Comparison(
        title=title,
        rows=tuple(row for row in ordered if row.on_front or not only_front),
        settings=distinction.shown,
        scores=found,
        constants=distinction.constant,
        follows=distinction.follows,
        stage=stage,
        held_out=chosen,
        sorted_by=column,
        ascending=ascending,
        ranked=sort_by is None,
        demand=demand,
        accuracy_floors=floors,
        selected_on=selected_on(every, len(rows), column, stage, chosen if only_front else None),
        configurations=len(rows),
        reading=reading,
    )


def _placed(rows: Sequence[Row], held_out: HeldOut, demand: Demand) -> tuple[list[Row], dict[str, float]]:
    """The rows with what can be said of each only beside the others, and the floors of accuracy by dataset.

    Accuracies on different images say nothing of each other: rows are held to those of the same dataset.
    """
    peers: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        peers[row.runs[0].parameters.get(DATASET, ABSENT)].append(place)
    accuracies = [mean_of(row.scores.get(f"{held_out}_accuracy")) for row in rows]
    gaps = [mean_of(row.scores.get(f"gap_{held_out}_accuracy")) for row in rows]
    missing, placed, floors = _missing(rows), list(rows), {}
    for dataset, places in peers.items():
        floor = demand.floor(accuracies[place] for place in places)
        if floor is not None:
            floors[dataset] = floor
        front = pareto_front([accuracies[place] for place in places], [gaps[place] for place in places])
        for place, on_front in zip(places, front, strict=True):
            underfit = is_underfit(accuracies[place], floor)
            placed[place] = replace(rows[place], missing=missing[place], underfit=underfit, on_front=on_front)
    return placed, floors


def _missing(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The seeds that each row lacks. Of rows with no seed in common none is expected to have another's."""
    had = [set(row.seeds) - {ABSENT} for row in rows]
    counts = Counter(seed for seeds in had for seed in seeds)
    shared = [seeds for seeds in had if any(counts[seed] > 1 for seed in seeds)]
    expected = sorted(set().union(*shared), key=sortable)
    return [tuple(seed for seed in expected if seed not in seeds) for seeds in had]


def _row(settings: Mapping[str, str], members: Sequence[RunRecord], stage: Stage) -> Row:
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


def _held_out(runs: Sequence[RunRecord], stage: Stage) -> HeldOut:
    finished = [run for run in runs if run.state is RunState.FINISHED]
    gaps = (f"{stage}/gap_val_accuracy", f"{stage}/gap_val_loss")
    validated = all(any(gap in run.metrics for gap in gaps) for run in finished)
    return "val" if finished and validated else "test"


def _ranking(held_out: HeldOut, scores: Sequence[str]) -> str:
    """The gap that rows are ranked by: of accuracy, unless there is one of loss only."""
    accuracy, loss = f"gap_{held_out}_accuracy", f"gap_{held_out}_loss"
    return loss if loss in scores and accuracy not in scores else accuracy
