"""The published curves of the guides over the band of our runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.figures import style


@dataclass(frozen=True)
class GuideBand:
    """One series by epoch: the published values, our mean, and the bounds for one more run. All have one length."""

    guide: str
    score: str
    epochs: tuple[int, ...]
    published: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def outside(self) -> tuple[int, ...]:
        """The indices of the published points outside the bounds."""
        return tuple(
            place
            for place, (low, value, high) in enumerate(zip(self.low, self.published, self.high, strict=True))
            if not low <= value <= high
        )


@style.look
def draw(bands: Sequence[GuideBand], title: str) -> Figure:
    """Draw a column for each guide and a row for each score: our mean, the 99 % band of one more run, published points.

    Published points inside the band are crosses, those outside are squares. The title counts the points inside.
    """
    guides = list(dict.fromkeys(band.guide for band in bands))
    scores = list(dict.fromkeys(band.score for band in bands))
    figure = style.new_figure(0.6 + 3.8 * len(guides), 0.4 + 2.9 * len(scores), title)
    panels = figure.subplots(len(scores), len(guides), squeeze=False)
    for band in bands:
        _draw_band(panels[scores.index(band.score)][guides.index(band.guide)], band)
    style.legend_below(figure, panels[0][0])
    return figure


def _draw_band(axes: Axes, band: GuideBand) -> None:
    outside = set(band.outside)
    axes.fill_between(
        band.epochs, band.low, band.high, color=style.SKY, alpha=0.35, linewidth=0, label="99 % of further runs"
    )
    axes.plot(band.epochs, band.mean, color=style.BLUE, linewidth=1.6, label="mean of our runs")
    inside = [place for place in range(len(band.epochs)) if place not in outside]
    axes.plot(
        [band.epochs[place] for place in inside], [band.published[place] for place in inside],
        "x", color=style.VERMILLION, markersize=6, markeredgewidth=1.8, label="published",
    )  # fmt: skip
    if outside:
        axes.plot(
            [band.epochs[place] for place in sorted(outside)], [band.published[place] for place in sorted(outside)],
            "s", color=style.VERMILLION, markersize=6, label="published, outside",
        )  # fmt: skip
    count = f"{len(inside)} of {len(band.epochs)} inside"
    axes.set(title=f"Guide {band.guide}, training {band.score}: {count}", xlabel="epoch")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
