"""What is in a dataset: how many images each class has, the values of all images, and an image of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures import style
from harness.records import Dataset, FloatArray, IntArray

MOST_NAMED = 20
"""Classes whose names have room beside their bars; of more the counts are drawn in order of size."""
_EXAMPLES = 12
_BINS = 40
_TICKS = (0.01, 0.1, 1, 10, 100)
_LEAST = 0.005
_SAMPLE = 2_000
"""Images of each split whose values are counted."""


@dataclass(frozen=True)
class Overview:
    """`counts` (2, classes) of training and test, `edges` (bins + 1,) and `shares` (2, bins) of their values in
    percent, and the first training image of each of the first classes (empty for vectors)."""

    class_names: tuple[str, ...]
    counts: IntArray
    edges: FloatArray
    shares: FloatArray
    examples: tuple[tuple[str, FloatArray], ...]


def compute(dataset: Dataset) -> Overview:
    """Values are those of evenly spaced images of each split."""
    splits, classes = (dataset.train, dataset.test), len(dataset.class_names)
    counts = np.array([np.bincount(split.labels, minlength=classes) for split in splits])
    samples = [split.images[:: max(1, len(split) // _SAMPLE)].ravel() for split in splits]
    low, high = min(float(each.min()) for each in samples), max(float(each.max()) for each in samples)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = np.array([100.0 * np.histogram(each, edges)[0] / each.size for each in samples])
    examples = []
    if dataset.train.images.ndim > 2 and dataset.train.images.shape[3:] in ((), (3,)):
        for label, name in enumerate(dataset.class_names[:_EXAMPLES]):
            image = dataset.train.images[int(np.argmax(dataset.train.labels == label))]
            examples.append((name, (image - low) / (high - low if high > low else 1)))
    return Overview(dataset.class_names, counts.astype(np.int64), edges, shares, tuple(examples))


@style.look
def draw(overview: Overview, title: str) -> Figure:
    """Counts at the left, values at the right, examples below."""
    classes = len(overview.class_names)
    named = classes <= MOST_NAMED
    upper = max(2.6, 0.26 * classes + 0.9) if named else 3.0
    lower = 1.3 if overview.examples else 0.0
    heading = f"{classes:,} classes, {overview.counts[0].sum():,} training and {overview.counts[1].sum():,} test images"
    figure = style.new_figure(9.0, upper + lower + 0.4, title, heading)
    grid = figure.add_gridspec(2 if lower else 1, 2, height_ratios=[upper, lower] if lower else [upper])
    _draw_counts(figure.add_subplot(grid[0, 0]), overview, named)
    _draw_values(figure.add_subplot(grid[0, 1]), overview)
    if lower:
        cells = grid[1, :].subgridspec(1, len(overview.examples))
        for place, (name, image) in enumerate(overview.examples):
            axes = figure.add_subplot(cells[0, place])
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
            axes.set_title(style.fitted(name, "small", 8.0 / _EXAMPLES, lines=1), size="small")
    return figure


def _draw_counts(axes: Axes, overview: Overview, named: bool) -> None:
    train, test = overview.counts
    if named:
        places = np.arange(len(train))
        axes.barh(places - 0.2, train, 0.4, color=style.TRAIN, label="training")
        axes.barh(places + 0.2, test, 0.4, color=style.HELD_OUT, label="test", hatch="///", edgecolor="white")
        axes.set_yticks(places, [style.fitted(name, "small", 2.0, lines=1) for name in overview.class_names])
        axes.invert_yaxis()
        axes.set(xlabel="images")
    else:
        order = np.lexsort((-test, -train))
        axes.plot(train[order], color=style.TRAIN, label="training")
        axes.plot(test[order], color=style.HELD_OUT, linestyle="--", label="test")
        axes.set(xlabel="classes, the largest first", ylabel="images", ylim=(0, None))
    axes.set_title("Images of each class", loc="left")
    _legend(axes)


def _draw_values(axes: Axes, overview: Overview) -> None:
    for share, colour, dash, name in zip(
        overview.shares, (style.TRAIN, style.HELD_OUT), ("-", "--"), ("training", "test"), strict=True
    ):
        axes.stairs(np.maximum(share, _LEAST), overview.edges, color=colour, linestyle=dash, label=name)
    axes.set(yscale="log", xlabel="value", ylabel="% of all values", ylim=(_LEAST, 100))
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    axes.set_title("Values of the images", loc="left")
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
