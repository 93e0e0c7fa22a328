"""The content of a saved view of an experiment's page: runs, columns, charts and grouping.

The format is that of MLflow's front end (`ExperimentPageUIState` and `ExperimentPageSearchFacetsState`), which is not
documented: `views.py` lists the versions with which it was tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics import FOR_CHARTS

ACCURACIES = ("train_accuracy", "{held_out}_accuracy", "{other}_accuracy")
GAPS = ("gap_{held_out}_accuracy", "gap_{other}_accuracy", "gap_{held_out}_loss", "gap_{other}_loss")
CURVES = (("train/loss", "val/loss"), ("train/accuracy", "val/accuracy"), ("gap/loss",), ("gap/accuracy",))

GAP_SECTION, CURVES_SECTION, SETTINGS_SECTION = "Overfitting gap", "Learning curves", "Settings against the gap"
NAME_WIDTH, MOST_WIDTH, SCORE_WIDTH = 260, 480, 165  # pixels: a group's name and a metric's stay whole
ALL_SHOWN = 100
"""The page loads so many runs at a time; if there are more, it draws twenty, and the eye icons add others."""
CARD, LEGEND_LINES = 1080, 2
"""Pixels of a chart as wide as the page (1400 pixels, list of runs folded); the lines of names below it."""
LETTER, MARK = 6.6, 44  # pixels of a legend: a letter's, and those of a name's line and margins
BAR, BESIDE, LOW, HIGH = 24, 170, 300, 700  # pixels: a bar, what stands around bars, and how high a chart may be

PALETTE = (
    "#a6630c", "#c83243", "#b45091", "#8a63bf", "#434a93", "#137dae", "#04867d", "#308613", "#facb66", "#1f272d",
    "#445461", "#5f7281", "#8396a5", "#93320b", "#be501e", "#de7921", "#f2be88", "#115026", "#277c43", "#3ba65e",
    "#8ddda8", "#9e102c", "#c82d4c", "#e65b77", "#f792a6", "#0e538b", "#2272b4", "#4299e0", "#8acaff",
)  # fmt: skip
"""The page's colours; it chooses one by a checksum of the group, so similar colours may be side by side."""
APART = (
    "#2272b4", "#de7921", "#308613", "#c83243", "#8a63bf", "#facb66", "#1f272d", "#8acaff", "#f792a6", "#8ddda8",
    "#8396a5", "#93320b",
)  # fmt: skip
"""Those of them that are easy to distinguish."""

Grouping = tuple[tuple[str, str], ...]
"""The grouping keys of runs: each `("param", key)` or `("tag", key)`. A single key keeps the group names short."""
State = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """The runs of a view.

    `condition` selects them in MLflow's filter language; `settings` are the parameters that differ among them,
    `metrics` all their metrics; `held_out` (`val` or `test`) is the split whose gap comes first; `count` is the number
    of runs. `rows` are the names of the groups if a tag groups them, in the order of the table.
    """

    condition: str
    settings: Sequence[str]
    metrics: frozenset[str]
    held_out: str
    grouping: Grouping
    count: int
    rows: Sequence[str] = ()


def told_apart(tag: str, names: Sequence[str]) -> list[str]:
    """The names with invisible trailing spaces, chosen so that the page gives the groups of this tag distinguishable
    colours, as far as there are enough."""
    found: list[str] = []
    free: list[str] = []
    for name in names:
        free = free or list(APART)
        tries = (name + " " * spaces for spaces in range(_MOST_SPACES))
        padded = next((text for text in tries if _colour(f"tag.{tag}.{text}") in free), name)
        found.append(padded)
        if (colour := _colour(f"tag.{tag}.{padded}")) in free:
            free.remove(colour)
    return found


_MOST_SPACES = 255  # then the checksum repeats


def _colour(group: str) -> str:
    """The page's colour for a group: Fletcher's checksum of its id."""
    low = high = 0
    for letter in group:
        low = (low + ord(letter)) % 255
        high = (high + low) % 255
    return PALETTE[(low | high << 8) % len(PALETTE)]


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
    [metric, *_] = [*_gaps(subject), f"final/gap_{subject.held_out}_accuracy"]
    chart = {
        "type": "PARALLEL",
        "selectedParams": list(subject.settings),
        "selectedMetrics": [metric],
        "showAllRuns": subject.count <= ALL_SHOWN,
    }
    return _state(subject, {SETTINGS_SECTION: [chart]}, (), columns=1, height=520)


