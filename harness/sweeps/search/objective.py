"""What the scores of trials are worth: objective and constraint, the winners, and which trials cannot win any more.

Only scores of training and validation images are seen here. All values are smaller for better trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from harness.analysis.statistics import t_quantile
from harness.config.search import SearchConfig
from harness.records import RunRecord

LEAST_FREEDOM = 2
"""Degrees of freedom from which a spread is believed."""
METRICS = {"gap": "final/gap_val_accuracy", "accuracy": "final/val_accuracy", "loss": "final/val_loss"}
"""The metric of a run for each measure."""

Scores = Mapping[str, float]
"""The measures of one run, or their means over seeds: gap and accuracy as fractions, loss in nats."""


@dataclass(frozen=True)
class TrialScores:
    """The scores of a trial under the seeds that have ended; `whole`: all of its seeds have."""

    number: int
    seeds: tuple[Scores, ...]
    whole: bool

    @cached_property
    def mean(self) -> Scores:
        """The mean of each measure over the seeds so far."""
        return {name: fmean(scores[name] for scores in self.seeds) for name in METRICS}


def scores_of(run: RunRecord) -> Scores | None:
    """The measures of a finished run; None if one is missing or not finite."""
    found = {name: run.metrics.get(metric, math.nan) for name, metric in METRICS.items()}
    return found if all(map(math.isfinite, found.values())) else None


class Objective:
    """What `search.objective` asks for, over the given outcomes of trials."""

    def __init__(self, settings: SearchConfig, seeds: int, outcomes: Sequence[TrialScores]) -> None:
        self._name, self._within, self._seeds = settings.objective, settings.within / 100, seeds
        self._least = None if settings.min_accuracy is None else settings.min_accuracy / 100
        self._outcomes = outcomes
        self._whole = {outcome.number: outcome.mean for outcome in outcomes if outcome.whole}
        self._spread: dict[str, tuple[float, int]] = {}

    @staticmethod
    def count(settings: SearchConfig) -> int:
        """How many values a trial has."""
        return 2 if settings.objective == "pareto" else 1

    def values(self, mean: Scores) -> tuple[float, ...]:
        """What a trial with this mean is worth."""
        return {
            "gap": (mean["gap"],),
            "accuracy": (-mean["accuracy"],),
            "loss": (mean["loss"],),
            "pareto": (-mean["accuracy"], mean["gap"]),
        }[self._name]

    @cached_property
    def floor(self) -> float | None:
        """The validation accuracy that a trial must have; None: any will do."""
        if self._name == "gap" and self._least is not None:
            return self._least
        if self._name != "gap" or not self._whole:
            return None
        return max(mean["accuracy"] for mean in self._whole.values()) - self._within

    def violation(self, mean: Scores) -> float:
        """How much less accurate than the floor a trial is; 0 or less if it is accurate enough."""
        return -1.0 if self.floor is None else self.floor - mean["accuracy"]

    @cached_property
    def winners(self) -> list[int]:
        """The best of the trials whose seeds have all ended: one, or the front with the most accurate first."""
        if self._name == "pareto":
            front = [number for number in self._whole if not any(
                self._dominates(other, self._whole[number]) for other in self._whole.values())]  # fmt: skip
            return sorted(front, key=lambda number: (*self.values(self._whole[number]), number))
        able = [number for number, mean in self._whole.items() if self.violation(mean) <= 1e-12]
        return sorted(able, key=lambda number: (*self.values(self._whole[number]), number))[:1]

    def _dominates(self, one: Scores, other: Scores) -> bool:
        pairs = list(zip(self.values(one), self.values(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    def cannot_win(self, outcome: TrialScores) -> str:
        """Why a trial with some seeds left is behind, whatever they bring; empty if it may still win."""
        if outcome.whole or not outcome.seeds:
            return ""
        winners, mean = self.winners, outcome.mean
        if None in (reach := {name: self._reach(name, len(outcome.seeds)) for name in METRICS}).values():
            return ""
        so_far = f"after {len(outcome.seeds)} of {self._seeds} seeds"
        highest = mean["accuracy"] + (reach["accuracy"] or 0.0)
        lowest = mean["gap"] - (reach["gap"] or 0.0)
        if self.floor is not None and highest < self.floor:
            return f"{_percent(mean)} accuracy {so_far} cannot come to the {100 * self.floor:.2f} % that are needed"
        if not winners:
            return ""
        if self._name == "pareto":
            front = {number: self._whole[number] for number in winners}
            ahead = [number for number, of in front.items() if of["accuracy"] >= highest and of["gap"] <= lowest]
            told = f"{_percent(mean)} accuracy with a gap of {_points(mean)}"
        else:
            best = winners[0]
            behind = self.values(mean)[0] - (reach[self._name] or 0.0) > self.values(self._whole[best])[0]
            # A more accurate trial may raise the floor above the best one, however large its own gap is.
            rises = self.floor is not None and self._least is None
            replaces = rises and highest - self._within > self._whole[best]["accuracy"]
            ahead = [best] if behind and not replaces else []
            told = _IN_WORDS[self._name](mean)
        return f"{told} {so_far} cannot catch up with trial {ahead[0]}" if ahead else ""

    def _reach(self, name: str, ended: int) -> float | None:
        """How far the mean over all seeds may still move, with a probability of 95 %: by the spread among the seeds of
        all trials. None if that is not known yet."""
        spread, freedom = self._spread_of(name)
        if freedom < LEAST_FREEDOM:
            return None
        left = (self._seeds - ended) / (self._seeds * ended)
        return t_quantile(freedom) * spread * math.sqrt(left)

    def _spread_of(self, name: str) -> tuple[float, int]:
        """The standard deviation among the seeds of a trial, pooled over all trials, and its degrees of freedom."""
        if name not in self._spread:
            squares, freedom = 0.0, 0
            for outcome in self._outcomes:
                values = [scores[name] for scores in outcome.seeds]
                if len(values) > 1:
                    squares += sum((value - fmean(values)) ** 2 for value in values)
                    freedom += len(values) - 1
            self._spread[name] = (math.sqrt(squares / freedom) if freedom else 0.0, freedom)
        return self._spread[name]


def _percent(mean: Scores) -> str:
    return f"{100 * mean['accuracy']:.2f} %"


def _points(mean: Scores) -> str:
    return f"{100 * mean['gap']:+.2f} points"


_IN_WORDS: Mapping[str, Callable[[Scores], str]] = {
    "gap": lambda mean: f"a gap of {_points(mean)}",
    "accuracy": lambda mean: f"{_percent(mean)} accuracy",
    "loss": lambda mean: f"a loss of {mean['loss']:.4f}",
}


def in_words(mean: Scores) -> str:
    """`val 88.10 %  gap to val +1.20 points`."""
    return f"val {_percent(mean)}  gap to val {_points(mean)}"
