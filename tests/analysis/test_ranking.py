from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harness.analysis.ranking import Demand, is_underfit, pareto_front


def test_the_front_is_that_of_comparing_every_pair() -> None:
    rng = np.random.default_rng(0)
    accuracies, gaps = (rng.integers(0, 12, 60) / 12).tolist(), (rng.integers(0, 12, 60) / 12).tolist()

    def beaten(one: int) -> bool:
        return any(
            accuracies[other] >= accuracies[one] and gaps[other] <= gaps[one]
            and (accuracies[other], gaps[other]) != (accuracies[one], gaps[one])
            for other in range(60)
        )  # fmt: skip

    assert pareto_front(accuracies, gaps) == [not beaten(one) for one in range(60)]


def test_equal_rows_are_on_the_front_together_and_unknown_ones_never() -> None:
    assert pareto_front([0.9, 0.9, math.nan, 0.95], [0.1, 0.1, 0.0, math.nan]) == [True, True, False, False]
    assert pareto_front([], []) == []


def test_the_floor_is_the_higher_of_both_demands() -> None:
    accuracies = [0.7, math.nan, 0.9]
    floors = {demand: demand.floor(accuracies) for demand in itertools.starmap(Demand, [(0.8, 0.05), (0.88, 0.05)])}
    assert floors[Demand(0.8, 0.05)] == pytest.approx(0.85)
    assert floors[Demand(0.88, 0.05)] == 0.88
    assert Demand(None, None).floor(accuracies) is None
    assert Demand(None, 0.02).floor([math.nan]) is None


def test_a_row_at_the_floor_is_not_underfit_nor_is_one_whose_accuracy_is_unknown() -> None:
    assert not is_underfit(0.9 - 0.02, Demand(None, 0.02).floor([0.9]))
    assert is_underfit(0.8799, 0.88)
    assert not is_underfit(math.nan, 0.88)
    assert not is_underfit(0.1, None)
