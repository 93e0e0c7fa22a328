"""A row of a comparison: the runs of one configuration, with its scores over replicates.

Replicates are runs with different seeds, or different draws of the data: `dataset.seed` draws other training images (or
other wrong labels), `regime.validation.seed` other validation images. If draws are replicated, the unit of replication
is the draw: its seeds share its images, and their mean is one value.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

from harness.analysis.settings import ABSENT, SEED, settings_of, sortable
from harness.analysis.statistics import (
    Interval,
    added_error,
    interval_around,
    mean,
    mean_and_deviation,
    t_interval,
)
from harness.errors import RequestError, suggestion
from harness.images import Images
from harness.records import Place, RunRecord, RunState

HeldOut = Literal["val", "test"]
IntervalOver = Literal["seeds", "seeds+images"]
INTERVALS: tuple[IntervalOver, ...] = ("seeds", "seeds+images")
"""What an interval is over: replicates only, or replicates and held-out images."""

SCORES: Mapping[str, str] = {
    "train_accuracy": "train %",
    "val_accuracy": "val %",
    "test_accuracy": "test %",
    "gap_val_accuracy": "gap val",
    "gap_test_accuracy": "gap test",
    "gap_val_loss": "loss gap",
    "gap_test_loss": "loss gap",
}
"""The compared scores with their headings: a run's metric `STAGE/NAME`. Accuracies are fractions, losses in nats."""

_OF_EVERY_RUN = frozenset({"accuracy", "loss", "accuracy_running"})

Stage = Literal["final", "last", "best"]
STAGES: Mapping[Stage, str] = {
    "final": "with the weights that each run ended with",
    "last": "with the weights after the last epoch of each run",
    "best": "with the weights of each run's epoch of least validation loss",
}
"""The weights with which a run is evaluated, as text."""


@dataclass(frozen=True)
class MeanScore:
    """Over n seeds or draws of the data: mean, sample standard deviation and 95 % t interval of the mean.

    The last two are None for n = 1, and if a value is not finite (the mean then is NaN). `image_error` is the standard
    error from the finite number of held-out images, 0 for a score of the training images, None if it is not known (see
    `held_out.py`); `wider` is the interval that includes it.
    """

    mean: float
    deviation: float | None
    n: int
    interval: Interval | None
    image_error: float | None = None

    @property
    def wider(self) -> Interval | None:
        """The interval over replicates and held-out images; None if one of the two errors is not known."""
        if self.deviation is None or self.image_error is None:
            return None
        error, degrees = added_error(self.deviation / math.sqrt(self.n), self.n - 1, self.image_error**2)
        return interval_around(self.mean, error, degrees)

    def interval_over(self, what: IntervalOver) -> Interval | None:
        """The interval over replicates, or over replicates and images."""
        return self.interval if what == "seeds" else self.wider


class Unit(NamedTuple):
    """The key of a replicate in its row: the draw of the data (empty if all runs have the same) and the seed."""

    draw: str
    seed: str

    def __str__(self) -> str:
        return f"{self.draw} seed={self.seed}" if self.draw else self.seed


