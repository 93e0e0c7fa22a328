"""What mattered in a search, and its figures."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from harness.config.search import Dimension, SearchConfig, Space
from harness.figures import search_figures as figures
from harness.records import RunRecord, RunState
from harness.sweeps.search.importance import importance, search_view
from harness.sweeps.search.objective import METRICS
from harness.sweeps.search.samplers import make_sampler
from harness.sweeps.search.trials import Trial, Trials

SPACE: Space = {
    "optimizer.learning_rate": Dimension(low=1e-4, high=0.1, log=True),
    "model.dropout": Dimension(low=0.0, high=0.6),
    "model": Dimension(choices=("mlp_128", "cnn")),
}


def searched(count: int) -> Trials:
    """A search whose gap depends on the dropout, and whose accuracy depends on the learning rate."""
    trials = Trials(SearchConfig(sampler="random", seeds=1, within=5), SPACE, (), 0)
    sampler = make_sampler(trials.settings, SPACE, 1)
    for number in range(count):
        settings = sampler.suggest(number)
        accuracy = 0.9 - 0.03 * (math.log10(float(settings["optimizer.learning_rate"])) + 2.5) ** 2
        gap = 0.05 - 0.07 * float(settings["model.dropout"])
        began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        run = RunRecord(
            str(number), "run", "0", "harness", RunState.FINISHED, began, began + timedelta(seconds=40), {},
            {METRICS["gap"]: gap, METRICS["accuracy"]: accuracy, METRICS["loss"]: 1 - accuracy}, {},
        )  # fmt: skip
        trials.by_number[number] = Trial(number, settings, "", {0: run})
    return trials


def test_what_mattered_is_found_for_each_measure() -> None:
    view = search_view(searched(60))
    assert [axis.name for axis in view.axes] == ["learning_rate", "dropout", "model"]
    assert int(np.argmax(view.importance["gap"])) == 1
    assert int(np.argmax(view.importance["accuracy"])) == 0
    assert sum(view.importance["gap"]) == pytest.approx(1)
    assert not view.remark


def test_few_trials_are_said_to_be_uncertain() -> None:
    assert "Only 8 trials" in search_view(searched(8)).remark
    assert importance(SPACE, [], []) == [0.0, 0.0, 0.0]


def test_the_best_so_far_never_gets_worse() -> None:
    view = search_view(searched(40))
    known = [value for value in view.best if not math.isnan(value)]
    assert known == sorted(known, reverse=True)
    [best] = [point for point in view.points if point.is_best]
    assert best.gap == pytest.approx(known[-1]) == min(point.gap for point in view.points if point.is_able)


def test_the_figures_have_every_trial(project: Path) -> None:
    view = search_view(searched(20))
    slices = figures.draw_slices(view, "a search")
    assert len(slices.axes) == 2 * len(SPACE)
    assert all(len(axes.collections[0].get_offsets()) == 20 for axes in slices.axes)  # type: ignore[arg-type]
    assert len(figures.draw_parallel(view, "a search").axes[0].lines) == 20 + len(SPACE) + 2
    for draw in (figures.draw_best_so_far, figures.draw_importance, figures.draw_contour):
        draw(view, "a search").savefig("figure.png")


def test_a_search_of_choices_only_is_drawn(project: Path) -> None:
    trials = searched(6)
    for number, trial in trials.by_number.items():
        trial.settings = {"a": "xyz"[number % 3], "b": "pq"[number % 2]}
    trials.space = {"a": Dimension(choices=("x", "y", "z")), "b": Dimension(choices=("p", "q"))}
    view = search_view(trials)
    assert figures.numbers_that_matter(view) == [], "between two choices is nothing, so there is no contour"
    for draw in (figures.draw_slices, figures.draw_parallel):
        draw(view, "choices").savefig("figure.png")
