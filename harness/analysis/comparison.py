"""Runs side by side, ranked by how much they overfit.

Runs that differ only in their seed are one row: mean, sample standard deviation and 95 % interval over the finished
ones. The least gap is first among rows that are accurate enough (ranking.py); the others follow.
Every gap is positive where the model fares better on what it was trained on (see metrics.py).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.ranking import Demand, is_underfit, pareto_front
from harness.analysis.selected import selected_on
from harness.analysis.settings import ABSENT, SEED, distinguish, headings, is_setting, setting_of, swept_settings
from harness.analysis.statistics import Interval, mean_and_deviation, t_interval
from harness.errors import RequestError, suggestion
from harness.records import RunRecord, RunState

HeldOut = Literal["val", "test"]

SCORES = (
    "train_accuracy", "val_accuracy", "test_accuracy", "gap_val_accuracy", "gap_test_accuracy",
    "gap_val_loss", "gap_test_loss",
)  # fmt: skip
"""What is compared. Each is the metric `final/NAME` of a run: accuracies are fractions, losses in nats."""

COUNT = "n"
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
        return [run.metrics[f"final/{name}"] for run in finished if f"final/{name}" in run.metrics]

    def by_seed(self, name: str) -> dict[str, float]:
        """The score of each seed that finished; of a seed that ran more than once the mean."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            if run.state is RunState.FINISHED and f"final/{name}" in run.metrics:
                found[run.parameters.get(SEED, ABSENT)].append(run.metrics[f"final/{name}"])
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
    held_out: HeldOut
    sorted_by: str
    ascending: bool
    ranked: bool
    demand: Demand
    accuracy_floors: Mapping[str, float]
    selected_on: Mapping[str, tuple[str, ...]]
    configurations: int

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
    held_out: HeldOut | None = None,
    sort_by: str | None = None,
    ascending: bool = True,
    swept: Iterable[str] = (),
    title: str = "",
    demand: Demand | None = None,
    only_front: bool = False,
) -> Comparison:
    """Group runs by configuration and rank the groups.

    Args:
        runs: of any state; sweeps' parents must have been left out.
        held_out: the split whose gap is ranked and shown first; None: validation, where every finished run has one,
            else test.
        sort_by: a column's name, or a setting's short one (`learning_rate`); None: the gap in accuracy of `held_out`
            among the rows that meet `demand`, then that of the others. Rows without a value come last in any case.
        ascending: whether the smallest comes first.
        swept: keys that were varied on purpose: shown wherever they differ (see settings.py).
        title: what is compared, in words.
        demand: the held-out accuracy that a row must reach not to be called underfit; None: the usual one.
        only_front: keep the rows on the Pareto front of held-out accuracy and gap.

    Raises:
        RequestError: `sort_by` is no column of this comparison.
    """
    every = tuple(runs)
    keys = tuple(sorted(filter(is_setting, set().union(*(run.parameters for run in every)))))
    groups: defaultdict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for run in every:
        groups[tuple(setting_of(run.parameters, key) for key in keys)].append(run)
    distinction = distinguish(keys, list(groups), swept_settings(swept, keys))
    place = {key: keys.index(key) for key in distinction.shown}
    rows = [
        _row({key: configuration[place[key]] for key in distinction.shown}, members)
        for configuration, members in groups.items()
    ]
    chosen: HeldOut = held_out if held_out is not None else _held_out(every)
    demand = demand or Demand()
    rows, floors = _placed(rows, chosen, demand)
    found = tuple(name for name in SCORES if any(name in row.scores for row in rows))
    column = f"gap_{chosen}_accuracy" if sort_by is None else _column(sort_by, distinction.shown, found)
    ordered = _sorted(rows, column, distinction.shown, ascending)
    if sort_by is None:
        ordered.sort(key=lambda row: (math.isnan(_mean(row.scores.get(column))), row.underfit))
    return Comparison(
        title=title,
        rows=tuple(row for row in ordered if row.on_front or not only_front),
        settings=distinction.shown,
        scores=found,
        constants=distinction.constant,
        follows=distinction.follows,
        held_out=chosen,
        sorted_by=column,
        ascending=ascending,
        ranked=sort_by is None,
        demand=demand,
        accuracy_floors=floors,
        selected_on=selected_on(every, len(rows), column, chosen if only_front else None),
        configurations=len(rows),
    )


def _placed(rows: Sequence[Row], held_out: HeldOut, demand: Demand) -> tuple[list[Row], dict[str, float]]:
    """The rows with what can be said of each only beside the others, and the floors of accuracy by dataset.

    Accuracies on different images say nothing of each other: rows are held to those of the same dataset.
    """
    peers: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        peers[row.runs[0].parameters.get(DATASET, ABSENT)].append(place)
    accuracies = [_mean(row.scores.get(f"{held_out}_accuracy")) for row in rows]
    gaps = [_mean(row.scores.get(f"gap_{held_out}_accuracy")) for row in rows]
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


def _row(settings: Mapping[str, str], members: Sequence[RunRecord]) -> Row:
    finished = [run for run in members if run.state is RunState.FINISHED]
    scores = {}
    for name in SCORES:
        values = [run.metrics[f"final/{name}"] for run in finished if f"final/{name}" in run.metrics]
        if values:
            scores[name] = _score(values)
    seeds = Counter(run.parameters.get(SEED, ABSENT) for run in finished)
    ordered = sorted(members, key=lambda run: (sortable(run.parameters.get(SEED, ABSENT)), run.started, run.run_id))
    return Row(settings, tuple(ordered), scores, sum(count for count in seeds.values() if count > 1))


def _score(values: Sequence[float]) -> Score:
    return Score(*mean_and_deviation(values), len(values), t_interval(values))


def _held_out(runs: Sequence[RunRecord]) -> HeldOut:
    finished = [run for run in runs if run.state is RunState.FINISHED]
    validated = all("final/gap_val_accuracy" in run.metrics for run in finished)
    return "val" if finished and validated else "test"


def _column(wanted: str, settings: Sequence[str], scores: Sequence[str]) -> str:
    columns = (*settings, COUNT, *scores)
    if wanted in columns:
        return wanted
    for key, heading in headings(settings).items():
        if wanted == heading:
            return key
    raise RequestError(
        f"There is no column '{wanted}' to sort by.{suggestion(wanted, columns)} Choose from {', '.join(columns)}."
    )


def _sorted(rows: list[Row], column: str, settings: Sequence[str], ascending: bool) -> list[Row]:
    tidy = sorted(rows, key=lambda row: tuple(sortable(row.settings[key]) for key in settings))
    if column in settings:
        return sorted(tidy, key=lambda row: sortable(row.settings[column]), reverse=not ascending)
    value: Callable[[Row], float] = (
        (lambda row: row.finished) if column == COUNT else (lambda row: _mean(row.scores.get(column)))
    )
    known = sorted((row for row in tidy if not math.isnan(value(row))), key=value, reverse=not ascending)
    return known + [row for row in tidy if math.isnan(value(row))]


def _mean(score: Score | None) -> float:
    return math.nan if score is None else score.mean


def sortable(text: str) -> tuple[int, float, str]:
    """Numbers by size and before words."""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if not math.isnan(number) else (1, 0.0, text)
