"""Optuna's samplers behind our contract. Its study is in memory only, made from the trials that the store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.trial import Trial as OptunaTrial

from harness.config.search import Dimension, Space, Value
from harness.sweeps.search.samplers import Told, generator

CONSTRAINT = "accuracy"
POPULATION = 20
"""Trials of a generation of NSGA-II: Optuna's 50 are more than most searches of trained networks have."""


class OptunaSampler:
    """TPE (`tpe`) or NSGA-II (`nsga2`), seeded again for each trial.

    Trials are added to Optuna's study in the order of their numbers, so its numbers are ours. A trial that has ended is
    told to it. Where a trial is worth something else than before, the study is made again.
    """

    def __init__(self, name: str, space: Space, seed: int, objectives: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._name, self._space, self._seed, self._objectives = name, space, seed, objectives
        self._distributions = {key: distribution(dimension) for key, dimension in space.items()}
        self._told: dict[int, Told] = {}
        self._added: dict[int, Told] = {}
        self._news: set[int] = set()
        self._study = self._new_study()

    def suggest(self, number: int) -> dict[str, Value]:
        self._bring_up_to_date(number)
        self._study.sampler = self._sampler(number)
        asked = self._study.ask(self._distributions)
        found = {key: self._space[key].at(int(value)) if (dimension := self._space[key]).choices
                 else dimension.number(value) for key, value in asked.params.items()}  # fmt: skip
        self._added[number] = Told(number, {key: found[key] for key in self._space})
        return dict(self._added[number].settings)

    def tell(self, trial: Told) -> None:
        if self._told.get(trial.number) != trial:
            self._told[trial.number] = trial
            self._news.add(trial.number)

    def _bring_up_to_date(self, number: int) -> None:
        """Let Optuna's study have the trials before `number`, and no other."""
        last = max(self._added, default=-1)
        if last >= number or (last >= 0 and last not in self._told) or any(map(self._has_changed, self._news)):
            self._added, self._study, self._news = {}, self._new_study(), set(self._told)
        for key in sorted(key for key in self._news if key < number):
            told = self._told[key]
            if key not in self._added:
                self._add(told)
            elif self._added[key] != told:
                self._end(told)
            self._added[key] = told
        self._news = {key for key in self._news if key >= number}

    def _has_changed(self, number: int) -> bool:
        """Whether a trial is something else than what Optuna's study has of it, and has not just ended."""
        told, added = self._told[number], self._added.get(number)
        if added is None or added == told:
            return False
        return added.settings != told.settings or added.values is not None or added.failed or told.epochs is not None

    def _add(self, told: Told) -> None:
        has_paused = told.epochs is not None and self._objectives == 1 and told.values is not None
        state = (
            TrialState.PRUNED if has_paused
            else TrialState.FAIL if told.failed or told.epochs is not None
            else TrialState.RUNNING if told.values is None
            else TrialState.COMPLETE
        )  # fmt: skip
        params = {key: self._internal(key, value) for key, value in told.settings.items()}
        self._study.add_trial(
            create_trial(
                state=state, values=told.values if told.epochs is None else None,
                params=params, distributions=self._distributions,
                constraints={CONSTRAINT: told.violation} if told.values is not None else None,
                intermediate_values={told.epochs or 0: (told.values or (0.0,))[0]} if has_paused else None,
                system_attrs={Population._get_generation_key(): told.number // POPULATION},
            )
        )  # fmt: skip

    def _end(self, told: Told) -> None:
        """A trial that Optuna counts as running has ended."""
        if told.failed:
            self._study.tell(told.number, state=TrialState.FAIL)
            return
        trial = OptunaTrial(self._study, self._study.get_trials(deepcopy=False)[told.number]._trial_id)
        trial.set_constraint(CONSTRAINT, told.violation)
        self._study.tell(trial, list(told.values or ()))

    def _internal(self, key: str, value: Value) -> Any:
        choices = self._space[key].choices
        return choices.index(str(value)) if choices else value

    def _new_study(self) -> optuna.Study:
        storage = _Rounded(self._space)
        return optuna.create_study(storage=storage, directions=["minimize"] * self._objectives)

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(generator(self._seed, number).integers(2**31))
        if self._name == "nsga2":
            for generation in range(1, number // POPULATION + 1):  # the choice of parents draws random numbers too
                Population(seed=generation, population_size=POPULATION).get_parent_population(self._study, generation)
            return Population(seed=seed, population_size=POPULATION)
        is_any_ended = any(told.values is not None for told in self._added.values())
        return TreeParzen(seed, self._distributions if is_any_ended else {})


class TreeParzen(TPESampler):
    """TPE that knows the space, in which all trials have the same settings: Optuna's looks for it in every trial, for
    each suggestion, which takes most of the time after hundreds of them."""

    def __init__(self, seed: int, distributions: Mapping[str, BaseDistribution]) -> None:
        super().__init__(seed=seed)
        self._known = {key: of for key, of in sorted(distributions.items()) if not of.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._known if self._is_multivariate(study) else {}

    def _get_internal_repr(
        self, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, np.ndarray]:
        return {
            key: np.asarray([of.to_internal_repr(trial.params[key]) for trial in trials])
            for key, of in search_space.items()
        }


class Population(NSGAIISampler):
    """NSGA-II whose generations are so many trials each, also where some failed: so a study that is made again has
    the same ones."""

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        generation = trial.number // POPULATION
        if self._get_generation_key() not in trial.system_attrs:
            study._storage.set_trial_system_attr(trial._trial_id, self._get_generation_key(), generation)
        return generation


class _Rounded(InMemoryStorage):
    """Keeps the numbers of a new trial as they will be trained: with four digits."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        dimension = self._space[param_name]
        if not dimension.choices:
            param_value_internal = float(dimension.number(param_value_internal))
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna's distribution; of a choice, that of the places in it."""
    if dimension.choices:
        return CategoricalDistribution(list(range(len(dimension.choices))))
    if dimension.whole:
        step = 1 if dimension.log else int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
