"""Samplers find good configurations, and suggest the same ones after a restart."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from optuna.samplers import TPESampler

from harness.config.search import SAMPLERS, Dimension, SearchConfig, Space, Value, combinations
from harness.sweeps.search import optuna_samplers
from harness.sweeps.search.samplers import Sampler, Told, combination, make_sampler, untried

NUMBERS: Space = {
    "rate": Dimension(low=1e-4, high=0.1, log=True),
    "drop": Dimension(low=0, high=0.5, step=0.1),
    "width": Dimension(low=16, high=512, whole=True, log=True),
    "kind": Dimension(choices=("plain", "deep", "wide")),
}
FINITE: Space = {"drop": NUMBERS["drop"], "kind": NUMBERS["kind"]}


def made(settings: dict[str, Value]) -> float:
    """A smooth function with its optimum at a rate of 0.01, a drop of 0.3 and `wide`."""
    rate, drop = float(settings.get("rate", 0.01)), float(settings["drop"])
    return (math.log10(rate) + 2) ** 2 + 4 * (drop - 0.3) ** 2 + 0.3 * (settings["kind"] != "wide")


def searched(name: str, space: Space, count: int, seed: int = 0, cut: int | None = None) -> list[dict[str, Value]]:
    """The suggestions of a search over the made function; with every trial told again in a new process at `cut`."""
    sampler, told, found = sampler_of(name, space, seed), list[Told](), list[dict[str, Value]]()
    for number in range(count):
        if number == cut:
            sampler = sampler_of(name, space, seed)
            for trial in told:
                sampler.tell(trial)
        settings = sampler.suggest(number)
        found.append(settings)
        sampler.tell(Told(number, settings))
        violation = 0.1 if settings["kind"] == "plain" else -0.1
        ended = Told(number, settings, failed=True) if number % 11 == 5 else Told(
            number, settings, (made(settings),), violation)  # fmt: skip
        told.append(ended)
        sampler.tell(ended)
    return found


def sampler_of(name: str, space: Space, seed: int = 0, objectives: int = 1) -> Sampler:
    return make_sampler(SearchConfig(sampler=name, study_seed=seed), space, objectives)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_was_cut_makes_the_suggestions_of_one_that_was_not(name: str) -> None:
    space = FINITE if name == "grid" else NUMBERS
    whole = searched(name, space, 45)
    assert searched(name, space, 45, cut=23) == whole
    assert all(space[key].has(value) for settings in whole for key, value in settings.items())
    assert searched(name, space, 5, seed=1) != whole[:5]


def test_a_known_space_changes_no_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = searched("tpe", NUMBERS, 40)
    monkeypatch.setattr(optuna_samplers, "TreeParzen", lambda seed, distributions: TPESampler(seed=seed))
    assert searched("tpe", NUMBERS, 40) == ours


def test_a_made_functions_optimum_is_found_in_more_than_nine_of_ten_seeds() -> None:
    found = [min(map(made, searched("tpe", NUMBERS, 40, seed))) < 0.15 for seed in range(11)]
    assert sum(found) >= 10


def test_a_grid_has_every_combination_once_in_random_order() -> None:
    found = searched("grid", FINITE, 18)
    assert len({tuple(settings.values()) for settings in found}) == combinations(FINITE) == 18
    assert found != [combination(FINITE, index) for index in range(18)]


def test_trials_that_are_still_running_are_not_suggested_again() -> None:
    sampler, space = sampler_of("tpe", NUMBERS), NUMBERS
    for number in range(12):
        settings = sampler.suggest(number)
        sampler.tell(Told(number, settings, (made(settings),), -1.0))
    running = [settings := sampler.suggest(number) for number in range(12, 20)]
    assert len({tuple(settings.values()) for settings in running}) == 8
    assert set(settings) == set(space)


def test_a_trial_that_is_worth_something_else_now_counts_as_if_it_had_always_been() -> None:
    """The accuracy that is needed rises during a search, so trials that were good enough are not any more."""
    first, trials = sampler_of("tpe", NUMBERS), list[Told]()
    for number in range(15):
        settings = first.suggest(number)
        trials.append(Told(number, settings, (made(settings),), -1.0))
        first.tell(trials[-1])
    changed = [replace(trial, violation=5.0 if trial.number % 2 else -1.0) for trial in trials]
    fresh, unchanged = sampler_of("tpe", NUMBERS), sampler_of("tpe", NUMBERS)
    for trial in trials:
        unchanged.tell(trial)
    for trial in changed:
        first.tell(trial)
        fresh.tell(trial)
    assert first.suggest(15) == fresh.suggest(15) != unchanged.suggest(15)


def test_nsga2_searches_a_front() -> None:
    sampler = sampler_of("nsga2", NUMBERS, objectives=2)
    for number in range(50):
        settings = sampler.suggest(number)
        sampler.tell(Told(number, settings, (made(settings), float(settings["width"])), -1.0))
    assert all(NUMBERS[key].has(value) for key, value in sampler.suggest(50).items())


def test_what_was_not_tried_is_found_until_nothing_is_left() -> None:
    tried: list[dict[str, Value]] = [combination(FINITE, index) for index in range(18) if index != 7]
    assert untried(FINITE, tried, 0, 3) == combination(FINITE, 7)
    assert untried(FINITE, [*tried, combination(FINITE, 7)], 0, 3) is None


def test_numbers_have_four_digits_and_stay_in_their_interval() -> None:
    rate = Dimension(low=0.00012345678, high=0.1, log=True)
    assert (rate.at_share(0.0), rate.number(0.0001), rate.number(7)) == (0.0001235, 0.00012345678, 0.1)
    assert rate.at_share(0.5) == 0.003514
    assert [Dimension(low=1, high=3, whole=True).at_share(share) for share in (0, 0.34, 0.99, 1)] == [1, 2, 3, 3]
    assert rate.share_of(rate.at_share(0.25)) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.long
def test_suggesting_stays_fast_for_a_thousand_trials() -> None:
    sampler, seconds = sampler_of("tpe", NUMBERS), list[float]()
    for number in range(1000):
        began = time.process_time()
        settings = sampler.suggest(number)
        sampler.tell(Told(number, settings, (made(settings),), -1.0))
        seconds.append(time.process_time() - began)
    assert _median(seconds[-100:]) < 0.05


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
