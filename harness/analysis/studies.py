"""What a study states before it is run, and the verdict that its runs give: found, not found or undecided.

A study is a file in experiments/. Its key `study` (Hydra never sees it) has the source, the published figures, the
criteria, the remedies that docs/studies/ranking.md compares, and the overrides of its quick form. A criterion is about
one number: the mean of a row, or its difference to a baseline row, paired by seed (contrasts.py). It states one bound:

- `above` or `below` a value: *found* if the number is shown to be there, *not found* if it is shown to be on the other
  side. Shown: the p-value of the t test against the bound, after Holm's correction over all criteria of the study, is
  below `ALPHA`.
- `within` a value of zero, for what must stay open: *found* if no difference is shown, and the 95 % interval leaves out
  every difference of that size (two one-sided tests: Schuirmann 1987, J. of Pharmacokinetics and Biopharmaceutics 15);
  *not found* if a difference is shown.

All else is *undecided*. If scores are normal, at most 5 % of studies claim the wrong side of any bound. A claim whose
effect is the `foreseen` one is found with the stated `power`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from harness.analysis.contrasts import Difference, Values, differences_to, paired_difference
from harness.analysis.guides import ComparedFigure, compare_figure
from harness.analysis.power import Design, Spread, spread
from harness.analysis.statistics import ALPHA, Interval, holm
from harness.errors import ConfigError

REACHES = re.compile(r"(?P<series>\S+) reaches (?P<value>[0-9.]+)")
"""A measure that is no metric: the first epoch in which a series is at least so large; NaN if it never is."""
REPEATED = ("seed", "dataset.seed", "regime.validation.seed")
"""The settings that only repeat a row."""

Settings = Mapping[str, Any]


class Verdict(StrEnum):
    """What the runs say of a claim; see the module."""

    FOUND = "found"
    NOT_FOUND = "not found"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Published:
    """A figure of the source: the `value` (and `spread`, as printed) of a `measure` of the runs with settings `row`."""

    row: Settings
    measure: str
    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Criterion:
    """One claim with its bound (see the module). `foreseen` is the size that is expected, `deviation` the standard
    deviation over seeds that it is expected to have (of the difference, where there is a `baseline`), and `power` the
    probability that it is then found: `Study.power`, which a test compares."""

    claim: str
    measure: str
    row: Settings
    baseline: Settings | None = None
    above: float | None = None
    below: float | None = None
    within: float | None = None
    foreseen: float | None = None
    deviation: float | None = None
    power: float | None = None

    @property
    def bound(self) -> float:
        """The value that the number is tested against."""
        return next((bound for bound in (self.above, self.below) if bound is not None), 0.0)


@dataclass(frozen=True)
class Remedy:
    """Something that was tried against overfitting: the settings `row` instead of those of `baseline`."""

    name: str
    row: Settings
    baseline: Settings


@dataclass(frozen=True)
class Study:
    """The statement of the study `name`, which is that of its experiment. `quick` are the overrides of a form that only
    shows that everything runs."""

    name: str
    source: str
    seeds: int
    criteria: tuple[Criterion, ...]
    published: tuple[Published, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    quick: tuple[str, ...] = ()

    def power(self, criterion: Criterion) -> float | None:
        """The probability that the criterion is found, if `foreseen` and `deviation` are true. It is a lower bound: no
        variance is pooled over rows, and Holm's correction is taken as Bonferroni's."""
        if criterion.foreseen is None or criterion.deviation is None or criterion.within is not None:
            return None
        design = Design(Spread(criterion.deviation, self.seeds - 1, "paired", False, 2 * self.seeds), 2)
        return design.power(criterion.foreseen - criterion.bound, self.seeds, len(self.criteria))


@dataclass(frozen=True)
class StudyRow:
    """The runs with the same `settings`, except for seeds: the metrics of each run by seed."""

    settings: Settings
    runs: Mapping[str, Mapping[str, float]]

    def values(self, measure: str) -> Values:
        """The measure by seed; runs without it are left out."""
        return {seed: metrics[measure] for seed, metrics in self.runs.items() if measure in metrics}

    def matches(self, settings: Settings) -> bool:
        return all(key in self.settings and self.settings[key] == value for key, value in settings.items())


@dataclass(frozen=True)
class Decision:
    """A criterion with what was measured. `number` is None where the runs of a row are missing; `p` is corrected by
    Holm's method; `notices` is the smallest distance from the bound that is shown in 80 % of studies with this
    spread."""

    criterion: Criterion
    number: Difference | None
    p: float
    verdict: Verdict
    notices: float | None = None

    @property
    def interval(self) -> Interval | None:
        return None if self.number is None else self.number.interval


@dataclass(frozen=True)
class Outcome:
    """A study compared with its runs."""

    study: Study
    rows: tuple[StudyRow, ...]
    decisions: tuple[Decision, ...]
    figures: tuple[tuple[Published, ComparedFigure], ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The claims that were not found."""
        return tuple(of.criterion.claim for of in self.decisions if of.verdict is Verdict.NOT_FOUND)

    @property
    def seeds(self) -> int:
        """The fewest seeds of a row."""
        return min((len(row.runs) for row in self.rows), default=0)


