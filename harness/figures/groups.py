"""What the figures of a comparison are made from: groups of runs that differ in their seed only.

Means and intervals are statistics, and statistics are not made here: whoever calls gives them. Numbers come in as the
store has them (accuracies and their gaps as fractions, losses in nats) and are drawn in percent, points and nats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.records import Place

LOG_DECADES = 1.5
"""Positive numbers that span more than this are put on a logarithmic axis."""
_ROOM = 0.06  # of an axis, beyond the outermost values
_FINEST = 1e-9  # of a number that differences are drawn of
_STRETCH = 0.75  # of the range of the values, by which intervals may widen it on either side

HeldOut = Literal["val", "test"]
Quantity = Literal["accuracy", "loss"]
_TINY = 1e-30
"""What is less is drawn as 0, and what is more than one part of it is not drawn: axes count their steps in floats."""


@dataclass(frozen=True)
class Scores:
    """One score of a group: a value a seed, their mean and its interval (low, high).

    Keys tell runs apart, so a seed that was run twice needs two keys. Values may be NaN or infinite. Where no `mean`
    is given it is that of the finite values; where no `interval` is given none is drawn.
    """

    by_seed: Mapping[str, float] = field(default_factory=dict)
    mean: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Group:
    """Runs that share their settings; `settings` holds those that tell groups apart, by name, as text or number.

    `runs` is how many were asked for: with fewer finite gaps than that, the group is marked as incomplete. 0 stands for
    as many as `gap` has. `place` is what the comparison says of the group beside the others: on the Pareto front, or
    underfit; `front_share` is the share of resamples that put it on the front, NaN if not known.
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
    """Which gap is drawn: of what, against which split. `note` is written on the figure ("selected on ...")."""

    quantity: Quantity = "accuracy"
    held_out: HeldOut = "test"
    note: str = ""

    @property
    def split(self) -> str:
        """The held-out split in a word."""
        return "validation" if self.held_out == "val" else "test"

    @property
    def scale(self) -> float:
        """From the store's numbers to those that are drawn."""
        return 100.0 if self.quantity == "accuracy" else 1.0

    @property
    def gap_unit(self) -> str:
        return "points" if self.quantity == "accuracy" else "nats"

    @property
    def unit(self) -> str:
        return "%" if self.quantity == "accuracy" else "nats"

    @property
    def least_range(self) -> float:
        """The least range of an axis that is worth drawing, where all values are nearly one."""
        return 1.0 if self.quantity == "accuracy" else 0.05

    @property
    def gap_name(self) -> str:
        """What the gap is, with its sign: positive means overfitting."""
        sides = ("training", self.split)
        return f"gap of {self.quantity}: {' - '.join(sides if self.quantity == 'accuracy' else sides[::-1])}"

    def gap_text(self, gap: float) -> str:
        """A gap as it is drawn, with its sign."""
        return f"{gap:+z.1f}" if self.quantity == "accuracy" else _nats(gap, "+")

    def text(self, value: float) -> str:
        """An accuracy or a loss as it is drawn."""
        return f"{value:.1f}" if self.quantity == "accuracy" else _nats(value, "")

    def estimate(self, scores: Scores) -> Estimate:
        """The scores as they are drawn."""
        scaled = (drawable(value * self.scale) for value in scores.by_seed.values())
        values = tuple(value for value in scaled if math.isfinite(value))
        mean = math.nan if not values else math.fsum(values) / len(values)
        if scores.mean is not None:
            mean = drawable(scores.mean * self.scale)
        low, high = (drawable(end * self.scale) for end in scores.interval or (math.nan, math.nan))
        return Estimate(values, mean, low, high)


def _nats(value: float, sign: str) -> str:
    return f"{value:{sign}z.3f}" if abs(value) < 100 else f"{value:{sign}.2g}"  # of a run that diverged


@dataclass(frozen=True)
class Estimate:
    """Finite values, their mean and its interval, in the numbers that are drawn; NaN stands for what there is not."""

    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def bounded(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def count_text(n: int, group: Group) -> str:
    """How many runs a group's figures rest on: `n=5`, `n=3 of 5`, or why there are none."""
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
    """A number as axes can hold it: NaN for one that is not finite or out of all reason, 0 for next to nothing."""
    if not abs(value) <= 1 / _TINY:
        return math.nan
    return value if abs(value) >= _TINY else 0.0


def number(value: str | float | None) -> float:
    """The number that a setting's value is, a list of one number (`[128]`) included; NaN for what is none."""
    if isinstance(value, str):
        value = re.sub(r"^\s*[\[(]([^,\[\]()]*),?\s*[\])]\s*$", r"\1", value)
    try:
        found = float(value) if value is not None else math.nan
    except ValueError:
        return math.nan
    return drawable(found)


def value_text(value: str | float | None) -> str:
    """A setting's value as it is written: a whole number without its `.0`, and a dash for none."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}" if value != round(value) else f"{value:.0f}"
    return "-" if value is None else str(value)


def ordered(values: Iterable[str | float | None]) -> list[str]:
    """The different values as text: numbers by size, then words as they come."""
    found = list(dict.fromkeys(value_text(value) for value in values))
    return sorted(found, key=lambda text: (math.isnan(number(text)), 0.0 if math.isnan(number(text)) else number(text)))


def varied(groups: Sequence[Group]) -> tuple[str, ...]:
    """The settings that take more than one value, in the order in which the groups name them."""
    names = dict.fromkeys(name for group in groups for name in group.settings)
    return tuple(name for name in names if len({value_text(group.settings.get(name)) for group in groups}) > 1)


def is_log(values: Iterable[float]) -> bool:
    """Whether numbers belong on a logarithmic axis: all positive, and over more than `LOG_DECADES`."""
    found = [value for value in values if math.isfinite(value)]
    return bool(found) and min(found) > 0 and math.log10(max(found) / min(found)) > LOG_DECADES


def number_text(value: float) -> str:
    """A number as it stands at an axis: `0.0003`, `128`, `60,000`, `1.2e+06`."""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e6 or abs(value) < 1e-4 else f"{value:.6g}"


def limits(values: Iterable[float], ends: Iterable[float] = (), least: float = 0.0) -> tuple[float, float]:
    """The range of an axis: it holds every finite one of `values`, and `ends` of intervals as far as that is bearable.

    The interval of two runs can be ten times as wide as everything else; it widens the range on each side by three
    quarters of the range of the values, and continues beyond the edge. The range is `least` wide at least.
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
