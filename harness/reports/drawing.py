"""Draws the figures of a report: rows of a comparison become groups, figures become PNGs with captions."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from harness.analysis.comparison import Comparison
from harness.analysis.foretelling import foretelling
from harness.analysis.foretelling_tables import cells
from harness.analysis.measures import SPLITS, measure_in_words
from harness.analysis.rows import Row
from harness.analysis.settings import SEED, headings
from harness.analysis.statistics import t_interval
from harness.errors import RequestError
from harness.figures import (
    gap_against,
    gap_bars,
    gap_by_measures,
    group_curves,
    heat_map,
    parallel_coordinates,
    pareto,
    train_against_held_out,
)
from harness.figures.files import png_bytes
from harness.figures.group_curves import GroupRuns
from harness.figures.groups import Group, Measure, Quantity, Scores, number, ordered, value_text
from harness.records import RunRecord
from harness.reports.content import ReportFigure
from harness.reports.sentences import label, seeds_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.tracking.selection import Series

GROUPS = 50
"""The most rows in a figure. Figures that summarize rows by a setting show all."""
CURVES = group_curves.MOST
LINES = 6
"""The most values of a second setting that have their own line."""
PARAMETERS = "parameters"
_LEAST_FOR_INTERVALS = 3  # the interval of two runs is so wide (nine standard deviations) that a range is clearer


@dataclass(frozen=True)
class _FigureData:
    """The data of all figures: `few` groups to draw one by one, `every` group to summarize, and words for captions."""

    few: Sequence[Group]
    every: Sequence[Group]
    measure: Measure
    n: str
    left_out: str
    baseline: str | None
    scored_apart: bool


def groups_of(comparison: Comparison, rows: Sequence[Row], quantity: Quantity = "accuracy") -> list[Group]:
    """Rows as groups for figures: a value for each finished run, with the comparison's means and intervals.

    If models of different sizes are compared, groups also have `parameters`, provided that it is one number in each.
    """
    short = headings(comparison.settings)
    sizes = [_parameters(row) for row in rows]
    sized = all(size is not None for size in sizes) and len(set(sizes)) > 1
    found = []
    for row, size in zip(rows, sizes, strict=True):
        settings: dict[str, str | float] = {short[key]: value for key, value in row.settings.items()}
        if sized and size is not None:
            settings[PARAMETERS] = size
        split = comparison.held_out
        gap, train, held_out = (_scores(row, f"{name}_{quantity}") for name in (f"gap_{split}", "train", split))
        standing = row.expected, row.place, row.front_share
        found.append(Group(label(row.settings), settings, gap, train, held_out, *standing))
    return found


def draw_gaps(comparison: Comparison) -> Figure:
    """Draw the gap of accuracy of the first `GROUPS` rows as bars, with the comparison's title."""
    rows = comparison.rows[:GROUPS]
    view = gap_bars.compute(groups_of(comparison, rows), Measure("accuracy", comparison.held_out, _note(comparison)))
    return gap_bars.draw(view, comparison.title)


def _note(comparison: Comparison) -> str:
    """A note if something was selected on the drawn split, and if rows are scored on different images."""
    reasons = comparison.selected_on.get(comparison.held_out, ())
    notes = [f"† selected on {SPLITS[comparison.held_out]}: {', '.join(reasons)}"] if reasons else []
    if comparison.scored_apart:
        notes.append(f"rows are scored on different {comparison.images_in_words}")
    return "; ".join(notes)


def _parameters(row: Row) -> float | None:
    found = {run.metrics.get("model/parameters") for run in row.finished_runs}
    return found.pop() if len(found) == 1 else None


def _scores(row: Row, name: str) -> Scores:
    finished = [run for run in row.finished_runs if f"final/{name}" in run.metrics]
    values = {key: run.metrics[f"final/{name}"] for key, run in zip(_keys(finished), finished, strict=True)}
    score = row.scores.get(name)
    if score is None:
        return Scores(values)
    return Scores(values, score.mean, None if score.interval is None else (score.interval.low, score.interval.high))


