"""The settings of a sweep side by side: how well each does, and how much it overfits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style

_LABEL_WIDTH = 46  # characters to a line of a group's label
_LINE = 0.17  # inches that a line of a label takes


@dataclass(frozen=True)
class GroupValues:
    """Runs that share their settings, one value a run in each tuple. Accuracies and their gap are fractions."""

    label: str
    train_accuracy: tuple[float, ...]
    held_out_accuracy: tuple[float, ...]
    gap_accuracy: tuple[float, ...]
    gap_loss: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Values that are finite, their mean (NaN without any), and their sample deviation (NaN with fewer than two)."""

    values: tuple[float, ...]
    mean: float
    deviation: float


@dataclass(frozen=True)
class ComparedGroup:
    """One group as drawn: accuracies in percent, their gap in points, the gap of losses in nats."""

    label: str
    train: Spread
    held_out: Spread
    gap_accuracy: Spread
    gap_loss: Spread


@dataclass(frozen=True)
class ComparisonView:
    """Groups by growing mean gap of accuracy; `held_out` names the split that they are judged on."""

    groups: tuple[ComparedGroup, ...]
    held_out: str


def compute_comparison(groups: Sequence[GroupValues], held_out: str = "test") -> ComparisonView:
    """Means and spreads of each group, the least gap of accuracy first, groups without a finished run last.

    The number of runs joins the label.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("a comparison needs one group of runs at least")
    compared = [
        ComparedGroup(
            label=_label(group),
            train=_spread(group.train_accuracy, 100.0),
            held_out=_spread(group.held_out_accuracy, 100.0),
            gap_accuracy=_spread(group.gap_accuracy, 100.0),
            gap_loss=_spread(group.gap_loss, 1.0),
        )
        for group in groups
    ]
    compared.sort(key=lambda group: (np.isnan(group.gap_accuracy.mean), group.gap_accuracy.mean))
    return ComparisonView(tuple(compared), held_out)


def _label(group: GroupValues) -> str:
    runs = len(group.gap_accuracy)
    return f"{group.label} (n={runs})" if runs else f"{group.label} (no finished run)"


def _spread(values: Sequence[float], scale: float) -> Spread:
    array = np.asarray(values, dtype=np.float64) * scale
    array = array[np.isfinite(array)]
    return Spread(
        values=tuple(array.tolist()),
        mean=float(array.mean()) if array.size else float("nan"),
        deviation=float(array.std(ddof=1)) if array.size > 1 else float("nan"),
    )


def draw_comparison(view: ComparisonView, title: str) -> Figure:
    """Three panels with a row a group: accuracies, their gap in points, the gap of losses in nats."""
    labels = [textwrap.fill(group.label, _LABEL_WIDTH, break_on_hyphens=False) for group in view.groups]
    lines = max(label.count("\n") + 1 for label in labels)
    row = max(0.24, _LINE * lines + 0.07)
    figure = style.new_figure(12.0, 1.6 + row * len(labels), title)
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1.5, 1.2, 1.2])
    _draw_accuracies(left, view)
    _draw_gap(middle, [group.gap_accuracy for group in view.groups], "{:+z.1f}", " ± {:.1f}")
    _draw_gap(right, [group.gap_loss for group in view.groups], "{:+z.3f}", " ± {:.3f}")
    style.panel(left, "Accuracy: runs and their mean", grid="x")
    style.panel(middle, f"Gap of accuracy: training - {view.held_out}", grid="x")
    style.panel(right, f"Gap of loss: {view.held_out} - training", grid="x")
    left.set_xlabel("correct predictions (%)")
    middle.set_xlabel("points")
    right.set_xlabel("nats")
    left.set_yticks(range(len(labels)), labels, parse_math=False)
    left.set_ylim(len(labels) - 0.4, -0.6)
    for axes in (left, middle, right):
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        for index in range(0, len(labels), 2):
            axes.axhspan(index - 0.5, index + 0.5, color="#F5F5F5", zorder=0, linewidth=0)
    handles, names = left.get_legend_handles_labels()
    gap_handles, gap_names = middle.get_legend_handles_labels()
    figure.legend(
        handles + gap_handles, names + gap_names, loc="outside lower left", ncols=3, frameon=False,
        fontsize=style.SMALL_SIZE,
    )  # fmt: skip
    return figure


def _draw_accuracies(axes: Axes, view: ComparisonView) -> None:
    rows = np.arange(len(view.groups))
    train = [group.train for group in view.groups]
    held_out = [group.held_out for group in view.groups]
    axes.hlines(
        rows, [spread.mean for spread in held_out], [spread.mean for spread in train],
        color=style.GAP, linewidth=3.0, alpha=0.45, zorder=1,
    )  # fmt: skip
    _draw_dots(axes, train, style.TRAIN, marker="o", label="training")
    _draw_dots(axes, held_out, style.HELD_OUT, marker="D", label=view.held_out)


def _draw_gap(axes: Axes, spreads: Sequence[Spread], mean_format: str, deviation_format: str) -> None:
    rows = np.arange(len(spreads))
    axes.axvline(0.0, color=style.MUTED, linewidth=0.9)
    deviations = [0.0 if np.isnan(spread.deviation) else spread.deviation for spread in spreads]
    means = [spread.mean for spread in spreads]
    axes.errorbar(means, rows, xerr=deviations, fmt="none", ecolor=style.INK, elinewidth=1.2, capsize=3.0, zorder=2)
    _draw_dots(axes, spreads, style.GAP, marker="s", label="gap, mean ± sample deviation (right of 0: overfitting)")
    beyond = axes.get_yaxis_transform()
    for row, spread in enumerate(spreads):
        if np.isnan(spread.mean):
            continue
        text = mean_format.format(spread.mean)
        if not np.isnan(spread.deviation):
            text += deviation_format.format(spread.deviation)
        axes.text(1.02, row, text, transform=beyond, va="center", size=style.SMALL_SIZE, color=style.INK)


def _draw_dots(axes: Axes, spreads: Sequence[Spread], colour: str, **shape: Any) -> None:
    """A faint dot a run and a solid mark at each mean."""
    dots = [(value, row) for row, spread in enumerate(spreads) for value in spread.values]
    if dots:
        values, rows = zip(*dots, strict=True)
        axes.scatter(values, rows, s=14, color=colour, alpha=0.45, linewidth=0, zorder=3)
    means = [spread.mean for spread in spreads]
    axes.scatter(means, range(len(means)), s=34, color=colour, edgecolor="white", linewidth=0.8, zorder=4, **shape)
