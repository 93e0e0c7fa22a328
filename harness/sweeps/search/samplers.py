"""The contract of a sampler, which suggests configurations, and the samplers that are written here.

A sampler remembers nothing between two commands. It is made again at every start and told of every trial in the store,
in the order of their numbers. What it suggests may depend only on what it was told, the number of the trial and the
seed of the study: then a search that was killed makes the suggestions of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness.config.search import SearchConfig, Space, Value, combinations

MOST_LISTED = 100_000
"""A grid has at most so many configurations."""


@dataclass(frozen=True)
class Told:
    """What a sampler is told of a trial.

    `values` are smaller for better trials, one for each objective; None while the trial is running. `violation` is
    above zero if the trial does not meet the constraint, by how much. `failed`: it has no values and gets none.
    """

    number: int
    settings: dict[str, Value]
    values: tuple[float, ...] | None = None
    violation: float = 0.0
    failed: bool = False


class Sampler(Protocol):
    """Suggests the settings of the next trial from those before."""

    def suggest(self, number: int) -> dict[str, Value]:
        """The settings of trial `number`, one of each dimension. The same again if nothing was told in between."""

    def tell(self, trial: Told) -> None:
        """A trial was suggested, has ended or failed, or is worth something else now (a constraint depends on other
        trials too). What was told of this number before is replaced."""


def make_sampler(settings: SearchConfig, space: Space, objectives: int) -> Sampler:
    """The sampler that the settings name."""
    own: Mapping[str, Callable[[Space, int], Sampler]] = {
        "random": Random, "sobol": Sobol, "grid": Grid, "cmaes": CmaEs
    }  # fmt: skip
    if settings.sampler in own:
        return own[settings.sampler](space, settings.study_seed)
    from harness.sweeps.search.optuna_samplers import OptunaSampler

    return OptunaSampler(settings.sampler, space, settings.study_seed, objectives)


class Random:
    """Every trial is drawn independently."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def suggest(self, number: int) -> dict[str, Value]:
        drawn = generator(self._seed, number).random(len(self._space))
        return from_shares(self._space, drawn.tolist())

    def tell(self, trial: Told) -> None:
        """What other trials came to changes nothing."""


class Sobol:
    """The points of a scrambled Sobol sequence, in its order."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def suggest(self, number: int) -> dict[str, Value]:
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self._space), rng=np.random.default_rng(self._seed))
        if number:
            sequence.fast_forward(number)
        return from_shares(self._space, sequence.random(1)[0].tolist())

    def tell(self, trial: Told) -> None:
        """What other trials came to changes nothing."""


class Grid:
    """Every combination once, in random order. Its space must be finite (see `request.check_grid`)."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._order = generator(seed, 0).permutation(combinations(space) or 0)

    def suggest(self, number: int) -> dict[str, Value]:
        return combination(self._space, int(self._order[number % len(self._order)]))

    def tell(self, trial: Told) -> None:
        """What other trials came to changes nothing."""


@dataclass
class CmaEs:
    """CMA-ES over the numbers of the space: after each generation of trials, their normal distribution moves towards
    the better ones. Choices are drawn at random, because a normal distribution has no place for them.

    Trials that violate the constraint count as worse than all others, by their violation.
    """

    space: Space
    seed: int
    _told: dict[int, Told] = field(default_factory=dict)

    def suggest(self, number: int) -> dict[str, Value]:
        drawn = from_shares(self.space, generator(self.seed, number).random(len(self.space)).tolist())
        numbers = [key for key, dimension in self.space.items() if not dimension.choices]
        if numbers:
            point = self._distribution(numbers, number)
            drawn |= {key: self.space[key].at_share(share) for key, share in zip(numbers, point, strict=True)}
        return drawn

    def tell(self, trial: Told) -> None:
        self._told[trial.number] = trial

    def _distribution(self, numbers: Sequence[str], number: int) -> list[float]:
        """A point of the distribution after all whole generations: trial by trial in the order of their numbers."""
        from cmaes import CMA

        size = len(numbers)
        bounds = np.array([[0.0, 1.0]] * size)
        search = CMA(
            np.full(size, 0.5), 0.3, bounds, seed=self.seed, population_size=max(5, 4 + int(3 * math.log(size)))
        )
        generation = []
        for trial in sorted(self._told.values(), key=lambda trial: trial.number):
            if trial.number >= number or (trial.values is None and not trial.failed):
                continue
            point = np.array([self.space[key].share_of(trial.settings[key]) for key in numbers])
            generation.append((point, trial))
            if len(generation) == search.population_size:
                search.tell(list(zip([point for point, _ in generation], self._worth([of for _, of in generation]),
                                     strict=True)))  # fmt: skip
                generation = []
        search.reseed_rng(int(generator(self.seed, number).integers(2**31)))
        return [float(share) for share in search.ask()]

    @staticmethod
    def _worth(trials: Sequence[Told]) -> list[float]:
        """The place of each trial of a generation, the best first: the method uses no more than the order."""
        keys = [
            (trial.values is None, max(trial.violation, 0.0), trial.values[0] if trial.values else 0.0)
            for trial in trials
        ]
        return [float(sorted(keys).index(key)) for key in keys]


def generator(seed: int, number: int) -> np.random.Generator:
    """The random numbers of one trial: they depend on the study's seed and the trial's number only."""
    return np.random.default_rng([seed, number])


def from_shares(space: Space, shares: Sequence[float]) -> dict[str, Value]:
    """The settings at a point of the unit cube."""
    return {key: space[key].at_share(share) for key, share in zip(space, shares, strict=True)}


def combination(space: Space, index: int) -> dict[str, Value]:
    """The configuration at a place of a finite space: the last setting changes fastest."""
    found: dict[str, Value] = {}
    for key in reversed(list(space)):
        index, place = divmod(index, space[key].size or 1)
        found[key] = space[key].at(place)
    return {key: found[key] for key in space}


def untried(space: Space, tried: Sequence[dict[str, Value]], seed: int, number: int) -> dict[str, Value] | None:
    """A random configuration of a finite space that was not tried; None if all were."""
    size = combinations(space) or 0
    known = {tuple(settings.values()) for settings in tried}
    if len(known) >= size:
        return None
    for index in generator(seed, number).permutation(size) if size <= MOST_LISTED else range(size):
        if tuple((settings := combination(space, int(index))).values()) not in known:
            return settings
    return None
