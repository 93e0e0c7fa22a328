"""Runs side by side, ranked by how much they overfit.

Runs that differ only in their seed are one row: the sample mean and standard deviation over the finished ones.
Every gap is positive where the model fares better on what it was trained on (see metrics.py).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.settings import ABSENT, SEED, distinguish, headings, is_setting, setting_of, swept_settings
from harness.errors import RequestError, suggestion
from harness.records import RunRecord, RunState

HeldOut = Literal["val", "test"]

SCORES = (
    "train_accuracy", "val_accuracy", "test_accuracy", "gap_val_accuracy", "gap_test_accuracy",
    "gap_val_loss", "gap_test_loss",
)  # fmt: skip
"""What is compared. Each is the metric `final/NAME` of a run: accuracies are fractions, losses in nats."""

COUNT = "n"


@dataclass(frozen=True)
class Score:
    """The mean and the sample standard deviation (None for n = 1) over the n finished runs that have the metric."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """Runs of one configuration, whatever their seed. `repeats` counts those whose seed another run of it has too."""

    settings: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    scores: Mapping[str, Score]
    repeats: int

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def finished(self) -> int:
        return sum(run.state is RunState.FINISHED for run in self.runs)

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
) -> Comparison:
    """Group runs by configuration and rank the groups.

    Args:
        runs: of any state; sweeps' parents must have been left out.
        held_out: the split whose gap is ranked and shown first; None: validation, where every finished run has one,
            else test.
        sort_by: a column's name, or a setting's short one (`learning_rate`); None: the gap in accuracy of `held_out`.
            Rows without a value come last in either direction.
        ascending: whether the smallest comes first.
        swept: keys that were varied on purpose: shown wherever they differ (see settings.py).
        title: what is compared, in words.

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
    found = tuple(name for name in SCORES if any(name in row.scores for row in rows))
    column = f"gap_{chosen}_accuracy" if sort_by is None else _column(sort_by, distinction.shown, found)
    return Comparison(
        title=title,
        rows=tuple(_sorted(rows, column, distinction.shown, ascending)),
        settings=distinction.shown,
        scores=found,
        constants=distinction.constant,
        follows=distinction.follows,
        held_out=chosen,
        sorted_by=column,
        ascending=ascending,
    )


def _row(settings: Mapping[str, str], members: Sequence[RunRecord]) -> Row:
    finished = [run for run in members if run.state is RunState.FINISHED]
    scores = {}
    for name in SCORES:
        values = [run.metrics[f"final/{name}"] for run in finished if f"final/{name}" in run.metrics]
        if values:
            scores[name] = _score(values)
    seeds = Counter(run.parameters.get(SEED, ABSENT) for run in members)
    ordered = sorted(members, key=lambda run: (_sortable(run.parameters.get(SEED, ABSENT)), run.started, run.run_id))
    return Row(settings, tuple(ordered), scores, sum(count for count in seeds.values() if count > 1))


def _score(values: Sequence[float]) -> Score:
    if not all(map(math.isfinite, values)):
        return Score(math.nan, None, len(values))
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Score(mean, None, n)
    return Score(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)


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
    tidy = sorted(rows, key=lambda row: tuple(_sortable(row.settings[key]) for key in settings))
    if column in settings:
        return sorted(tidy, key=lambda row: _sortable(row.settings[column]), reverse=not ascending)
    value: Callable[[Row], float] = (
        (lambda row: row.finished) if column == COUNT else (lambda row: _mean(row.scores.get(column)))
    )
    known = sorted((row for row in tidy if not math.isnan(value(row))), key=value, reverse=not ascending)
    return known + [row for row in tidy if math.isnan(value(row))]


def _mean(score: Score | None) -> float:
    return math.nan if score is None else score.mean


def _sortable(text: str) -> tuple[int, float, str]:
    """Numbers by size and before words."""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if not math.isnan(number) else (1, 0.0, text)
