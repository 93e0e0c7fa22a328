"""Loss and accuracy by epoch, with the gap between training and held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import metrics
from harness.figures import style
from harness.figures.lettering import letter
from harness.figures.scales import dress, epoch_ticks, even_ticks
from harness.records import Evaluation, FloatArray, History

_MARKED_EPOCHS = 12  # with more points than this the markers touch, and the line says it all
_MARGINS = style.Margins(left=0.85, right=0.15, bottom=0.85, top=0.4, between=0.85)


@dataclass(frozen=True)
class Curves:
    """One panel: loss in nats, or accuracy and its gap in percent and points. Values that are not finite are NaN.

    `fit`, `train` and `validation` hold a value an epoch. `gap` is that of the last epoch, between `train` and
    `validation`, or `test` where there is no validation split.
    """

    fit: FloatArray
    train: FloatArray
    validation: FloatArray | None
    test: float
    gap: float

    @property
    def held_out(self) -> float:
        """What `gap` compares the training curve with."""
        return self.test if self.validation is None else float(self.validation[-1])


@dataclass(frozen=True)
class LearningCurves:
    """Both panels; `best_epoch` is that of the least validation loss, where there is one."""

    loss: Curves
    accuracy: Curves
    best_epoch: int | None

    @property
    def epochs(self) -> int:
        return len(self.loss.train)


def compute(history: History, test: Evaluation) -> LearningCurves:
    """Read the curves from the series of a run that trained for one epoch at least; `test` judges its final weights."""
    series = history.series

    def curves(name: str, test_value: float, scale: float) -> Curves:
        fit, train = _finite(series[f"fit/{name}"], scale), _finite(series[f"train/{name}"], scale)
        validation = _finite(series[f"val/{name}"], scale) if f"val/{name}" in series else None
        held_out = test_value * scale if validation is None else float(validation[-1])
        gap = metrics.gap_loss if name == "loss" else metrics.gap_accuracy
        return Curves(fit, train, validation, test_value * scale, gap(float(train[-1]), held_out))

    validation_loss = series.get("val/loss", [])
    return LearningCurves(
        loss=curves("loss", test.loss, 1.0),
        accuracy=curves("accuracy", test.accuracy, 100.0),
        best_epoch=metrics.best_epoch(validation_loss) if np.isfinite(validation_loss).any() else None,
    )


def _finite(values: Sequence[float], scale: float) -> FloatArray:
    array = np.asarray(values, dtype=np.float64) * scale
    return np.where(np.isfinite(array), array, np.nan)


def draw(curves: LearningCurves, title: str) -> Figure:
    """Two panels side by side under one title, with one legend for both."""
    figure, (left, right) = style.row_of_panels(10.0, 4.2, title, 2, _MARGINS)
    _draw_panel(left, curves.loss, curves.best_epoch, f"gap\n{_nats(curves.loss.gap)}")
    _draw_panel(right, curves.accuracy, curves.best_epoch, f"gap\n{curves.accuracy.gap:+z.1f}\npoints")
    held_out = "test" if curves.loss.validation is None else "validation"
    _dress(left, f"Loss. Gap after epoch {curves.epochs}: {held_out} - training", curves.epochs)
    _dress(right, f"Accuracy. Gap after epoch {curves.epochs}: training - {held_out}", curves.epochs)
    _beside(left, "cross-entropy (nats), lower is better")
    _beside(right, "correct predictions (%), higher is better")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", ncols=5, frameon=False, fontsize=style.SMALL_SIZE)
    return figure


def _dress(axes: Axes, title: str, epochs: int) -> None:
    dress(axes, title, epoch_ticks(epochs), even_ticks(*axes.get_ylim()))
    where: Any = {"valign": "top", "shift": (0.0, -18.0), "transform": axes.transAxes}
    letter(axes, ["epoch"], [(0.5, 0.0)], size=style.TEXT_SIZE, **where)


def _beside(axes: Axes, words: str) -> None:
    shift = (12.0 - 72 * _MARGINS.left, 0.0)
    letter(axes, [words], [(0.0, 0.5)], size=style.TEXT_SIZE, angle=90.0, shift=shift, transform=axes.transAxes)


def _nats(gap: float) -> str:
    return f"{gap:+z.3f}" if abs(gap) < 1_000 else f"{gap:+.2g}"  # of a run that diverged


def _draw_panel(axes: Axes, curves: Curves, best_epoch: int | None, gap_text: str) -> None:
    epochs = np.arange(1, len(curves.train) + 1)
    last = len(epochs)
    marker = "o" if last <= _MARKED_EPOCHS else None
    shape: Any = {"marker": marker, "markersize": 4.0}
    axes.plot(epochs, curves.fit, "--", color=style.RUNNING, linewidth=1.1, label="training, running average", **shape)
    axes.plot(epochs, curves.train, color=style.TRAIN, linewidth=1.8, label="training, end of epoch", **shape)
    if curves.validation is not None:
        axes.plot(epochs, curves.validation, color=style.HELD_OUT, linewidth=1.8, label="validation", **shape)
        axes.fill_between(
            epochs, curves.train, curves.validation, color=style.GAP, alpha=0.22, linewidth=0, label="gap"
        )
    else:
        axes.plot([1, last], [curves.test, curves.test], color=style.HELD_OUT, linewidth=1.0, linestyle=":")
        axes.plot(
            [last],
            [curves.test],
            "D",
            color=style.HELD_OUT,
            markersize=6.0,
            linestyle="none",
            label="test, final weights",
        )
    axes.margins(y=0.1)  # the text of a small gap at the upper end stays below the title
    _draw_gap(axes, last, float(curves.train[-1]), curves.held_out, gap_text)
    if best_epoch is not None:
        _draw_best(axes, best_epoch, curves)


def _draw_gap(axes: Axes, last: int, train: float, held_out: float, text: str) -> None:
    """A bracket between the last values, in a margin kept free to the right of them."""
    span = float(max(last - 1, 1))
    axes.set_xlim(1 - (0.04 if last > 1 else 0.6) * span, last + (0.25 if last > 1 else 0.6) * span)
    x = last + 0.045 * span
    axes.plot([x, x], [train, held_out], "_-", color=style.INK, linewidth=1.2, markersize=6.0)
    label = axes.annotate(
        text, (x, (train + held_out) / 2), xytext=(6, 0), textcoords="offset points",
        va="center", ha="left", size=style.TEXT_SIZE, weight="bold", color=style.INK,
    )  # fmt: skip
    label.set_in_layout(False)


def _draw_best(axes: Axes, best_epoch: int, curves: Curves) -> None:
    assert curves.validation is not None
    axes.axvline(best_epoch, color=style.MUTED, linewidth=0.9, linestyle=":")
    axes.plot(
        [best_epoch], [curves.validation[best_epoch - 1]], "o", color="white", markeredgecolor=style.HELD_OUT,
        markeredgewidth=1.6, markersize=7.0, linestyle="none", zorder=4,
        label=f"least validation loss: epoch {best_epoch}",
    )  # fmt: skip