@dataclass(frozen=True)
class Row:
    """The runs of one configuration: its replicates.

    `units` maps each run id to the run's replicate. `over_draws`: the unit of replication is the draw of the data (a
    value is the mean over the seeds of a draw); otherwise it is the seed. `repeats` is the number of finished runs
    whose replicate has another finished run; such runs count once, with their mean.

    `missing` are replicates that the row's sweeps have in other rows. `scored_on` is equal for rows with the same
    held-out images: only such rows are compared with each other. `underfit`: the mean held-out accuracy is too low for
    the gap to count; `underfit_shown`: too low by more than its interval. `on_front`: the row is not underfit and on
    the Pareto front; `front_share` is the share of resamples in which it is there, NaN without resamples or if
    underfit. `collapsed` are the ids of runs whose accuracy is far below that of the row's other runs.
    """

    settings: Mapping[str, str]
    runs: tuple[RunRecord, ...]
    scores: Mapping[str, MeanScore]
    repeats: int
    stage: Stage = "final"
    units: Mapping[str, Unit] = field(default_factory=dict)
    over_draws: bool = False
    missing: tuple[str, ...] = ()
    scored_on: str = ""
    underfit: bool = False
    underfit_shown: bool = False
    on_front: bool = False
    front_share: float = math.nan
    collapsed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The row's name: the settings in which it differs from other rows."""
        return " ".join(self.settings.values()) or "all runs"

    @property
    def place(self) -> Place:
        """The row's place among the others (front, underfit, ...), the same in every output."""
        if self.underfit:
            return Place.UNDERFIT if self.underfit_shown else Place.PERHAPS_UNDERFIT
        return Place.FRONT if self.on_front else Place.NONE

    @property
    def n(self) -> int:
        return len(self.runs)

    @cached_property
    def finished_runs(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.state is RunState.FINISHED)

    @property
    def finished(self) -> int:
        return len(self.finished_runs)

    @property
    def replicates(self) -> int:
        """The number of seeds (or draws) with a finished run."""
        return len({self.key(run) for run in self.finished_runs})

    @property
    def expected(self) -> int:
        """The number of finished runs that the row would have if all its replicates, also missing ones, had
        finished."""
        return self.finished + len(self.lacking) + len(self.missing)

    @property
    def incomplete(self) -> bool:
        """Whether its means are over fewer runs than expected."""
        return bool(self.missing or self.lacking)

    @property
    def lacking(self) -> tuple[RunRecord, ...]:
        """The unfinished runs of replicates without a finished run, the latest of each."""
        unfinished = [run for run in self.runs if run.state is not RunState.FINISHED]
        if not unfinished:
            return ()
        done = {self.units[run.run_id] for run in self.finished_runs}
        latest = {self.units[run.run_id]: run for run in unfinished}
        return tuple(run for unit, run in latest.items() if unit not in done)

    def key(self, run: RunRecord) -> str:
        """The key by which the run's value is paired with those of other rows: its draw or its seed."""
        unit = self.units[run.run_id]
        return unit.draw if self.over_draws else unit.seed

    def runs_by_unit(self, name: str) -> dict[str, dict[Unit, list[RunRecord]]]:
        """The finished runs with the score, by the key of their value and by replicate."""
        found: dict[str, dict[Unit, list[RunRecord]]] = {}
        for run in self.finished_runs:
            if f"{self.stage}/{name}" in run.metrics:
                found.setdefault(self.key(run), {}).setdefault(self.units[run.run_id], []).append(run)
        return found

    def by_unit(self, name: str) -> dict[str, float]:
        """The score of each seed or draw: the mean over the runs of a replicate, then the mean over the seeds of a
        draw."""
        metric = f"{self.stage}/{name}"

        def mean_over(units: Mapping[Unit, Sequence[RunRecord]]) -> float:
            values = [[run.metrics[metric] for run in runs] for runs in units.values()]
            return values[0][0] if len(values) == len(values[0]) == 1 else mean([mean(of) for of in values])

        return {key: mean_over(units) for key, units in self.runs_by_unit(name).items()}

    def values(self, name: str) -> list[float]:
        """The score of each seed or draw."""
        return list(self.by_unit(name).values())

    def within_draws(self, name: str) -> float | None:
        """The standard deviation between the seeds of a draw; None if no draw has two."""
        metric, squares, degrees = f"{self.stage}/{name}", 0.0, 0
        for units in self.runs_by_unit(name).values() if self.over_draws else ():
            values = [mean([run.metrics[metric] for run in runs]) for runs in units.values()]
            _, deviation = mean_and_deviation(values)
            if deviation is not None:
                squares, degrees = squares + deviation**2 * (len(values) - 1), degrees + len(values) - 1
        return math.sqrt(squares / degrees) if degrees else None

    @property
    def unfinished(self) -> Mapping[RunState, int]:
        """The numbers of unfinished runs by state; their scores are in no mean."""
        return Counter(run.state for run in self.runs if run.state is not RunState.FINISHED)

    @property
    def seeds(self) -> tuple[str, ...]:
        return tuple(run.parameters.get(SEED, ABSENT) for run in self.runs)