def _keys(runs: Sequence[RunRecord]) -> list[str]:
    """A unique key for each run: its seed, with a number if an earlier run has the same seed."""
    seen: Counter[str] = Counter()
    keys = []
    for run in runs:
        seed = run.parameters.get(SEED, "-")
        seen[seed] += 1
        keys.append(seed if seen[seed] == 1 else f"{seed} again {seen[seed] - 1}")
    return keys


@dataclass(frozen=True)
class Drawing:
    """A figure of a comparison that is not drawn yet. `alt` is its text for readers who cannot see it.

    `draw` takes the title to write on the figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[str], Figure]


def pictures(comparison: Comparison, series: Series, baseline: str | None = None) -> Iterator[ReportFigure]:
    """Every figure of `drawings` as a PNG."""
    for found in drawings(comparison, series, baseline):
        png = png_bytes(found.draw(""))
        width, height = struct.unpack(">II", png[16:24])  # their place in the header of a PNG
        yield ReportFigure(found.name, found.title, found.caption, found.alt, png, width, height)


def drawings(comparison: Comparison, series: Series, baseline: str | None = None) -> Iterator[Drawing]:
    """Every figure that the comparison has data for, in the order of a report.

    `series` has the curves of the runs of the first `CURVES` rows. `baseline` is the label of the row that the others
    are compared with.
    """
    few = comparison.rows[:GROUPS]
    note = _note(comparison)
    measure = Measure("accuracy", comparison.held_out, note)
    left_out = ""
    if more := len(comparison.rows) - len(few):
        left_out = f" Only the first {len(few)} rows of the table are drawn, {more:,} more are left out."
    drawn_baseline = baseline if any(label(row.settings) == baseline for row in few) else None
    every = groups_of(comparison, comparison.rows)
    data = _FigureData(
        every[:GROUPS], every, measure, seeds_in_words(comparison), left_out, drawn_baseline, comparison.scored_apart
    )
    yield from _bars(data)
    losses = groups_of(comparison, few, "loss")
    yield from _bars(replace(data, few=losses, measure=Measure("loss", comparison.held_out, note)), "gap_bars_loss")
    for draw in (_scatter, _against, _heat, _front, _parallel):
        yield from draw(data)
    yield from _measures(comparison)
    yield from _curves(comparison, series)


def _measures(comparison: Comparison) -> Iterator[Drawing]:
    try:
        found = foretelling(comparison)
    except RequestError:  # runs without measures, as most are
        return
    clouds = []
    for of in found.correlations:
        *_, tau, interval = cells(of)
        words = f"tau {tau}" if of.interval is None else f"tau {tau} ({interval})"
        clouds.append(gap_by_measures.MeasuredRuns(of.measure, of.points, words))
    gap = measure_in_words(found.gap.removeprefix("final/"))
    yield Drawing(
        "gap_by_measures", "Which number foretells the gap",
        f"Each dot is a run. tau: Kendall's rank correlation with the {gap}, and its 95 % interval over rows.",
        f"Scatter plots of the {gap} against {', '.join(of.measure for of in clouds)}.",
        lambda title: gap_by_measures.draw(clouds, gap, title),
    )  # fmt: skip


def _bars(data: _FigureData, name: str = "gap_bars") -> Iterator[Drawing]:
    if not any(group.gap.by_seed for group in data.few):
        return
    measure = data.measure
    title = f"Gap of {measure.quantity} by configuration"
    view = gap_bars.compute(data.few, measure, data.baseline)
    caption = (
        f"Mean gap of {measure.quantity} on {measure.split} ({measure.gap_unit}, {data.n}) with its 95 % interval; "
        f"dots are single runs, right of 0 the model overfits.{data.left_out}"
    )
    yield Drawing(name, title, caption, f"Bars: {_extremes(data.few, measure)}", partial(gap_bars.draw, view))


def _scatter(data: _FigureData) -> Iterator[Drawing]:
    if not any(group.train.by_seed and group.held_out.by_seed for group in data.few):
        return
    measure = data.measure
    view = train_against_held_out.compute(data.few, measure)
    runs = sum(len(group.held_out.by_seed) for group in data.few)
    caption = (
        f"A point is a run (n={runs:,}): accuracy on training images across, on {measure.split} images up, in percent. "
        f"The further below the dashed line, the larger the gap.{data.left_out}"
    )
    alt = f"Scatter of training against {measure.split} accuracy of {runs} runs: {_extremes(data.few, measure)}"
    yield Drawing("train_against_held_out", f"Training against {measure.split}", caption, alt,
                  partial(train_against_held_out.draw, view))  # fmt: skip


def _against(data: _FigureData) -> Iterator[Drawing]:
    """The gap against a number: each swept number if at most two settings vary, or the size of the models."""
    names = _varied(data.every)
    numbers = [name for name in names if _is_number(data.every, name)]
    if not numbers and any(PARAMETERS in group.settings for group in data.every):
        numbers = [PARAMETERS]
        names = [name for name in names if name != "model"]
    elif len(names) > 2:
        return
    for name in numbers:
        others = [other for other in names if other != name]
        if len(others) > 1 or (others and len(_values(data.every, others[0])) > LINES):
            continue
        by = others[0] if others else None
        view = gap_against.compute(data.every, data.measure, name, by)
        measure, lines = data.measure, f", a line for each {by}" if by else ""
        caption = (
            f"Left: mean gap of accuracy ({measure.gap_unit}) with its 95 % interval over {name}{lines}; dots "
            f"are runs ({data.n}). Right: training and {measure.split} accuracy (percent) that it lies between."
        )
        alt = f"Gap of accuracy over {name}: {_extremes(data.every, measure)}"
        yield Drawing(f"gap_against_{name.replace('.', '_')}", f"Gap against {name}", caption, alt,
                      partial(gap_against.draw, view))  # fmt: skip


def _heat(data: _FigureData) -> Iterator[Drawing]:
    names = _varied(data.every)
    if len(names) != 2:
        return
    up, across = sorted(names, key=lambda name: (_is_number(data.every, name), len(_values(data.every, name))))
    view = heat_map.compute(data.every, data.measure, across, up)
    caption = (
        f"Mean gap of accuracy ({data.measure.gap_unit}, {data.n}) for each pair of {across} and {up}; darker is "
        "the larger gap."
    )
    alt = f"Heat map of the gap by {across} and {up}: {_extremes(data.every, data.measure)}"
    yield Drawing("heat_map", f"Gap by {across} and {up}", caption, alt, partial(heat_map.draw, view))


def _front(data: _FigureData) -> Iterator[Drawing]:
    known = [group for group in data.few if group.gap.by_seed and group.held_out.by_seed]
    if len(known) < 2 or data.scored_apart:  # accuracies on different images have no common front
        return
    measure = data.measure
    view = pareto.compute(data.few, measure)
    front = [point.label for point in view.points if point.on_front]
    resampled = any(not math.isnan(point.share) for point in view.front)
    chance = " That may be chance: a point is fainter the fewer resamples put it there." if resampled else ""
    caption = (
        f"Mean {measure.split} accuracy (percent) against mean gap ({measure.gap_unit}), {data.n}, with 95 % "
        f"intervals. No other row is better than a numbered one in both.{chance}{data.left_out}"
    )
    alt = f"Scatter of accuracy against gap; on the front: {', '.join(front[:6])}"
    yield Drawing("pareto", "Accuracy against gap: the Pareto front", caption, alt, partial(pareto.draw, view))


def _parallel(data: _FigureData) -> Iterator[Drawing]:
    names = _varied(data.few)
    if len(data.few) < 3 or len(names) < 2:
        return
    view = parallel_coordinates.compute(data.few, data.measure, names)
    measure = data.measure
    caption = (
        f"A line is a configuration ({data.n}), from its settings to its mean {measure.split} accuracy (percent) "
        f"and its mean gap ({measure.gap_unit}), which colours it.{data.left_out}"
    )
    alt = f"Parallel coordinates of {', '.join(names)}, accuracy and gap: {_extremes(data.few, measure)}"
    yield Drawing("parallel_coordinates", "Settings, accuracy and gap", caption, alt,
                  partial(parallel_coordinates.draw, view))  # fmt: skip


def _curves(comparison: Comparison, series: Series) -> Iterator[Drawing]:
    rows = [row for row in comparison.rows if row.finished][:CURVES]
    curves = [found for row in rows if (found := _curves_of(row, series)).runs]
    if not curves:
        return
    enough = all(len(group.runs) >= _LEAST_FOR_INTERVALS for group in curves)
    if enough:
        curves = [GroupRuns(g.label, g.runs, g.onsets, _intervals(g.runs), g.asked) for g in curves]
    view = group_curves.compute(curves)
    band = "its 95 % interval" if enough else "the range of its runs"
    more = sum(1 for row in comparison.rows if row.finished) - len(curves)
    caption = (
        f"Accuracy (percent) and loss (nats) by epoch, measured in inference mode: mean of a row, band {band}, faint "
        f"lines single runs (n={sum(len(group.runs) for group in curves)})."
        + (f" Only the first {len(curves)} rows of the table are drawn, {more:,} more are left out." if more else "")
    )
    alt = f"Learning curves of {', '.join(group.label for group in curves)}"
    yield Drawing("curves", "Learning curves", caption, alt, partial(group_curves.draw, view))


def _curves_of(row: Row, series: Series) -> GroupRuns:
    finished = [run for run in row.finished_runs if series.get(run.run_id)]
    keys = _keys(finished)
    runs = {key: series[run.run_id] for key, run in zip(keys, finished, strict=True)}
    turns = [run.metrics.get("overfit/onset_epoch") for run in finished]
    onsets = {key: turn for key, turn in zip(keys, turns, strict=True) if turn is not None}
    return GroupRuns(label(row.settings), runs, onsets, asked=row.expected)


def _intervals(runs: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, dict[int, tuple[float, float]]]:
    """The t interval at each epoch that all runs have, except epochs with a value that is not finite."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for name in set.intersection(*(set(run) for run in runs.values())):
        epochs = set.intersection(*(set(run[name]) for run in runs.values()))
        for epoch in sorted(epochs):
            interval = t_interval([run[name][epoch] for run in runs.values()])
            if interval is not None:
                found.setdefault(name, {})[epoch] = (interval.low, interval.high)
    return found


def _varied(groups: Sequence[Group]) -> list[str]:
    names = dict.fromkeys(name for group in groups for name in group.settings if name != PARAMETERS)
    return [name for name in names if len(_values(groups, name)) > 1]


def _values(groups: Sequence[Group], name: str) -> list[str]:
    return ordered(value_text(group.settings.get(name)) for group in groups)


def _is_number(groups: Sequence[Group], name: str) -> bool:
    return all(math.isfinite(number(group.settings.get(name))) for group in groups)


def _extremes(groups: Sequence[Group], measure: Measure) -> str:
    """`gaps from +1.5 points (mlp_128 sgd) to +2.7 points (mlp_300_100 adam)`."""
    known = [(estimate.mean, group.label) for group in groups
             if math.isfinite((estimate := measure.estimate(group.gap)).mean)]  # fmt: skip
    if not known:
        return "no finite gap"
    low, high = min(known), max(known)
    unit = measure.gap_unit
    if low == high:
        return f"gap {measure.gap_text(low[0])} {unit} ({low[1]})"
    return f"gaps from {measure.gap_text(low[0])} {unit} ({low[1]}) to {measure.gap_text(high[0])} {unit} ({high[1]})"
