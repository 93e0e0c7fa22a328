"""Power analysis: how many seeds are needed to show a difference of a given size, from the spread of existing runs.

The planned design has rows with the same n seeds, tested as in contrasts.py: a two-sided t test of the differences
paired by seed; from three seeds on, the variance is pooled over all rows if these vary equally. A difference d whose
pairs have the standard deviation s then has a noncentral t with noncentrality d sqrt(n) / s (Cohen 1988, "Statistical
Power Analysis for the Behavioral Sciences", chapter 2; Johnson and Welch 1940, "Applications of the non-central
t-distribution", Biometrika 31).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import (
    FEWEST_TO_POOL,
    POOLING_GUARD,
    Values,
    deviations,
    difference,
    pooled_variance,
    residuals,
)
from harness.analysis.rows import Row
from harness.analysis.statistics import ALPHA, LEVEL, ROUNDING, Interval, mean_and_deviation
from harness.errors import RequestError

WANTED = 0.80
"""The wanted power: the share of cases in which a difference is shown."""

SEEDS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30)
MOST = 1000
"""The largest number of seeds that is tried."""


@dataclass(frozen=True)
class Spread:
    """The standard `deviation` of the difference of two rows under one seed, estimated from `values` runs with so many
    `degrees` of freedom.

    `paired`: from the residuals of rows x seeds after removing the means of both. `within`: from the deviations within
    rows, as if rows were independent under one seed; except by chance not smaller than the paired one. `alike`: no row
    varies more than the others, so that the variance can be pooled.
    """

    deviation: float
    degrees: int
    kind: Literal["paired", "within"]
    alike: bool
    values: int

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the deviation, by the chi-square distribution of its square."""
        from scipy.special import chdtri

        scaled = self.degrees * self.deviation**2
        low, high = (scaled / float(chdtri(self.degrees, p)) for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Interval(math.sqrt(low), math.sqrt(high))


def spread(groups: Sequence[Values]) -> Spread | None:
    """The spread of the scores of rows by seed; None if no row has two seeds, or nothing varies. Non-finite scores are
    left out."""
    finite = [{unit: value for unit, value in of.items() if math.isfinite(value)} for of in groups]
    block, units = _largest_block(finite)
    if block:
        degrees = (len(block) - 1) * (len(units) - 1)
        values = np.array([[of[unit] for unit in units] for of in block])
        variance = 2 * float((residuals(values) ** 2).sum()) / degrees
        if math.sqrt(variance) > ROUNDING * float(np.abs(values).max()):
            return Spread(math.sqrt(variance), degrees, "paired", not pooled_variance(values)[1], values.size)
        return None
    several = [list(of.values()) for of in finite if len(of) > 1]
    degrees = sum(len(of) - 1 for of in several)
    squares = sum((len(of) - 1) * (mean_and_deviation(of)[1] or 0.0) ** 2 for of in several)
    return (
        Spread(math.sqrt(2 * squares / degrees), degrees, "within", True, sum(map(len, several))) if squares else None
    )


def _largest_block(groups: Sequence[Values]) -> tuple[list[Values], list[str]]:
    """The rows and seeds of the largest complete block (every row has every seed): the one with the most degrees of
    freedom among the sets of seeds that single rows have."""
    sets = dict.fromkeys(frozenset(of) for of in groups if len(of) > 1)
    blocks = [([of for of in groups if units <= of.keys()], sorted(units)) for units in sets]
    blocks = [(rows, units) for rows, units in blocks if len(rows) > 1]
    return max(blocks, key=lambda block: (len(block[0]) - 1) * (len(block[1]) - 1), default=([], []))


@dataclass(frozen=True)
class Design:
    """A design with so many `rows`, including the baseline, under the same seeds."""

    spread: Spread
    rows: int

    @property
    def comparisons(self) -> int:
        """The number of differences to the baseline that are shown together."""
        return max(self.rows - 1, 1)

    def pools(self, seeds: int) -> bool:
        """Whether the variance is pooled over rows."""
        return self.spread.alike and self.rows > 2 and seeds >= FEWEST_TO_POOL

    def power(self, size: float, seeds: int, comparisons: int = 1) -> float:
        """The probability that a true difference of this `size` is shown, if it is one of `comparisons` with
        Bonferroni's correction (Holm's has at least this power).

        Even if the variance can be pooled, the test of equal variances forbids it by chance in `POOLING_GUARD` of
        cases.
        """
        alpha, noncentrality = ALPHA / comparisons, size * math.sqrt(seeds) / self.spread.deviation
        several = self.rows > 2 and seeds >= FEWEST_TO_POOL
        alone = _power(noncentrality, seeds - 1, alpha, least=1.0 if several else 0.0)
        if not self.pools(seeds):
            return alone
        pooled = _power(noncentrality, (self.rows - 1) * (seeds - 1), alpha)
        return (1 - POOLING_GUARD) * pooled + POOLING_GUARD * alone

    def smallest(self, seeds: int, comparisons: int = 1) -> float:
        """The smallest difference that is shown with probability `WANTED`."""
        from scipy.optimize import brentq

        high = self.spread.deviation
        while self.power(high, seeds, comparisons) < WANTED:
            high *= 2
        return float(brentq(lambda size: self.power(size, seeds, comparisons) - WANTED, 0.0, high))

    def fewest(self, size: float, comparisons: int = 1) -> int | None:
        """The fewest seeds that show a difference of this `size` with probability `WANTED`; None if `MOST` do not."""
        seeds = range(2, MOST + 1)
        place = bisect_left(seeds, WANTED, key=lambda count: self.power(size, count, comparisons))
        return seeds[place] if place < len(seeds) else None

    def at(self, deviation: float) -> Design:
        """The same design with another spread."""
        return replace(self, spread=replace(self.spread, deviation=deviation))


def _power(noncentrality: float, degrees: int, alpha: float, least: float = 0.0) -> float:
    """The probability that a two-sided t test at level `alpha` rejects; its estimated deviation is not less than
    `least` (in units of the true one).

    It is the normal probability given the estimated deviation, averaged over the latter. `scipy.special.nctdtr` gives
    NaN for some of the values needed here; elsewhere the two differ by less than 0.001 (tests).
    """
    from scipy.special import ndtr, stdtrit

    estimated, weights = deviations(degrees)
    reach = float(stdtrit(degrees, 1 - alpha / 2)) * np.maximum(estimated, least)
    return float(weights @ (ndtr(noncentrality - reach) + ndtr(-noncentrality - reach)))


@dataclass(frozen=True)
class Power:
    """How many seeds show a difference of `size` (a fraction) in the gap of accuracy of the ranked split.

    `repeated` is the unit of replication: seeds, or draws of the data. `floor` is the smallest difference that can be
    generalised to other images in `WANTED` of cases, with `images` held-out images and any number of seeds; None if it
    is not known, or too small to matter. `apart` is the number of rows left out because they are scored on other
    images.
    """

    comparison: Comparison
    size: float
    design: Design
    repeated: Literal["seeds", "draws"]
    images: int = 0
    floor: float | None = None
    apart: int = 0


def power(comparison: Comparison, size: float) -> Power:
    """The power for rows that are scored on the same images; of several groups, the one with the most finished runs.

    Raises:
        RequestError: no row has two seeds, or they do not vary.
    """
    name = f"gap_{comparison.held_out}_accuracy"
    finished = [row for row in comparison.rows if name in row.scores]
    groups: dict[str, list[Row]] = {}
    for row in finished:
        groups.setdefault(row.scored_on, []).append(row)
    rows = max(groups.values(), key=lambda of: sum(row.finished for row in of), default=[])
    values = [row.by_unit(name) for row in rows]
    repeated: Literal["seeds", "draws"] = "draws" if any(row.over_draws for row in rows) else "seeds"
    if (found := spread(values)) is None:
        if not any(len(of) > 1 for of in values):
            raise RequestError(
                f"--power {100 * size:g}: a spread needs two {repeated} of a row at least, and no row has them. "
                "Train more: the same sweep with 'seed=range(2)'."
            )
        raise RequestError(f"--power {100 * size:g}: the gap of accuracy does not vary between {repeated} here.")
    images, floor = _floor(comparison, rows, name)
    return Power(comparison, size, Design(found, max(len(rows), 2)), repeated, images, floor, len(finished) - len(rows))


def _floor(comparison: Comparison, rows: Sequence[Row], name: str) -> tuple[int, float | None]:
    """The number of held-out images, and the smallest difference that generalises to other images: the median over the
    comparisons of each row with the first. With many seeds only the error of images is left, which is taken as
    normal."""
    from scipy.special import ndtri

    errors = comparison.held_out_images
    variances = []
    for row in rows[1:]:
        found = difference(row.by_unit(name), rows[0].by_unit(name))
        if found is not None and found.error and errors.kept(row) and errors.kept(rows[0]):
            units = [unit for unit in rows[0].by_unit(name) if unit in row.by_unit(name)]
            wider = errors.widened(found, [(row, rows[0])], units, name)
            if wider is not None and wider.error is not None and wider is not found:
                variances.append(wider.error**2 - found.error**2)
    count = f"data/{comparison.held_out}_images"
    images = next((int(run.metrics[count]) for row in rows for run in row.finished_runs if count in run.metrics), 0)
    variance = median(variances) if variances else 0.0
    if not images or variance <= 0:
        return images, None
    return images, float(ndtri(1 - ALPHA / 2) + ndtri(WANTED)) * math.sqrt(variance)
