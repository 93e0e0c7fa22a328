"""The mean gap of each group as a bar, with its interval and single runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.gap_marks import draw_intervals
from harness.figures.groups import Estimate, Group, Measure, count_text, limits
from harness.records import Place

_WIDTH = 10.0
_LABELS = 3.6  # inches, the maximum width of labels
_ROOMY = 6.0  # inches; a figure of this width or more has intervals and counts of runs in numbers


@dataclass(frozen=True)
class Bar:
    """One group: `gap` in points or nats, `count` of its runs as text, and its `place` in the comparison."""

    label: str
    gap: Estimate
    count: str
    baseline: bool
    place: Place = Place.NONE

    @property
    def name(self) -> str:
        """The label, with the marks `baseline` and `underfit`."""
        marks = ["baseline"] * self.baseline + [self.place] * self.place.is_underfit
        return f"{self.label} ({', '.join(marks)})" if marks else self.label


@dataclass(frozen=True)
class GapBars:
    """Groups by increasing mean gap, then the underfit ones (as in the table), then those without a gap."""

    bars: tuple[Bar, ...]
    measure: Measure

    @property
    def baseline(self) -> Bar | None:
        return next((bar for bar in self.bars if bar.baseline), None)


def compute(groups: Sequence[Group], measure: Measure, baseline: str | None = None) -> GapBars:
    """A bar for each group. `baseline` is the label of the group that the others are compared with.

    Raises:
        ValueError: there is no group, or none with the label `baseline`.
    """
    if not groups:
        raise ValueError("gap bars need at least one group of runs")
    if baseline is not None and all(group.label != baseline for group in groups):
        raise ValueError(f"no group has the label of the baseline, {baseline!r}")
    bars = []
    for group in groups:
        gap = measure.estimate(group.gap)
        bars.append(Bar(group.label, gap, count_text(gap.n, group), group.label == baseline, group.place))
    bars.sort(key=lambda bar: (math.isnan(bar.gap.mean), bar.place.is_underfit, bar.gap.mean))
    return GapBars(tuple(bars), measure)


@style.look
def draw(view: GapBars, title: str) -> Figure:
    """Draw a horizontal bar for each group, from 0 to its mean gap. Right of 0, the model overfits."""
    bars, measure = view.bars, view.measure
    width = style.page_width(_WIDTH)
    roomy = width >= _ROOMY
    labels = [style.fitted(bar.name, "small", min(_LABELS, 0.4 * width), 3, bold=bar.baseline) for bar in bars]
    lines = max(label.count("\n") + 1 for label in labels)
    row = max(0.26, style.line_height() * lines + 0.08)
    heading = f"{_capital(measure.gap_name)}. Bar: mean; line: its 95 % interval; dots: single runs."
    figure = style.new_figure(_WIDTH, row * len(bars) + 0.8, title, heading, measure.note)
    axes = figure.subplots()
    gaps = [bar.gap for bar in bars]
    axes.set_xlim(*limits([0.0, *_levels(gaps)], [end for gap in gaps for end in (gap.low, gap.high)]))
    axes.set_ylim(len(bars) - 0.5, -0.5)
    _draw_bars(axes, view)
    draw_intervals(axes, range(len(bars)), gaps, along="x")
    axes.set_yticks(range(len(bars)), labels)
    for bar, label in zip(bars, axes.get_yticklabels(), strict=True):
        label.set(weight="bold" if bar.baseline else "normal", linespacing=1.1)
    axes.set_xlabel(f"{measure.gap_unit} (right of 0: overfitting)")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _write_values(axes, view, roomy)
    return figure


def _write_values(axes: Axes, view: GapBars, roomy: bool) -> None:
    """Write the mean of each bar at the right of the panel and, if there is room, its interval and count of runs."""
    values = [_value_text(bar, view.measure, roomy) for bar in view.bars]
    head = f"mean [95 % interval], {view.measure.gap_unit}"
    beside = 72 * max(map(style.text_width, [*values, head])) + 22
    how: Any = {"textcoords": "offset points", "size": "small", "va": "center_baseline", "annotation_clip": False}
    edge = axes.get_yaxis_transform()
    for place, (bar, value) in enumerate(zip(view.bars, values, strict=True)):
        axes.annotate(value, (1, place), (8, 0), edge, **how)
        if roomy:
            axes.annotate(bar.count, (1, place), (beside, 0), edge, color=style.MUTED, **how)
    if roomy:
        axes.annotate(head, (1, 1), (8, 4), "axes fraction", **how | {"va": "bottom"}, color=style.MUTED)


def _levels(gaps: Sequence[Estimate]) -> list[float]:
    return [value for gap in gaps for value in (gap.mean, *gap.values)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value_text(bar: Bar, measure: Measure, interval: bool) -> str:
    if math.isnan(bar.gap.mean):
        return "-" if interval else bar.count
    text = measure.gap_text(bar.gap.mean)
    if bar.gap.bounded and interval:
        text += f"  [{measure.gap_text(bar.gap.low)}, {measure.gap_text(bar.gap.high)}]"
    return text


def _draw_bars(axes: Axes, view: GapBars) -> None:
    axes.axvline(0.0, color=style.MUTED, linewidth=0.9, zorder=2)
    look: Mapping[bool, Any] = {
        False: {"color": style.GAP, "alpha": 0.5},
        True: {"facecolor": "white", "edgecolor": style.MUTED, "hatch": "////", "linewidth": 0.8},
    }
    for place, bar in enumerate(view.bars):
        if math.isfinite(bar.gap.mean):
            axes.barh(place, bar.gap.mean, 0.68, zorder=1, **look[bar.baseline])
    if view.baseline is not None and math.isfinite(view.baseline.gap.mean):
        axes.axvline(view.baseline.gap.mean, color=style.INK, linewidth=1.0, linestyle="--", zorder=2.5)
    dots = [(value, place + 0.2) for place, bar in enumerate(view.bars) for value in bar.gap.values]
    if dots:
        xs, ys = zip(*dots, strict=True)
        axes.scatter(xs, ys, s=13, color=style.INK, alpha=0.45, linewidth=0, zorder=3)
