"""What trials are worth: the constraint, the front, and trials that cannot win any more."""

from __future__ import annotations

import numpy as np
import pytest

from harness.config.search import SearchConfig
from harness.sweeps.search.objective import Objective, Scores, TrialScores

SEEDS = 3


def scores(accuracy: float, gap: float, loss: float = 0.5) -> Scores:
    return {"accuracy": accuracy, "gap": gap, "loss": loss}


def whole(number: int, accuracy: float, gap: float, spread: float = 0.001) -> TrialScores:
    """A trial under all its seeds, with these means."""
    return TrialScores(number, tuple(scores(accuracy + by, gap + by) for by in (-spread, 0.0, spread)), whole=True)


def begun(number: int, accuracy: float, gap: float) -> TrialScores:
    return TrialScores(number, (scores(accuracy, gap),), whole=False)


def objective(name: str, *outcomes: TrialScores, within: float = 2.0, min_accuracy: float | None = None) -> Objective:
    return Objective(SearchConfig(objective=name, within=within, min_accuracy=min_accuracy), SEEDS, outcomes)


TRIALS = whole(0, 0.88, 0.030), whole(1, 0.87, 0.012), whole(2, 0.84, 0.001), whole(3, 0.865, 0.020)


@pytest.mark.parametrize(("name", "winners"), [("gap", [1]), ("accuracy", [0]), ("pareto", [0, 1, 2]), ("loss", [0])])
def test_the_winner_is_what_the_objective_says(name: str, winners: list[int]) -> None:
    assert objective(name, *TRIALS).winners == winners


def test_the_smallest_gap_counts_only_among_accurate_trials() -> None:
    """Trial 2 has hardly a gap, because it has learnt little."""
    assert objective("gap", *TRIALS, within=2).winners == [1]
    assert objective("gap", *TRIALS, within=5).winners == [2]
    assert objective("gap", *TRIALS, within=0).winners == [0]
    found = objective("gap", *TRIALS)
    assert found.floor == pytest.approx(0.86)
    assert [found.violation(trial.mean) > 0 for trial in TRIALS] == [False, False, True, False]


def test_an_accuracy_that_is_asked_for_replaces_the_distance_to_the_best() -> None:
    assert objective("gap", *TRIALS, min_accuracy=87.5).winners == [0]
    found = objective("gap", *TRIALS, min_accuracy=95)
    assert found.winners == []
    assert "cannot come to the 95.00 % that are needed" in found.cannot_win(begun(4, 0.70, 0.0))
    assert objective("gap", *TRIALS, min_accuracy=80).cannot_win(begun(4, 0.92, 0.09)) != "", "no trial raises it"


def test_trials_with_seeds_left_do_not_win() -> None:
    assert objective("accuracy", *TRIALS, begun(4, 0.99, 0.0)).winners == [0]
    assert objective("gap", begun(0, 0.9, 0.0)).winners == []


def test_a_trial_that_cannot_win_any_more_stops_and_says_so() -> None:
    found = objective("gap", *TRIALS)
    assert found.cannot_win(begun(4, 0.87, 0.05)) == (
        "a gap of +5.00 points after 1 of 3 seeds cannot catch up with trial 1"
    )
    assert "cannot come to the 86.00 %" in found.cannot_win(begun(4, 0.70, 0.0))
    assert found.cannot_win(begun(4, 0.87, 0.0125)) == ""
    assert objective("accuracy", *TRIALS).cannot_win(begun(4, 0.85, 0.0)) != ""
    assert objective("loss", *TRIALS).cannot_win(TrialScores(4, (scores(0.9, 0.0, 0.9),), whole=False)) != ""
    assert objective("pareto", *TRIALS).cannot_win(begun(4, 0.83, 0.05)) != ""
    assert objective("pareto", *TRIALS).cannot_win(begun(4, 0.89, 0.05)) == ""


def test_a_trial_that_may_raise_the_floor_does_not_stop_for_its_gap() -> None:
    """Else the search would end with the smallest gap of models that have learnt little."""
    assert objective("gap", *TRIALS).cannot_win(begun(4, 0.92, 0.09)) == ""


def test_nothing_stops_before_the_spread_among_seeds_is_known() -> None:
    single = TrialScores(0, (scores(0.9, 0.0),), whole=True)
    assert Objective(SearchConfig(), 1, [single]).cannot_win(begun(1, 0.5, 0.4)) == ""
    wide = objective("gap", whole(0, 0.88, 0.01, spread=0.2))
    assert wide.cannot_win(begun(1, 0.8, 0.1)) == ""


def test_a_trial_that_stops_would_seldom_have_won() -> None:
    """Of trials as good as the others, with their other seeds drawn too."""
    draw, stopped, wrong = np.random.default_rng(0), 0, 0
    for _ in range(300):
        drawn = draw.normal(0.02, 0.005, (9, SEEDS))
        others = [TrialScores(number, tuple(scores(0.88, gap) for gap in row), whole=True)
                  for number, row in enumerate(drawn[:8])]  # fmt: skip
        found = objective("gap", *others)
        if found.cannot_win(begun(8, 0.88, drawn[8, 0])):
            stopped += 1
            wrong += drawn[8].mean() < min(drawn[:8].mean(axis=1))
    assert stopped > 30
    assert wrong <= 0.05 * stopped
