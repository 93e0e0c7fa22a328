"""Which rows deserve to be ranked by their gap, and which nobody beats.

A model that has learnt nothing has no gap either. So the smallest gap counts among rows whose held-out accuracy is high
enough; the others stand below, as underfit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WITHIN = 0.02
"""How far below the best held-out accuracy a row may lie and still be ranked, as a fraction. Two points are six
standard errors of an accuracy on 10,000 images: no row is sent down by accident, and no model that gave up so much for
its small gap is called the best."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Demand:
    """The held-out accuracy that a row must reach to be ranked by its gap: at least `minimum`, and no more than
    `within` below the best row's. Fractions; None demands nothing."""

    minimum: float | None = None
    within: float | None = WITHIN

    def floor(self, accuracies: Iterable[float]) -> float | None:
        """The least accuracy that will do, given those of all rows (NaN: unknown); None where anything does."""
        known = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
        limits = [] if self.minimum is None else [self.minimum]
        if self.within is not None and known:
            limits.append(max(known) - self.within)
        return max(limits, default=None)


def is_underfit(accuracy: float, floor: float | None) -> bool:
    """Whether an accuracy is known and below the floor."""
    return floor is not None and accuracy < floor - _ROUNDING


def pareto_front(accuracies: Sequence[float], gaps: Sequence[float]) -> list[bool]:
    """For each row whether no other is better in one of accuracy (more) and gap (less) and as good in the other.

    Rows that lack one of the two (NaN) are on no front; equal rows are on it together.
    """
    front = [False] * len(gaps)
    best = math.inf
    known = [place for place in range(len(gaps)) if not math.isnan(accuracies[place] + gaps[place])]
    previous = math.nan
    for place in sorted(known, key=lambda place: (-accuracies[place], gaps[place])):
        same = accuracies[place] == previous and gaps[place] == best
        front[place] = gaps[place] < best or same
        if gaps[place] < best:
            best, previous = gaps[place], accuracies[place]
    return front