def _gap_bars(subject: Subject) -> list[State]:
    return [{"type": "BAR", "metricKey": name} for name in _gaps(subject)]


def _columns(subject: Subject, section: str) -> int:
    """The number of charts per line: two, or one if the names do not fit into the legends. For curves, the name of the
    metric follows each name."""
    names = _of_curves(subject, CURVES[1][:1]) if section == CURVES_SECTION else [row.rstrip() for row in subject.rows]
    return 2 if _fit(names, CARD / 2) else 1


def _of_curves(subject: Subject, metrics: Iterable[str]) -> list[str]:
    return [f"{row.rstrip()} ({metric})" for row in subject.rows for metric in metrics]


def _fit(names: Iterable[str], room: float) -> bool:
    """Whether the names fit into a legend of this width."""
    return _lines((MARK + LETTER * len(name) for name in names), room) <= LEGEND_LINES


def _lines(wide: Iterable[float], room: float) -> int:
    """How many lines items of these widths need."""
    lines, taken = 1, 0.0
    for one in wide:
        if taken and taken + one > room:
            lines, taken = lines + 1, 0.0
        taken += one
    return lines


def _curves(subject: Subject) -> list[State]:
    kept = [[name for name in names if name in subject.metrics] for names in CURVES]
    if not _fit(_of_curves(subject, CURVES[1]), CARD / _columns(subject, CURVES_SECTION)):
        kept = [[name] for names in kept for name in names]  # training and validation in a chart each
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
    """The existing metrics of the splits, those of `held_out` first; for gaps the variants that are made for charts."""
    other = "test" if subject.held_out == "val" else "val"
    names = [template.format(held_out=subject.held_out, other=other) for template in templates]
    wanted = [(f"{FOR_CHARTS[name.rpartition('_')[2]]}/{name}", f"final/{name}") for name in names]
    return [next(filter(subject.metrics.__contains__, pair)) for pair in wanted if subject.metrics.intersection(pair)]


def _gaps(subject: Subject) -> list[str]:
    return _present(subject, GAPS)


def _state(
    subject: Subject,
    charts: Mapping[str, Sequence[State]],
    grouping: Grouping,
    columns: int | None = None,
    height: int | None = None,
) -> State:
    height = height or min(max(LOW, BESIDE + BAR * len(subject.rows)), HIGH)
    sections = [_section(name, True, columns or _columns(subject, name), height) for name in charts]
    cards = [
        {**card, "uuid": f"{name} {place}", "metricSectionId": name, "deleted": False, "isGenerated": False}
        for name, of_section in charts.items()
        for place, card in enumerate(of_section)
    ]
    # The page adds a chart for every other metric, in a section named by its prefix; these sections are folded.
    prefixes = {name.rpartition("/")[0] for name in subject.metrics if "/" in name}
    sections += [_section(prefix, False) for prefix in sorted(prefixes)]
    scores = [f"metrics.`{name}`" for name in [*_present(subject, GAPS[:2]), *_present(subject, ACCURACIES)]]
    by_row = [f"tags.`{key}`" for mode, key in grouping if subject.rows and mode == "tag"]
    order = [*by_row, *scores, "attributes.start_time"][0]
    # Beside each group's name the column has `Group:`, its mark and the number of its runs.
    longest = max((len(name.rstrip()) for name in subject.rows), default=0)
    width = round(min(max(NAME_WIDTH, 120 + LETTER * longest), MOST_WIDTH))
    keys = [{"mode": mode, "groupByData": key} for mode, key in grouping]
    shown = [*scores, *(f"params.`{key}`" for key in subject.settings), "params.`seed`"]
    return {
        "searchFilter": subject.condition,
        "orderByKey": order,
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": shown,
        "columnOrder": ["attributes.`Run Name`", "attributes.`Created`", *shown],
        "columnWidths": {"attributes.`Run Name`": width, **dict.fromkeys(scores, SCORE_WIDTH)},
        "runsHiddenMode": "SHOW_ALL" if subject.count <= ALL_SHOWN else "FIRST_20_RUNS",
        "compareRunCharts": cards,
        "compareRunSections": sections,
        "isAccordionReordered": True,  # otherwise the page sorts sections by name
        "viewMaximized": False,
        "runListHidden": True,  # more room for the charts; a click shows the list
        "hideEmptyCharts": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if keys else None,
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
