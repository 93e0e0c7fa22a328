"""The data for figures of a comparison: groups of runs that differ in their seed only.

The caller gives means and intervals, because statistics are not computed here. Input is in the units of the store
(accuracies and their gaps as fractions, losses in nats); figures show percent, points and nats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.records import Place

LOG_DECADES = 1.5
"""Positive numbers that span more than this get a logarithmic axis."""
_ROOM = 0.06  # margin on each side, as a share of the axis
_FINEST = 1e-9  # the smallest relative difference that is drawn
_STRETCH = 0.75  # intervals may widen an axis on each side by this share of the range of the values

HeldOut = Literal["val", "test"]
Quantity = Literal["accuracy", "loss"]
_TINY = 1e-30
"""Smaller numbers are drawn as 0, and numbers above 1 / `_TINY` not at all, because ticks would overflow."""


@dataclass(frozen=True)
class Scores:
    """One score of a group: the value of each run, their mean and its interval (low, high).

    The keys of `by_seed` identify runs, so a seed that was run twice needs two keys. Values may be NaN or infinite.
    Without `mean`, the mean of the finite values is used; without `interval`, none is drawn.
    """

    by_seed: Mapping[str, float] = field(default_factory=dict)
    mean: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Group:
    """Runs with equal settings. `settings` has those that differ between groups, by name, as text or number.

    `runs` is the number of requested runs; with fewer finite gaps, the group is marked as incomplete. 0 means as many
    as `gap` has. `place` is the group's mark in the comparison: on the Pareto front, or underfit. `front_share` is the
    share of resamples in which it is on the front, NaN if not known.
    """

    label: str
    settings: Mapping[str, str | float]
    gap: Scores = Scores()
    train: Scores = Scores()
    held_out: Scores = Scores()
    runs: int = 0
    place: Place = Place.NONE
    front_share: float = math.nan


@dataclass(frozen=True)
class Measure:
    """Which gap is drawn: its quantity and its held-out split. `note` is written on the figure ("selected on ...")."""

    quantity: Quantity = "accuracy"
    held_out: HeldOut = "test"
    note: str = ""

    @property
    def split(self) -> str:
        """The held-out split as a word."""
        return "validation" if self.held_out == "val" else "test"

    @property
    def scale(self) -> float:
        """The factor from the units of the store to those of the figure."""
        return 100.0 if self.quantity == "accuracy" else 1.0

    @property
    def gap_unit(self) -> str:
        return "points" if self.quantity == "accuracy" else "nats"

    @property
    def unit(self) -> str:
        return "%" if self.quantity == "accuracy" else "nats"

    @property
    def least_range(self) -> float:
        """The least range of an axis, for values that are almost equal."""
        return 1.0 if self.quantity == "accuracy" else 0.05

    @property
    def gap_name(self) -> str:
        """The name of the gap with its definition, such as `gap of loss: test - training`."""
        sides = ("training", self.split)
        return f"gap of {self.quantity}: {' - '.join(sides if self.quantity == 'accuracy' else sides[::-1])}"

    def gap_text(self, gap: float) -> str:
        """A gap in the units of the figure as text, with its sign."""
        return f"{gap:+z.1f}" if self.quantity == "accuracy" else _nats(gap, "+")

    def text(self, value: float) -> str:
        """An accuracy or a loss in the units of the figure as text."""
        return f"{value:.1f}" if self.quantity == "accuracy" else _nats(value, "")

    def estimate(self, scores: Scores) -> Estimate:
        """The scores in the units of the figure."""
        scaled = (drawable(value * self.scale) for value in scores.by_seed.values())
        values = tuple(value for value in scaled if math.isfinite(value))
        mean = math.nan if not values else math.fsum(values) / len(values)
        if scores.mean is not None:
            mean = drawable(scores.mean * self.scale)
        low, high = (drawable(end * self.scale) for end in scores.interval or (math.nan, math.nan))
        return Estimate(values, mean, low, high)


def _nats(value: float, sign: str) -> str:
    return f"{value:{sign}z.3f}" if abs(value) < 100 else f"{value:{sign}.2g}"  # large if a run diverged


@dataclass(frozen=True)
class Estimate:
    """Finite values, their mean and its interval, in the units of the figure. What is missing is NaN."""

    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def bounded(self) -> bool:
        """Whether there is a finite interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def count_text(n: int, group: Group) -> str:
    """The number of runs behind a group's scores: `n=5`, `n=3 of 5`, or why there is none."""
    if not n:
        return "no finite value" if group.gap.by_seed else "no finished run"
    return f"n={n}" if n >= group.runs else f"n={n} of {group.runs}"