def make_row(
    settings: Mapping[str, str],
    members: Sequence[RunRecord],
    stage: Stage,
    units: Mapping[str, Unit] | None = None,
    over_draws: bool = False,
) -> Row:
    """The row of these runs with its shown `settings`; its place among other rows is filled in later (underfit.py).

    `units` maps each run id to the run's replicate (see `units_of`); None: each seed is a replicate.
    """
    if units is None:
        units = {run.run_id: Unit("", run.parameters.get(SEED, run.run_id)) for run in members}
    ordered = sorted(members, key=lambda run: (*map(sortable, units[run.run_id]), run.started, run.run_id))
    counts = Counter(units[run.run_id] for run in members if run.state is RunState.FINISHED)
    repeats = sum(count for count in counts.values() if count > 1)
    own = {run.run_id: units[run.run_id] for run in members}
    row = Row(settings, tuple(ordered), {}, repeats, stage, own, over_draws)
    scores = {name: _score(values) for name in score_names(members, stage) if (values := row.values(name))}
    return replace(row, scores=scores)


def score_names(runs: Sequence[RunRecord], stage: Stage) -> list[str]:
    """The compared scores: those of every run, then those that some runs were asked for (`Config.metrics`)."""
    logged = set[str]().union(*(run.metrics for run in runs))
    gaps = (key.removeprefix(f"{stage}/gap_") for key in logged if key.startswith(f"{stage}/gap_"))
    names = sorted({name.partition("_")[2] for name in gaps if name.startswith(("val_", "test_"))} - _OF_EVERY_RUN)
    forms = ("train_{}", "val_{}", "test_{}", "gap_val_{}", "gap_test_{}")
    return [*SCORES, *(form.format(name) for name in names for form in forms)]


def heading_of(score: str) -> str:
    """The heading of a score in tables."""
    return SCORES.get(score, score.replace("gap_val_", "gap val ").replace("gap_test_", "gap test "))


def _score(values: Sequence[float]) -> MeanScore:
    return MeanScore(*mean_and_deviation(values), len(values), t_interval(values))


DRAWS: Mapping[str, str] = {"dataset.seed": "dataset.seed", "regime.validation.seed": "validation.seed"}
"""The settings that draw data, with their short names."""


def named_replicates(text: str) -> tuple[str, ...]:
    """The draws of the data in the text of `--replicates`, such as `seed,dataset.seed`.

    Raises:
        RequestError: something else is named, or `seed` is missing.
    """
    known = {SEED: SEED, **DRAWS, **{short: key for key, short in DRAWS.items()}}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise RequestError(
                f"--replicates {text}: '{name}' cannot be a replicate.{suggestion(name, known)} "
                f"Choose from {SEED}, {', '.join(DRAWS.values())}."
            )
    if SEED not in names:
        raise RequestError(f"--replicates {text}: runs of other seeds are replicates always. Give {SEED},{text}.")
    return tuple(key for key in DRAWS if key in {known[name] for name in names})


def repeated_draws(runs: Sequence[RunRecord], keys: Sequence[str]) -> tuple[str, ...]:
    """The settings of `DRAWS` that have several values within a configuration (`keys` are all settings)."""
    others = [key for key in keys if key not in DRAWS]
    found = []
    for draw in DRAWS:
        values: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for run in runs if draw in keys else ():
            values[settings_of(run.parameters, others)].add(run.parameters.get(draw, ABSENT))
        if any(len(of) > 1 for of in values.values()):
            found.append(draw)
    return tuple(found)


def units_of(
    groups: Sequence[Sequence[RunRecord]], draws: Sequence[str], images: Mapping[str, Images]
) -> tuple[dict[str, Unit], bool]:
    """The replicate of each run of each configuration, by run id; and whether the unit of replication is the draw.

    Draws with the same images are one draw: a `dataset.seed` without effect makes copies, which count once. A run
    without a recorded seed is a replicate of its own.
    """
    units, several = {}, False
    for members in groups:
        ordered = sorted(members, key=lambda run: [sortable(run.parameters.get(key, ABSENT)) for key in draws])
        first: dict[Images, str] = {}
        for run in ordered:
            text = " ".join(f"{DRAWS[key]}={run.parameters.get(key, ABSENT)}" for key in draws)
            draw = first.setdefault(images[run.run_id], text)
            units[run.run_id] = Unit(draw, run.parameters.get(SEED) or f"of {run.run_id}")
        several = several or len(set(first.values())) > 1
    return (units, True) if several else ({run: Unit("", unit.seed) for run, unit in units.items()}, False)
