"""Writes the saved views of the MLflow UI: those of an experiment and of its sweeps, made from their runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.analysis.comparison import Comparison, compare
from harness.errors import StoreError
from harness.metrics import FOR_CHARTS
from harness.records import RunRecord
from harness.reports.sentences import label
from harness.tracking.reading import select_runs, sweep_runs
from harness.tracking.selection import (
    GROUP_TAG,
    KIND_TAG,
    PARENT_TAG,
    ROW_TAG,
    SEARCH_TAG,
    Selection,
    is_sweep,
    recorded_settings,
)
from harness.tracking.store import Store
from harness.tracking.view_states import (
    ALL_SHOWN,
    Grouping,
    Subject,
    gap_and_curves,
    gap_chart,
    learning_curves,
    settings_chart,
    told_apart,
)
from harness.tracking.views import View, search_key, sweep_key, write_views

log = logging.getLogger(__name__)

GAP, CURVES, SETTINGS = "harness-gap", "harness-curves", "harness-settings"
MOST_SETTINGS = 8
"""If more settings differ than this, runs are not grouped by them: the groups' names would be too long."""
MOST_LISTED = 100
"""How many runs a view can list by id. If a sweep with reused runs has more, its view shows only the runs that the
sweep trained itself."""
MOST_RUNS = 500
"""After a single run, the views of a larger experiment are not updated: for 10,000 runs that takes four seconds."""


def show_sweep(store: Store, parent: RunRecord, runs: Sequence[RunRecord] | None = None) -> None:
    """Write the view of a sweep and the views of its experiment, if they changed. `runs` are those of the sweep, if
    they were just read. Raises `StoreError`."""
    runs = sweep_runs(store, parent.run_id, parent) if runs is None else runs
    if not runs:
        return
    reused = any(run.parent_id != parent.run_id for run in runs)
    condition = f"tags.{PARENT_TAG} = '{parent.run_id}'"
    if reused and len(runs) <= MOST_LISTED:
        condition = f"attributes.run_id IN ({', '.join(repr(run.run_id) for run in runs)})"
    swept = recorded_settings(parent)
    subject, labels = _subject(runs, condition, swept, f"{ROW_TAG}.{parent.run_id[:8]}", named=not reused)
    view = View(sweep_key(parent.run_id), parent.name, _milliseconds(parent), gap_and_curves(subject))
    of_search = []
    if SEARCH_TAG in parent.tags:
        name = f"{parent.name}: settings against the gap"
        of_search = [View(search_key(parent.run_id), name, _milliseconds(parent), settings_chart(subject))]
    views, others = _of_experiment(select_runs(store, Selection((parent.experiment_id,))))
    every = {run_id: labels.get(run_id, {}) | others.get(run_id, {}) for run_id in labels.keys() | others.keys()}
    write_views(store, parent.experiment_id, [view, *of_search, *views], every)


def show_experiment(store: Store, experiment_id: str, most: int | None = None) -> None:
    """Write the views of an experiment, if they changed. Raises `StoreError`.

    A new run may be the first to differ in some setting; without an update the views would average it with other runs.
    For an experiment with more than `most` runs, the next sweep or `harness ui` updates them.
    """
    runs = select_runs(store, Selection((experiment_id,), newest=None if most is None else most + 1))
    if most is not None and len(runs) > most:
        log.info("more than %d runs: sweeps and `harness ui` bring the views of the MLflow UI up to date", most)
        return
    views, labels = _of_experiment(runs)
    if views:
        write_views(store, experiment_id, views, labels)


@contextmanager
def not_decisive(what: str) -> Iterator[None]:
    """A view is not important enough to fail a run: an error of the store is only logged."""
    try:
        yield
    except StoreError as error:
        log.warning("%s: the views of the MLflow UI were not written; `harness ui` does it again. %s", what, error)


def _of_experiment(every: Sequence[RunRecord]) -> tuple[list[View], dict[str, dict[str, str]]]:
    """The views of an experiment's runs that the harness trained, and the new labels of these runs; empty if there are
    no such runs."""
    runs = [run for run in every if KIND_TAG in run.tags and not is_sweep(run)]
    if not runs:
        return [], {}
    subject, labels = _subject(runs, f"tags.`{KIND_TAG}` = 'run'", (), ROW_TAG, named=False)
    created = min(map(_milliseconds, runs))
    return [
        View(GAP, "Overfitting gap by setting", created + 2, gap_chart(subject)),
        View(CURVES, "Learning curves", created + 1, learning_curves(subject)),
        View(SETTINGS, "Settings against the gap", created, settings_chart(subject)),
    ], labels


def _subject(
    runs: Sequence[RunRecord], condition: str, swept: Sequence[str], tag: str, named: bool
) -> tuple[Subject, dict[str, dict[str, str]]]:
    """The subject of the views, and the missing labels of the runs. A label is the tag `tag` with the run's row in the
    table; views group by it. If there are more runs than the page loads, none is labelled.

    `named`: group runs by their names without the seed, which are unique only within one sweep.
    """
    comparison = compare(runs, swept=swept)
    metrics = frozenset(name for run in runs for name in run.metrics if not _is_partial(name, runs))
    about = condition, comparison.settings, metrics, comparison.held_out
    if len(runs) <= ALL_SHOWN:
        names = told_apart(tag, _names(comparison))
        labels = {
            run.run_id: {tag: name}
            for name, row in zip(names, comparison.rows, strict=True) for run in row.runs if run.tags.get(tag) != name
        }  # fmt: skip
        return Subject(*about, (("tag", tag),), len(runs), names), labels
    grouping: Grouping = tuple(("param", key) for key in comparison.settings)
    if named and all(GROUP_TAG in run.tags for run in runs):
        grouping = (("tag", GROUP_TAG),)
    elif len(grouping) > MOST_SETTINGS:
        grouping = ()
    return Subject(*about, grouping, len(runs)), {}


def _names(comparison: Comparison) -> list[str]:
    """`1 mlp_128 adam`, `2 mlp_128 sgd (underfit)`: a row's rank in the table, its settings, and its remark."""
    rows, wide = comparison.rows, len(str(len(comparison.rows)))
    return [
        f"{rank:0{wide}} {label(row.settings)}{f' ({row.place})' if row.place.is_underfit else ''}"
        for rank, row in enumerate(rows, 1)
    ]


def _is_partial(name: str, runs: Sequence[RunRecord]) -> bool:
    """Whether runs of earlier versions lack a metric for charts (they have the metric that it is made from)."""
    unit, _, gap = name.partition("/")
    return unit in FOR_CHARTS.values() and any(
        f"final/{gap}" in run.metrics and name not in run.metrics for run in runs
    )


def _milliseconds(run: RunRecord) -> int:
    return round(run.started.timestamp() * 1000)