def counts_text(counts: Iterable[int]) -> str:
    """The numbers of runs of several groups: `n=5`, `n=3 to 5`."""
    known = sorted({count for count in counts if count})
    if not known:
        return "n=0"
    return f"n={known[0]}" if len(known) == 1 else f"n={known[0]} to {known[-1]}"


def drawable(value: float) -> float:
    """`value`, or NaN if it is not finite or too large to draw, or 0 if it is too small."""
    if not abs(value) <= 1 / _TINY:
        return math.nan
    return value if abs(value) >= _TINY else 0.0


def number(value: str | float | None) -> float:
    """A setting's value as a number, also from a list of one number (`[128]`); NaN if it is not a number."""
    if isinstance(value, str):
        value = re.sub(r"^\s*[\[(]([^,\[\]()]*),?\s*[\])]\s*$", r"\1", value)
    try:
        found = float(value) if value is not None else math.nan
    except ValueError:
        return math.nan
    return drawable(found)


def value_text(value: str | float | None) -> str:
    """A setting's value as text: a whole number without `.0`, a dash for None."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}" if value != round(value) else f"{value:.0f}"
    return "-" if value is None else str(value)


def ordered(values: Iterable[str | float | None]) -> list[str]:
    """The distinct values as text: numbers by size, then other texts in the order given."""
    found = list(dict.fromkeys(value_text(value) for value in values))
    return sorted(found, key=lambda text: (math.isnan(number(text)), 0.0 if math.isnan(number(text)) else number(text)))


def varied(groups: Sequence[Group]) -> tuple[str, ...]:
    """The settings with more than one value, in the order of the groups' settings."""
    names = dict.fromkeys(name for group in groups for name in group.settings)
    return tuple(name for name in names if len({value_text(group.settings.get(name)) for group in groups}) > 1)


def is_log(values: Iterable[float]) -> bool:
    """Whether numbers get a logarithmic axis: all are positive and span more than `LOG_DECADES`."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and min(found) > 0 and math.log10(max(found) / min(found)) > LOG_DECADES


def number_text(value: float) -> str:
    """A number as the label of a tick: `0.0003`, `128`, `60,000`, `1.2e+06`."""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e6 or abs(value) < 1e-4 else f"{value:.6g}"


def limits(values: Iterable[float], ends: Iterable[float] = (), least: float = 0.0) -> tuple[float, float]:
    """The limits of an axis for `values` and the `ends` of their intervals, at least `least` apart.

    All finite values are inside. Intervals may widen the range on each side only by three quarters of the range of the
    values, and then continue beyond the edge, because the interval of two runs can be ten times as wide as all values.
    """
    found = [value for value in map(drawable, values) if math.isfinite(value)]
    if not found:
        return -1.0, 1.0
    least = max(least, _FINEST * max(map(abs, found)) if max(found) > min(found) else 0.0)
    short = max(0.0, least - (max(found) - min(found))) / 2
    low, high = min(found) - short, max(found) + short
    stretch = _STRETCH * (high - low) or 0.5 * abs(high) or 1.0
    reached = [end for end in map(drawable, ends) if math.isfinite(end)]
    low, high = max(min([low, *reached]), low - stretch), min(max([high, *reached]), high + stretch)
    beyond = _ROOM * (high - low) or 0.1 * abs(high) or 1.0
    return low - beyond, high + beyond


def counted(count: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {word}{'s' * (count != 1)}"
