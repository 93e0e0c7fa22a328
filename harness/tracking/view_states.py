"""What the page of an experiment's runs shows in a saved view: which runs, columns and charts, and how it groups them.

The form is the page's own (`ExperimentPageUIState` and `ExperimentPageSearchFacetsState` of its front end), which
MLflow documents nowhere: `views.py` says for which versions it was tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCORES = (
    "gap_{held_out}_accuracy",
    "gap_{other}_accuracy",
    "train_accuracy",
    "{held_out}_accuracy",
    "{other}_accuracy",
)
GAPS = ("gap_{held_out}_accuracy", "gap_{other}_accuracy", "gap_{held_out}_loss", "gap_{other}_loss")
CURVES = (("train/loss", "val/loss"), ("train/accuracy", "val/accuracy"), ("gap/loss",), ("gap/accuracy",))

GAP_SECTION, CURVES_SECTION, SETTINGS_SECTION = "Overfitting gap", "Learning curves", "Settings against the gap"
NAME_WIDTH, SCORE_WIDTH = 260, 165  # pixels: a group's name and a metric's stay whole
ALL_SHOWN = 100
"""The page loads so many runs at a time; beyond, twenty are drawn and the eye icons add more."""

Grouping = tuple[tuple[str, str], ...]
"""By what runs are averaged: `("param", key)` or `("tag", key)` each. One alone keeps the names of groups short."""
State = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """The runs that a view is about.

    `condition` selects them in MLflow's filter language; `settings` are the parameters that differ among them, and
    `metrics` all that they have; `held_out` (`val` or `test`) is the split whose gap comes first; `count`: of them.
    """

    condition: str
    settings: Sequence[str]
    metrics: frozenset[str]
    held_out: str
    grouping: Grouping
    count: int


def gap_and_curves(subject: Subject) -> State:
    """Bars of the final gaps, then curves, each averaged over the runs of a group."""
    return _state(subject, {GAP_SECTION: _gap_bars(subject), CURVES_SECTION: _curves(subject)}, subject.grouping)


def gap_chart(subject: Subject) -> State:
    """Bars of the final gaps, a bar for each group."""
    return _state(subject, {GAP_SECTION: _gap_bars(subject)}, subject.grouping)


def learning_curves(subject: Subject) -> State:
    """Loss and accuracy of training and validation by epoch, and the gap between them; a line for each group."""
    return _state(subject, {CURVES_SECTION: _curves(subject)}, subject.grouping)


def settings_chart(subject: Subject) -> State:
    """Parallel coordinates from the settings to the gap; a line for each run: the page cannot average words."""
    metric = f"final/gap_{subject.held_out}_accuracy"
    chart = {
        "type": "PARALLEL",
        "selectedParams": list(subject.settings),
        "selectedMetrics": [metric],
        "showAllRuns": subject.count <= ALL_SHOWN,
    }
    return _state(subject, {SETTINGS_SECTION: [chart]}, (), columns=1, height=520)


def _gap_bars(subject: Subject) -> list[State]:
    return [{"type": "BAR", "metricKey": name} for name in _present(subject, GAPS)]


def _curves(subject: Subject) -> list[State]:
    kept = ([name for name in names if name in subject.metrics] for names in CURVES)
    return [
        {
            "type": "LINE",
            "metricKey": names[0],
            "selectedMetricKeys": names,
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
            "range": {},
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
        for names in kept
        if names
    ]


def _present(subject: Subject, templates: Iterable[str]) -> list[str]:
    other = "test" if subject.held_out == "val" else "val"
    names = (f"final/{template.format(held_out=subject.held_out, other=other)}" for template in templates)
    return [name for name in names if name in subject.metrics]


def _state(
    subject: Subject, charts: Mapping[str, Sequence[State]], grouping: Grouping, columns: int = 2, height: int = 300
) -> State:
    sections = [_section(name, True, columns, height) for name in charts]
    cards = [
        {**card, "uuid": f"{name} {place}", "metricSectionId": name, "deleted": False, "isGenerated": False}
        for name, of_section in charts.items()
        for place, card in enumerate(of_section)
    ]
    # The page adds a chart for each metric that has none, in a section of its prefix: there they are, but folded.
    prefixes = {name.rpartition("/")[0] for name in subject.metrics if "/" in name}
    sections += [_section(prefix, False) for prefix in sorted(prefixes)]
    scores = [f"metrics.`{name}`" for name in _present(subject, SCORES)]
    shown = [*scores, *(f"params.`{key}`" for key in subject.settings), "params.`seed`"]
    return {
        "searchFilter": subject.condition,
        "orderByKey": scores[0] if scores else "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": shown,
        "columnOrder": ["attributes.`Run Name`", "attributes.`Created`", *shown],
        "columnWidths": {"attributes.`Run Name`": NAME_WIDTH, **dict.fromkeys(scores, SCORE_WIDTH)},
        "runsHiddenMode": "SHOW_ALL" if subject.count <= ALL_SHOWN else "FIRST_20_RUNS",
        "compareRunCharts": cards,
        "compareRunSections": sections,
        "isAccordionReordered": True,  # else the page sorts sections by name
        "viewMaximized": False,
        "runListHidden": False,
        "hideEmptyCharts": True,
        "groupBy": _group_by(grouping),
        "useGroupedValuesInCharts": True,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(name: str, unfolded: bool, columns: int = 2, height: int = 300) -> State:
    return {
        "uuid": name,
        "name": name,
        "display": unfolded,
        "isReordered": True,
        "deleted": False,
        "isGenerated": not unfolded,
        "columns": columns,
        "cardHeight": height,
    }


def _group_by(grouping: Grouping) -> State | None:
    keys = [{"mode": mode, "groupByData": key} for mode, key in grouping]
    return {"aggregateFunction": "average", "groupByKeys": keys} if keys else None
