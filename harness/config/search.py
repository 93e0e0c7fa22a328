"""The settings of a search, and the space that it searches: a dimension for each setting with several values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.config.traits import setting
from harness.errors import ConfigError, StoreError

SAMPLERS = ("tpe", "random", "cmaes", "nsga2", "grid", "sobol")
PRUNERS = ("none", "median", "halving")
OBJECTIVES = ("gap", "accuracy", "loss", "pareto")
USUAL_TRIALS = 50
"""How many trials a search has if neither `trials` nor `time` is given."""
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")

Value = str | int | float
"""A value of a dimension: of a choice as it is written on the command line, else a number."""


@dataclass
class SearchConfig:
    """What a search looks for, and how long. A trial is a configuration under `seeds` seeds."""

    sampler: str = setting("tpe", choices=SAMPLERS)
    trials: int | None = setting(None, at_least=1)
    time: str | None = None
    seeds: int = setting(3, at_least=1)
    racing: bool = True
    objective: str = setting("gap", choices=OBJECTIVES)
    within: float = setting(2.0, at_least=0)
    min_accuracy: float | None = setting(None, above=0, at_most=100)
    pruner: str = setting("none", choices=PRUNERS)
    confirm: int = setting(5, at_least=0)
    study_seed: int = setting(0, at_least=0, at_most=2**32 - 1)

    @property
    def most_trials(self) -> int | None:
        """The number of trials after which the search ends; None: only time ends it."""
        return USUAL_TRIALS if self.trials is None and self.time is None else self.trials

    @property
    def seconds(self) -> float | None:
        """`time` in seconds. Raises `ConfigError` if it is no time.

        Example:
            >>> SearchConfig(time="1h30m").seconds
            5400.0
        """
        if self.time is None:
            return None
        found = _TIME.fullmatch(str(self.time).strip())
        parts = [float(part or 0) for part in found.groups()] if found else []
        seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
        if not 0 < seconds < math.inf:
            raise ConfigError(f"search.time={self.time}: must be a time such as 2h, 90m, 1h30m or 45s.")
        return seconds


@dataclass(frozen=True)
class Dimension:
    """The values that a setting (or a group) may take: those in `choices`; else numbers from `low` to `high`, both
    included, in steps of `step` if it is given. `log`: small values are searched as finely as large ones."""

    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    step: float | None = None

    @property
    def size(self) -> int | None:
        """The number of values; None if there is no end of them."""
        if self.choices:
            return len(self.choices)
        step = self.step or (1 if self.whole else None)
        return None if step is None else int(round((self.high - self.low) / step, 9)) + 1

    def at(self, index: int) -> Value:
        """The value at a place from 0, for a dimension with a `size`."""
        if self.choices:
            return self.choices[index]
        return self.number(self.low + index * (self.step or 1))

    def at_share(self, share: float) -> Value:
        """The value at a share of the way from the first value to the last; `share` is from 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if (size := self.size) is not None and not self.log:
            return self.at(min(int(share * size), size - 1))
        if self.log:
            return self.number(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return self.number(self.low + share * (self.high - self.low))

    def share_of(self, value: Value) -> float:
        """The inverse of `at_share` for a number: its place between `low` and `high`, from 0 to 1."""
        low, high, number = self.low, self.high, float(value)
        if self.log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return 0.5 if high == low else (number - low) / (high - low)

    def number(self, value: float) -> Value:
        """The number of this dimension next to `value`; four digits of it if it is no whole one."""
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        digits = value if self.step else float(f"{value:.4g}")
        return min(max(round(digits, 12), self.low), self.high)

    def has(self, value: object) -> bool:
        """Whether `value` is one of this dimension."""
        if self.choices:
            return value in self.choices
        is_number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        """As it is written on the command line."""
        if self.choices:
            return ", ".join(self.choices)
        between = f"{_short(self.low)} to {_short(self.high)}"
        steps = f" in steps of {_short(self.step)}" if self.step and not (self.whole and self.step == 1) else ""
        return between + steps + (", log" if self.log else "")


def _short(number: float) -> str:
    return f"{number:g}"


Space = Mapping[str, Dimension]
"""The dimensions of a search by their settings (or groups), in the order in which they were given."""


def combinations(space: Space) -> int | None:
    """How many configurations a space has; None if there is no end of them."""
    sizes = [dimension.size for dimension in space.values()]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def checked(space: Space, values: object) -> dict[str, Value]:
    """Values that a store gives for a configuration of the space. Raises `StoreError` if they are not in it: the store
    may be somebody else's, and values become overrides."""
    if not isinstance(values, dict) or values.keys() != space.keys():
        raise StoreError(f"A trial of this search has other settings than {', '.join(space)}.")
    for key, value in values.items():
        if not space[key].has(value):
            raise StoreError(f"A trial of this search has {key}={str(value)[:50]}, which is not in its space.")
    return {key: values[key] for key in space}


def words(values: Mapping[str, Value]) -> list[str]:
    """The overrides of a configuration."""
    return [f"{key}={value if isinstance(value, str) else repr(value)}" for key, value in values.items()]