def study_of(name: str, stated: Any) -> Study:
    """The statement under the key `study` of an experiment. Raises `ConfigError` where it is wrong."""
    given = _checked(f"{name}: study", stated, Study, absent=("name",))
    parts: dict[str, Any] = {}
    for key, kind in (("criteria", Criterion), ("published", Published), ("remedies", Remedy)):
        items = given.get(key, [])
        if not isinstance(items, list):
            raise ConfigError(f"{name}: study.{key} must be a list.")
        parts[key] = tuple(kind(**_checked(f"{name}: study.{key}", item, kind)) for item in items)
    for criterion in parts["criteria"]:
        bounds = [key for key in ("above", "below", "within") if getattr(criterion, key) is not None]
        if len(bounds) != 1:
            raise ConfigError(
                f"{name}: the criterion {criterion.claim!r} has {len(bounds)} bounds. Give one of above, below, within."
            )
    return Study(**{**given, **parts, "name": name, "quick": tuple(given.get("quick", ()))})


def _checked(where: str, given: Any, kind: Any, absent: Sequence[str] = ()) -> dict[str, Any]:
    known = [item for item in fields(kind) if item.name not in absent]
    if not isinstance(given, dict):
        raise ConfigError(f"{where} must have the keys {', '.join(item.name for item in known)}.")
    if unknown := [key for key in given if key not in {item.name for item in known}]:
        raise ConfigError(f"{where}.{unknown[0]}: there is no such key. Known: {', '.join(i.name for i in known)}.")
    required = [item.name for item in known if "MISSING" in repr(item.default)]
    if missing := [key for key in required if key not in given]:
        raise ConfigError(f"{where}: {missing[0]} is missing.")
    return dict(given)


def outcome(study: Study, rows: Sequence[StudyRow]) -> Outcome:
    """The verdict of every criterion. A row that no run has leaves its criteria undecided."""
    numbers = [_number(of, rows) for of in study.criteria]
    tested = [_p_value(of, number) for of, number in zip(study.criteria, numbers, strict=True)]
    decisions = [
        Decision(of, number, p, _verdict(of, number, p), _notices(of, rows, len(numbers)))
        for of, number, p in zip(study.criteria, numbers, holm(tested), strict=True)
    ]
    figures = [
        (of, compare_figure(of.measure, of.value, list(values.values())))
        for of in study.published
        if (row := find_row(rows, of.row)) is not None and len(values := row.values(of.measure)) > 1
    ]
    return Outcome(study, tuple(rows), tuple(decisions), tuple(figures))


def find_row(rows: Sequence[StudyRow], settings: Settings) -> StudyRow | None:
    """The row with these settings; None if there is none. Raises `ConfigError` if several have them."""
    found = [row for row in rows if row.matches(settings)]
    if len(found) > 1:
        raise ConfigError(f"{len(found)} rows of the study have {in_words(settings)}. Name more of their settings.")
    return found[0] if found else None


def in_words(settings: Settings) -> str:
    """`regime.batch_size=256, model.dropout=0`."""
    return ", ".join(f"{key}={'null' if value is None else value}" for key, value in settings.items())


def difference_of(rows: Sequence[StudyRow], measure: str, row: Settings, baseline: Settings) -> Difference | None:
    """The difference of two rows, with a variance pooled over the study's rows if these vary equally (contrasts.py);
    None if one of the two has no run."""
    own, other = find_row(rows, row), find_row(rows, baseline)
    if own is None or other is None:
        return None
    groups = [of for of in rows if of is not other]
    return differences_to(other.values(measure), [of.values(measure) for of in groups])[groups.index(own)]


def _number(of: Criterion, rows: Sequence[StudyRow]) -> Difference | None:
    if of.baseline is not None:
        return difference_of(rows, of.measure, of.row, of.baseline)
    row = find_row(rows, of.row)
    values = [] if row is None else list(row.values(of.measure).values())
    return paired_difference(values, [0.0] * len(values)) if values else None


def _p_value(of: Criterion, number: Difference | None) -> float:
    if number is None or number.error is None:
        return math.nan
    shifted = replace(number, mean=number.mean - of.bound)
    return shifted.p_value if number.error else float(shifted.mean == 0)


def _verdict(of: Criterion, number: Difference | None, p: float) -> Verdict:
    if number is None or number.interval is None or math.isnan(p):
        return Verdict.UNDECIDED
    shown = p < ALPHA
    if of.within is not None:
        if shown:
            return Verdict.NOT_FOUND
        return Verdict.FOUND if max(map(abs, number.interval)) < of.within else Verdict.UNDECIDED
    if not shown:
        return Verdict.UNDECIDED
    return Verdict.FOUND if (number.mean > of.bound) == (of.above is not None) else Verdict.NOT_FOUND


def _notices(of: Criterion, rows: Sequence[StudyRow], criteria: int) -> float | None:
    """Only of differences."""
    own, other = find_row(rows, of.row), None if of.baseline is None else find_row(rows, of.baseline)
    if own is None or other is None:
        return None
    pair = [own.values(of.measure), other.values(of.measure)]
    found = spread([row.values(of.measure) for row in rows]) if len(rows) > 2 else spread(pair)
    seeds = len(pair[0].keys() & pair[1].keys())
    return None if found is None or seeds < 2 else Design(found, max(len(rows), 2)).smallest(seeds, criteria)
