"""What mattered in a search: the importance of each setting, and what the figures of a search show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from harness.analysis.settings import headings
from harness.config.search import Space, Value
from harness.figures.search_figures import SearchAxis, SearchPoint, SearchView
from harness.sweeps.search.objective import TrialScores
from harness.sweeps.search.optuna_samplers import distribution
from harness.sweeps.search.trials import Trials

FEW = 30
"""With fewer trials the importances are uncertain, and a remark says so."""
LEAST = 5
GOALS = {"gap": "gap to val (points)", "accuracy": "val accuracy (%)", "loss": "val loss (nats)",
         "pareto": "val accuracy (%)"}  # fmt: skip


def importance(space: Space, settings: Sequence[Mapping[str, Value]], values: list[float]) -> list[float]:
    """The share of each setting of the space in what sets the better trials (smaller `values`) apart from all, by
    PED-ANOVA; they sum to 1. All are 0 if there are fewer than five trials, or no differences."""
    if len(values) < LEAST or len(set(values)) < 2:
        return [0.0] * len(space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    distributions = {key: distribution(dimension) for key, dimension in space.items()}
    study.add_trials([
        create_trial(
            value=value, distributions=distributions,
            params={key: space[key].choices.index(str(of[key])) if space[key].choices else of[key] for key in space},
        )
        for of, value in zip(settings, values, strict=True)
    ])  # fmt: skip
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return [float(found.get(key, 0.0)) for key in space]


def search_view(trials: Trials) -> SearchView:
    """What the figures of a search show: its trials under all of their seeds."""
    objective, space = trials.objective(), trials.space
    every = sorted(trials.by_number.values(), key=lambda trial: trial.number)
    whole: list[tuple[int, TrialScores]] = [
        (place, outcome) for place, trial in enumerate(every)
        if not trial.failed and (outcome := trial.outcome(trials.seeds)).whole
    ]  # fmt: skip
    names = headings(list(space))
    axes = tuple(SearchAxis(names[key], dimension.choices, dimension.log) for key, dimension in space.items())
    began = min((run.started for trial in every for run in trial.runs.values()), default=None)
    points, best, value = [], [], math.nan
    for place, outcome in whole:
        trial, mean = every[place], outcome.mean
        ended = max(run.ended for run in trial.runs.values() if run.ended is not None)
        is_able = objective.violation(mean) <= 0
        points.append(
            SearchPoint(
                trial.number, tuple(axis.place(trial.settings[key]) for axis, key in zip(axes, space, strict=True)),
                100 * mean["accuracy"], 100 * mean["gap"], _minutes(began, ended), is_able,
                trial.number in objective.winners,
            )
        )  # fmt: skip
        found = objective.values(mean)[0]
        value = found if is_able and not value <= found else value
        best.append(_shown(trials.settings.objective, value))
    settings = [dict(every[place].settings) for place, _ in whole]
    shares = {
        "gap": importance(space, settings, [outcome.mean["gap"] for _, outcome in whole]),
        "accuracy": importance(space, settings, [-outcome.mean["accuracy"] for _, outcome in whole]),
    }
    remark = f"Only {len(whole)} trials: these shares are uncertain." if len(whole) < FEW else ""
    return SearchView(axes, tuple(points), GOALS[trials.settings.objective], tuple(best), shares, remark)


def _minutes(began: datetime | None, ended: datetime) -> float:
    return 0.0 if began is None else (ended - began).total_seconds() / 60


def _shown(objective: str, value: float) -> float:
    """A value of the objective as it is shown: percent, points or nats."""
    return {"gap": 100 * value, "loss": value}.get(objective, -100 * value)
