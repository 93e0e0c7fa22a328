"""Figures of a search: best so far, importance, slices, contour, parallel coordinates. All show validation scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from harness.figures import style
from harness.records import FloatArray

_WIDTH, _PANEL = 10.0, 3.1  # inches
_COLOURS = "viridis"


@dataclass(frozen=True)
class SearchAxis:
    """A setting that was searched over: its name, its `choices` (empty: numbers), and whether it is logarithmic."""

    name: str
    choices: tuple[str, ...] = ()
    log: bool = False

    def place(self, value: object) -> float:
        """Where a value is on the axis: of a choice, its number."""
        return float(self.choices.index(str(value))) if self.choices else float(str(value))


@dataclass(frozen=True)
class SearchPoint:
    """A trial under all of its seeds: places on the axes, mean accuracy in percent and gap in points, and the minutes
    from the start of the search to its end. `is_able`: it meets the constraint; `is_best`: it is a winner."""

    number: int
    places: tuple[float, ...]
    accuracy: float
    gap: float
    minutes: float
    is_able: bool
    is_best: bool


@dataclass(frozen=True)
class SearchView:
    """The trials of a search by number. `goal` names the objective; `best` has its value so far after each trial, NaN
    where no trial met the constraint. `importance` are shares by measure and axis; `remark` says how sure they are."""

    axes: tuple[SearchAxis, ...]
    points: tuple[SearchPoint, ...]
    goal: str
    best: tuple[float, ...]
    importance: Mapping[str, Sequence[float]]
    remark: str = ""

    @property
    def places(self) -> FloatArray:
        """The places on the axes, (trials, axes)."""
        return np.array([point.places for point in self.points], dtype=np.float64)


@style.look
def draw_best_so_far(view: SearchView, title: str) -> Figure:
    """Draw the best value after each trial, against the number of trials and against the time."""
    heading = f"The best {view.goal} so far, of trials under all of their seeds."
    figure = style.new_figure(_WIDTH, 4.2, title, heading, "")
    by_label: Mapping[str, list[float]] = {
        "trials": [point.number + 1 for point in view.points],
        "minutes": [point.minutes for point in view.points],
    }
    for axes, (label, places) in zip(style.row_of_panels(figure, 2), by_label.items(), strict=True):
        axes.step(places, view.best, where="post", color=style.BLUE, linewidth=1.8)
        axes.set_xlabel(label)
        axes.set_ylabel(view.goal)
        axes.grid()
    return figure


@style.look
def draw_importance(view: SearchView, title: str) -> Figure:
    """Draw how much of the differences between good trials and all trials each setting explains, by measure."""
    heading = f"What mattered: the share of each setting in what sets good trials apart (PED-ANOVA). {view.remark}"
    figure = style.new_figure(_WIDTH, 1.8 + 0.45 * len(view.axes), title, heading, "")
    axes, high = figure.subplots(), 0.8 / max(len(view.importance), 1)
    for place, (measure, shares) in enumerate(view.importance.items()):
        rows = np.arange(len(view.axes)) + (place - (len(view.importance) - 1) / 2) * high
        colour = (style.ORANGE, style.BLUE)[place % 2]
        axes.barh(rows, 100 * np.asarray(shares), high, color=colour, label=f"for the {measure}")
    axes.set_yticks(range(len(view.axes)), [axis.name for axis in view.axes])
    axes.invert_yaxis()
    axes.set_xlabel("share (%)")
    axes.grid(axis="x")
    style.legend_below(figure, axes)
    return figure


@style.look
def draw_slices(view: SearchView, title: str) -> Figure:
    """Draw gap and accuracy of every trial against each setting."""
    heading = "Every trial, against one setting at a time. Later trials are lighter; a ring marks the best."
    figure = style.new_figure(_WIDTH, _PANEL * 2, title, heading, "")
    panels = figure.subplots(2, len(view.axes), squeeze=False, sharey="row")
    for row, measure in enumerate(("gap", "accuracy")):
        for column, axis in enumerate(view.axes):
            axes, places = panels[row, column], view.places[:, column]
            values = [getattr(point, measure) for point in view.points]
            _scatter(axes, view, places, values, [point.number for point in view.points])
            _scale(axes, axis, "x", labelled=row == 1)
            axes.grid()
            if not column:
                axes.set_ylabel("gap to val (points)" if measure == "gap" else "val accuracy (%)")
    return figure


@style.look
def draw_contour(view: SearchView, title: str) -> Figure:
    """Draw the gap over the two numbers that matter most for it; there is nothing between two choices."""
    first, second = numbers_that_matter(view)
    heading = (
        f"The gap over {view.axes[first].name} and {view.axes[second].name}, interpolated between the trials (points). "
        "Darker is smaller. A ring marks the best."
    )
    figure = style.new_figure(_WIDTH, 5.0, title, heading, "")
    axes = figure.subplots()
    xs, ys = view.places[:, first], view.places[:, second]
    gaps = [point.gap for point in view.points]
    shown = _scatter(axes, view, xs, ys, gaps)
    flat = [np.log10(places) if view.axes[at].log else places for at, places in ((first, xs), (second, ys))]
    if np.linalg.matrix_rank(np.stack(flat) - np.mean(flat, axis=1)[:, None]) == 2:  # not all on one line
        axes.tricontourf(xs, ys, gaps, levels=12, cmap=_COLOURS, alpha=0.35, zorder=1)
    style.colour_bar(axes, shown, "gap to val (points)")
    _scale(axes, view.axes[first], "x")
    _scale(axes, view.axes[second], "y")
    return figure


@style.look
def draw_parallel(view: SearchView, title: str) -> Figure:
    """Draw a line for each trial through its settings, its accuracy and its gap."""
    heading = "A line for each trial through its settings. Darker lines have a smaller gap; the best is drawn thick."
    figure = style.new_figure(_WIDTH, 5.0, title, heading, "")
    axes = figure.subplots()
    names = [*(axis.name for axis in view.axes), "val accuracy", "gap to val"]
    settings = [np.log10(view.places[:, at]) if axis.log else view.places[:, at] for at, axis in enumerate(view.axes)]
    columns = [*settings, np.array([point.accuracy for point in view.points])]
    columns.append(np.array([point.gap for point in view.points]))
    lows, highs = ([of(column) for column in columns] for of in (np.min, np.max))
    heights = np.stack([(column - low) / ((high - low) or 1.0) for column, low, high in zip(columns, lows, highs,
                                                                                            strict=True)])  # fmt: skip
    colours = _colours(columns[-1])
    for place, point in enumerate(view.points):
        look: Any = {"linewidth": 2.6, "zorder": 3, "color": style.VERMILLION} if point.is_best else {
            "linewidth": 0.9, "alpha": 0.7, "color": colours[place]}  # fmt: skip
        axes.plot(range(len(names)), heights[:, place], **look)
    for at, (low, high) in enumerate(zip(lows, highs, strict=True)):
        axes.axvline(at, color=style.RULE, zorder=0)
        ends = (10**low, 10**high) if at < len(view.axes) and view.axes[at].log else (low, high)
        choices = view.axes[at].choices if at < len(view.axes) else ()
        for height, end in zip((0.0, 1.0), ends, strict=True):
            text = choices[round(end)] if choices else f"{end:.3g}"
            axes.text(at, height + (0.03 if height else -0.03), text, ha="center", va="bottom" if height else "top",
                      size="small", color=style.MUTED)  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_ylim(-0.15, 1.15)
    axes.tick_params(axis="x", pad=12)
    return figure


def _colours(values: FloatArray) -> Any:
    """A colour for each value, the smallest the darkest."""
    from matplotlib import colormaps

    low, high = float(np.min(values)), float(np.max(values))
    return colormaps[_COLOURS]((values - low) / ((high - low) or 1.0))


def _scatter(axes: Axes, view: SearchView, xs: Any, ys: Any, colours: Sequence[float]) -> Any:
    """The trials as points, hollow where they do not meet the constraint, with a ring around the best."""
    shown = axes.scatter(xs, ys, c=colours, cmap=_COLOURS, s=26, zorder=3, linewidths=0)
    unable = [place for place, point in enumerate(view.points) if not point.is_able]
    axes.scatter(np.asarray(xs)[unable], np.asarray(ys)[unable], s=8, color="white", zorder=4, linewidths=0)
    best = [place for place, point in enumerate(view.points) if point.is_best]
    axes.scatter(np.asarray(xs)[best], np.asarray(ys)[best], s=90, zorder=5, facecolors="none",
                 edgecolors=style.VERMILLION, linewidths=1.6)  # fmt: skip
    return shown


def _scale(axes: Axes, axis: SearchAxis, along: str, labelled: bool = True) -> None:
    """Scale, ticks and name of a setting along `x` or `y`."""
    if axis.choices:
        ticks = range(len(axis.choices))
        getattr(axes, f"set_{along}ticks")(ticks, [style.shortened(choice, 14) for choice in axis.choices])
        getattr(axes, f"set_{along}lim")(-0.5, len(axis.choices) - 0.5)
    elif axis.log:
        getattr(axes, f"set_{along}scale")("log")
        ticks_of = getattr(axes, f"{along}axis")
        ticks_of.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        ticks_of.set_minor_formatter(NullFormatter())
    if labelled:
        getattr(axes, f"set_{along}label")(axis.name)


def numbers_that_matter(view: SearchView) -> list[int]:
    """The places of the two axes with numbers that matter most for the gap; fewer, if there are fewer."""
    shares = list(next(iter(view.importance.values()), [1.0] * len(view.axes)))
    numbers = [place for place, axis in enumerate(view.axes) if not axis.choices]
    return sorted(numbers, key=lambda place: -shares[place])[:2]


def is_drawable(view: SearchView) -> bool:
    """Whether there is enough to draw: two trials, each with finite scores."""
    return len(view.points) > 1 and all(math.isfinite(point.gap) for point in view.points)
