"""The mean gap of each group as a bar, with its interval and its single runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from harness.figures import style
from harness.figures.axis import limits
from harness.figures.groups import Estimate, Group, Measure, count_text
from harness.figures.intervals import draw_intervals
from harness.figures.lettering import LINE, fitted, letter, width
from harness.figures.panels import heading_height, write_heading, write_labels
from harness.figures.scales import dress, even_ticks
from harness.records import Place

_WIDTH = 10.0
_LABELS = 3.6  # inches that labels take at most
_PAD = 0.1


@dataclass(frozen=True)
class Bar:
    """One group: its label, its gap in points or nats, how many runs that rests on, whether it is the baseline, and
    what the comparison says of it."""

    label: str
    gap: Estimate
    count: str
    baseline: bool
    place: Place = Place.NONE

    @property
    def name(self) -> str:
        """Its label and what must be known of it."""
        marks = ["baseline"] * self.baseline + [self.place] * self.place.is_underfit
        return f"{self.label} ({', '.join(marks)})" if marks else self.label


@dataclass(frozen=True)
class GapBars:
    """Groups by growing mean gap, underfit ones below them as in the table, those without a gap last."""

    bars: tuple[Bar, ...]
    measure: Measure

    @property
    def baseline(self) -> Bar | None:
        return next((bar for bar in self.bars if bar.baseline), None)


def compute(groups: Sequence[Group], measure: Measure, baseline: str | None = None) -> GapBars:
    """One bar a group; `baseline` is the label of the group that the others are held against.

    Raises:
        ValueError: there is no group, or none with the label `baseline`.
    """
    if not groups:
        raise ValueError("gap bars need one group of runs at least")
    if baseline is not None and all(group.label != baseline for group in groups):
        raise ValueError(f"no group has the label of the baseline, {baseline!r}")
    bars = []
    for group in groups:
        gap = measure.estimate(group.gap)
        bars.append(Bar(group.label, gap, count_text(gap.n, group), group.label == baseline, group.place))
    bars.sort(key=lambda bar: (math.isnan(bar.gap.mean), bar.place.is_underfit, bar.gap.mean))
    return GapBars(tuple(bars), measure)


def draw(view: GapBars, title: str) -> Figure:
    """A row a group; bars from 0 to the mean, to the right of 0 the model overfits."""
    bars, measure = view.bars, view.measure
    labels = [fitted(bar.name, style.SMALL_SIZE, _LABELS, lines=3) for bar in bars]
    values = [_value_text(bar, measure) for bar in bars]
    counts = [bar.count for bar in bars]
    left = max(width(label, style.SMALL_SIZE, bold=bar.baseline) for label, bar in zip(labels, bars, strict=True))
    beside = max(width(text, style.SMALL_SIZE) for text in [*values, f"mean [95 % interval], {measure.gap_unit}"])
    right = beside + 0.25 + max(width(text, style.SMALL_SIZE) for text in counts)
    lines = max(label.count("\n") + 1 for label in labels)
    row = max(0.26, LINE * lines * style.SMALL_SIZE / 72 + 0.08)
    heading = f"{_capital(measure.gap_name)}. Bar: mean; line: its 95 % interval; dots: single runs."
    top = heading_height(heading, measure.note, _WIDTH)
    margins = style.Margins(left + 2 * _PAD, right + 2 * _PAD, 0.5, top + 0.15, 0.0)
    high = margins.bottom + row * len(bars) + margins.top
    figure, (axes,) = style.row_of_panels(_WIDTH, high, title, 1, margins)
    write_heading(figure, heading, measure.note, high)
    gaps = [bar.gap for bar in bars]
    axes.set_xlim(*limits([0.0, *_levels(gaps)], [end for gap in gaps for end in (gap.low, gap.high)]))
    axes.set_ylim(len(bars) - 0.5, -0.5)
    _draw_bars(axes, view)
    draw_intervals(axes, range(len(bars)), gaps, along="x")
    ticks = even_ticks(*axes.get_xlim())
    dress(axes, "", ticks, None, grid="x")
    axes.spines["left"].set_visible(False)
    write_labels(axes, f"{measure.gap_unit} (right of 0: overfitting)", ticks.depth)
    rows = list(range(len(bars)))
    edge: Any = {"transform": axes.get_yaxis_transform()}
    bold = [bar.baseline for bar in bars]
    letter(axes, labels, [(0.0, place) for place in rows], bold=bold, align="right", shift=(-72 * _PAD, 0.0), **edge)
    how: Any = {"align": "left", "shift": (72 * _PAD, 0.0), **edge}
    letter(axes, values, [(1.0, place) for place in rows], **how)
    letter(axes, counts, [(1.0, place) for place in rows], colours=style.MUTED, align="left",
           shift=(72 * (_PAD + beside + 0.2), 0.0), **edge)  # fmt: skip
    head = f"mean [95 % interval], {measure.gap_unit}"
    letter(axes, [head], [(1.0, 1.0)], colours=style.MUTED, align="left", valign="bottom", shift=(72 * _PAD, 4.0),
           transform=axes.transAxes)  # fmt: skip
    return figure


def _levels(gaps: Sequence[Estimate]) -> list[float]:
    return [value for gap in gaps for value in (gap.mean, *gap.values)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value_text(bar: Bar, measure: Measure) -> str:
    if math.isnan(bar.gap.mean):
        return "-"
    text = measure.gap_text(bar.gap.mean)
    if bar.gap.bounded:
        text += f"  [{measure.gap_text(bar.gap.low)}, {measure.gap_text(bar.gap.high)}]"
    return text


def _draw_bars(axes: Axes, view: GapBars) -> None:
    axes.axvline(0.0, color=style.MUTED, linewidth=0.9, zorder=2)
    for baseline, look in ((False, {"facecolors": style.GAP, "alpha": 0.5}),
                           (True, {"facecolors": "white", "edgecolors": style.MUTED, "hatch": "////"})):  # fmt: skip
        corners = [
            [(0.0, place - 0.34), (bar.gap.mean, place - 0.34), (bar.gap.mean, place + 0.34), (0.0, place + 0.34)]
            for place, bar in enumerate(view.bars)
            if bar.baseline is baseline and math.isfinite(bar.gap.mean)
        ]
        if corners:
            axes.add_collection(PolyCollection(corners, linewidths=0.8 * baseline, zorder=1, **look), autolim=False)
    if view.baseline is not None and math.isfinite(view.baseline.gap.mean):
        axes.axvline(view.baseline.gap.mean, color=style.INK, linewidth=1.0, linestyle="--", zorder=2.5)
    dots = [(value, place + 0.2) for place, bar in enumerate(view.bars) for value in bar.gap.values]
    if dots:
        xs, ys = np.asarray(dots).T
        axes.scatter(xs, ys, s=13, color=style.INK, alpha=0.45, linewidth=0, zorder=3)
