"""Comparisons and reports for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.comparison import Comparison, compare
from harness.records import RunRecord, RunState
from harness.reports.content import Report
from harness.reports.gathering import gather, with_figures
from tests.analysis.records import run

NOISE = (0.0, 0.001, -0.001, 0.002, -0.002)


def runs(effect: float = 0.05, seeds: int = 5, widths: Sequence[int] = (8, 64)) -> list[RunRecord]:
    """Runs of two models, `widths` and `seeds`. Each next width adds `effect` to the gap, at equal test accuracy."""
    return [
        run(
            0.82 + effect * place + NOISE[seed] * (1 + place),
            0.8,
            seed=seed,
            model__name=model,
            model__width=width,
            dataset__name="mnist",
        )
        for model in ("a", "b")
        for place, width in enumerate(widths)
        for seed in range(seeds)
    ]


def comparison(records: Sequence[RunRecord] | None = None, title: str = "a study") -> Comparison:
    return compare(runs() if records is None else records, title=title, swept=("model.name", "model.width"))


def failed(reason: str, seed: int = 0, **settings: object) -> RunRecord:
    """A run that failed with this reason."""
    record = run(metrics={}, state=RunState.FAILED, seed=seed, **settings)
    return replace(record, tags={**record.tags, "harness.error": reason})


def parent(overrides: str = "", command: str = "") -> RunRecord:
    """The parent run of a sweep."""
    record = run(metrics={})
    tags = {"harness.kind": "sweep", "harness.overrides": overrides, "harness.command": command}
    return replace(record, tags=tags)


def report(records: Sequence[RunRecord] | None = None, pictures: bool = False) -> Report:
    compared = comparison(records)
    made = gather(compared)
    return with_figures(made, compared, {}) if pictures else made
