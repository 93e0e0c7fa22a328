"""Learning curves: loss and accuracy by epoch with the gap, and both in one panel from 0 to 1 as guide D has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import metrics
from harness.figures import style
from harness.records import FloatArray, History, Score

_MARKED_EPOCHS = 12  # with more epochs, markers would touch each other
_UNIT: Mapping[str, tuple[str, str, str, str]] = {
    "fit/accuracy": ("training accuracy", style.TRAIN, "-", "o"),
    "val/accuracy": ("validation accuracy", style.HELD_OUT, "-", "D"),
    "fit/loss": ("training loss", style.TRAIN, "--", "o"),
    "val/loss": ("validation loss", style.HELD_OUT, "--", "D"),
}


@dataclass(frozen=True)
class Curves:
    """One panel: loss in nats, or accuracy in percent and its gap in points. Values that are not finite are NaN.

    `fit`, `train` and `validation` have a value for each epoch. `gap` is the gap after the last epoch, between `train`
    and `validation`, or `test` if there is no validation split.
    """

    fit: FloatArray
    train: FloatArray
    validation: FloatArray | None
    test: float
    gap: float

    @property
    def held_out(self) -> float:
        """The held-out value of `gap`."""
        return self.test if self.validation is None else float(self.validation[-1])


@dataclass(frozen=True)
class LearningCurves:
    """Both panels. `best_epoch` is the epoch of the least validation loss, or None."""

    loss: Curves
    accuracy: Curves
    best_epoch: int | None
    epochs: range


def compute(history: History, test: Score) -> LearningCurves:
    """The curves of a run of at least one epoch; `test` is the score of its final weights."""
    series = history.series

    def curves(name: str, test_value: float, scale: float) -> Curves:
        fit, train = _finite(series[f"fit/{name}"], scale), _finite(series[f"train/{name}"], scale)
        validation = _finite(series[f"val/{name}"], scale) if f"val/{name}" in series else None
        held_out = test_value * scale if validation is None else float(validation[-1])
        gap = metrics.gap_loss if name == "loss" else metrics.gap_accuracy
        return Curves(fit, train, validation, test_value * scale, gap(float(train[-1]), held_out))

    validation_loss = series.get("val/loss", [])
    best = metrics.best_epoch(validation_loss) if np.isfinite(validation_loss).any() else None
    return LearningCurves(
        loss=curves("loss", test.loss, 1.0),
        accuracy=curves("accuracy", test.accuracy, 100.0),
        best_epoch=None if best is None else history.before + best,
        epochs=range(history.before + 1, history.last_epoch + 1),
    )


def _finite(values: Sequence[float], scale: float) -> FloatArray:
    array = np.asarray(values, dtype=np.float64) * scale
    return np.where(np.isfinite(array), array, np.nan)


@style.look
def draw(curves: LearningCurves, title: str) -> Figure:
    """Draw both panels side by side, with one legend."""
    figure = style.new_figure(10.0, 4.1, title)
    left, right = style.row_of_panels(figure, 2)
    _draw_panel(left, curves.loss, curves.epochs, curves.best_epoch, f"gap\n{_nats(curves.loss.gap)}")
    _draw_panel(right, curves.accuracy, curves.epochs, curves.best_epoch, f"gap\n{curves.accuracy.gap:+z.1f}\npoints")
    held_out = "test" if curves.loss.validation is None else "validation"
    after = f"Gap after epoch {curves.epochs[-1]}"
    left.set(title=f"Loss. {after}: {held_out} - training", ylabel="cross-entropy (nats), lower is better")
    right.set(title=f"Accuracy. {after}: training - {held_out}", ylabel="correct predictions (%), higher is better")
    style.legend_below(figure, left)
    return figure


def _nats(gap: float) -> str:
    return f"{gap:+z.3f}" if abs(gap) < 1_000 else f"{gap:+.2g}"  # large if the run diverged


def _draw_panel(axes: Axes, curves: Curves, epochs: range, best_epoch: int | None, gap_text: str) -> None:
    shape: Any = {"marker": "o" if len(epochs) <= _MARKED_EPOCHS else None, "markersize": 4.0}
    axes.plot(epochs, curves.fit, "--", color=style.RUNNING, linewidth=1.1, label="training, running average", **shape)
    axes.plot(epochs, curves.train, color=style.TRAIN, linewidth=1.8, label="training, end of epoch", **shape)
    colour = style.HELD_OUT
    if curves.validation is None:
        axes.plot([epochs[0], epochs[-1]], [curves.test] * 2, ":", color=colour, linewidth=1.0)
        axes.plot([epochs[-1]], [curves.test], "D", color=colour, markersize=6.0, label="test, final weights")
    else:
        axes.plot(epochs, curves.validation, color=colour, linewidth=1.8, label="validation", **shape)
        between: Any = {"color": style.GAP, "alpha": 0.22, "linewidth": 0}
        axes.fill_between(epochs, curves.train, curves.validation, label="gap", **between)
    axes.margins(y=0.1)  # otherwise the text of a small gap at the top would touch the title
    axes.grid(axis="y")
    axes.set_xlabel("epoch")
    style.whole_numbers(axes, epochs)
    _draw_gap(axes, epochs, float(curves.train[-1]), curves.held_out, gap_text)
    if best_epoch is not None and curves.validation is not None:
        axes.axvline(best_epoch, color=style.MUTED, linewidth=0.9, linestyle=":")
        ring: Any = {"markeredgecolor": colour, "markeredgewidth": 1.6, "markersize": 7.0, "zorder": 4}
        label = f"least validation loss: epoch {best_epoch}"
        axes.plot([best_epoch], [curves.validation[best_epoch - epochs[0]]], "o", color="white", label=label, **ring)


def _draw_gap(axes: Axes, epochs: range, train: float, held_out: float, text: str) -> None:
    """Draw a bracket between the last values, in the free margin at their right."""
    first, last = epochs[0], epochs[-1]
    span = float(max(last - first, 1))
    before, after = (0.04, 0.25) if last > first else (0.6, 0.6)
    axes.set_xlim(first - before * span, last + after * span)
    x, middle = last + 0.045 * span, (train + held_out) / 2
    axes.plot([x, x], [train, held_out], "_-", color=style.INK, linewidth=1.2, markersize=6.0)
    if np.isfinite(middle):
        axes.annotate(text, (x, middle), (6, 0), textcoords="offset points", va="center", weight="bold")


@dataclass(frozen=True)
class UnitCurves:
    """Series by name: accuracies as fractions, losses in nats. Values that are not finite are NaN.

    `beyond` has the greatest value of each series that exceeds 1 (infinity if a loss was not finite).
    """

    series: dict[str, FloatArray]
    beyond: dict[str, float]
    epochs: range


def compute_unit(history: History) -> UnitCurves:
    """The series of a Keras `History`: running averages of training (`fit/*`), and validation if there is one."""
    series = {name: np.asarray(history.series[name], dtype=np.float64) for name in _UNIT if name in history.series}
    greatest = {name: float(np.nan_to_num(values, nan=np.inf, posinf=np.inf).max()) for name, values in series.items()}
    return UnitCurves(
        {name: np.where(np.isfinite(values), values, np.nan) for name, values in series.items()},
        {name: value for name, value in greatest.items() if value > 1.0},
        range(history.before + 1, history.last_epoch + 1),
    )


@style.look
def draw_unit(curves: UnitCurves, title: str) -> Figure:
    """Draw loss and accuracy in one panel from 0 to 1, as guide D does. The heading names series that exceed 1."""
    heading = "Accuracy (fraction) and loss (nats); training: running average of the epoch."
    if curves.beyond:
        cut = ", ".join(f"{_UNIT[name][0]} (up to {value:.3g})" for name, value in curves.beyond.items())
        heading += f" Above 1 and not shown there: {cut}."
    figure = style.new_figure(8.0, style.page_height(8.0, 4.8), title, heading)
    axes = figure.subplots()
    every = -(-len(curves.epochs) // _MARKED_EPOCHS)
    for name, values in curves.series.items():
        label, *look = _UNIT[name]
        line: Any = dict(zip(("color", "linestyle", "marker"), look, strict=True))
        axes.plot(curves.epochs, values, label=label, linewidth=1.8, markersize=4.5, markevery=every, **line)
    axes.set(ylim=(0.0, 1.0), yticks=np.linspace(0.0, 1.0, 11), xlabel="epoch")
    axes.margins(x=0.02)
    axes.grid()
    style.whole_numbers(axes, curves.epochs)
    style.legend_below(figure, axes)
    return figure
