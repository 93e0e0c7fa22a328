"""Fills in what a row gets only in comparison with other rows: underfit, Pareto front, missing replicates."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.contrasts import differences_to, simultaneous
from harness.analysis.held_out import HeldOutImages
from harness.analysis.ranking import Demand, front_shares, is_underfit, mean_of, pareto_front
from harness.analysis.rows import HeldOut, IntervalOver, Row, Unit
from harness.analysis.settings import SEED, sortable
from harness.images import Images


def placed(
    rows: Sequence[Row],
    images: Sequence[Images],
    held_out: HeldOut,
    demand: Demand,
    errors: HeldOutImages,
    interval: IntervalOver,
) -> tuple[list[Row], tuple[float, ...]]:
    """The rows with place, front and missing replicates filled in, and the accuracy floors.

    Accuracies on different images are not comparable, so each Pareto front has only rows that are scored on the same
    images. Underfit rows are not on the front, because their gap does not count. A floor is computed only from rows
    that are also trained on the same images or in the same sweep: fewer training images reduce accuracy, which is no
    fault of the model, unless the sweep compares numbers of images.
    """
    scored_on = [seen.of(held_out) for seen in images]
    accuracy, gap = f"{held_out}_accuracy", f"gap_{held_out}_accuracy"
    means = [mean_of(row.scores.get(accuracy)) for row in rows]
    missing, floors, shown = _missing(rows), [math.nan] * len(rows), [False] * len(rows)
    fronts, shares = [False] * len(rows), [math.nan] * len(rows)
    for places in _by(scored_on, range(len(rows))).values():
        members = [rows[place] for place in places]
        front = pareto_front([means[place] for place in places], [mean_of(row.scores.get(gap)) for row in members])
        resampled = front_shares([row.by_unit(accuracy) for row in members], [row.by_unit(gap) for row in members])
        for place, on_front, share in zip(places, front, resampled, strict=True):
            fronts[place], shares[place] = on_front, share
        # Rows share a floor if they share training images or a sweep.
        marks = [({images[place].train}.union(*(run.sweeps for run in rows[place].runs)), place) for place in places]
        shared = [(mark, place) for of_row, place in marks for mark in of_row]
        for peers in _by(*zip(*shared, strict=True)).values():
            floor = demand.floor(means[place] for place in peers)
            below = [place for place in peers if is_underfit(means[place], floor)]
            sure = _shown_below([rows[place] for place in below], [rows[place] for place in peers], accuracy, demand,
                                errors, interval) if below else []  # fmt: skip
            for place, certain in zip(below, sure, strict=True):
                shown[place] = shown[place] or certain
            for place in peers:
                if floor is not None and not floors[place] >= floor:
                    floors[place] = floor
    underfit = [is_underfit(*pair) for pair in zip(means, floors, strict=True)]
    found = [
        replace(
            row, missing=missing[place], scored_on=scored_on[place], underfit=underfit[place],
            underfit_shown=shown[place], on_front=fronts[place] and not underfit[place],
            front_share=math.nan if underfit[place] else shares[place],
        )
        for place, row in enumerate(rows)
    ]  # fmt: skip
    return found, tuple(sorted({floor for floor in floors if not math.isnan(floor)}))


def _shown_below(
    below: Sequence[Row],
    peers: Sequence[Row],
    accuracy: str,
    demand: Demand,
    errors: HeldOutImages,
    interval: IntervalOver,
) -> list[bool]:
    """Whether each row's accuracy is below the demand by more than its interval: below `minimum`, or more than `within`
    below the best row. The best row is selected from the data, so the intervals of the differences to it are
    simultaneous."""
    best = max(peers, key=lambda row: -math.inf if math.isnan(m := mean_of(row.scores.get(accuracy))) else m)
    others = [row for row in peers if row is not best]
    found = []
    values = [row.by_unit(accuracy) for row in others]
    for row, difference in zip(others, differences_to(best.by_unit(accuracy), values), strict=True):
        if difference is not None and interval == "seeds+images":
            own_units, best_units = row.by_unit(accuracy), best.by_unit(accuracy)
            units = [unit for unit in best_units if unit in own_units]
            difference = errors.widened(difference, [(row, best)], units, accuracy)
        found.append((row, difference))
    known = [(row, difference) for row, difference in found if difference is not None]
    together = simultaneous([difference for _, difference in known])
    to_best = {id(row): own for (row, _), own in zip(known, together, strict=True)}
    shown = []
    for row in below:
        own = row.scores[accuracy].interval_over(interval)
        short = demand.minimum is not None and own is not None and own.high < demand.minimum
        reach = to_best.get(id(row))
        if demand.within is not None and reach is not None:
            short = short or reach.high < -demand.within
        shown.append(short)
    return shown


def _by(marks: Sequence[str], places: Sequence[int]) -> dict[str, list[int]]:
    """The indices of the rows with each mark."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for mark, place in zip(marks, places, strict=True):
        found[mark].append(place)
    return found


def _missing(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The missing replicates of each row: those that other rows of its sweeps have. Rows without common replicates are
    not expected to have each other's. All runs outside of sweeps count as one sweep."""
    asked: defaultdict[str | None, dict[int, set[Unit]]] = defaultdict(dict)
    for place, row in enumerate(rows):
        for run in row.runs:
            if SEED in run.parameters:
                for sweep in run.sweeps or (None,):
                    asked[sweep].setdefault(place, set()).add(row.units[run.run_id])
    expected: defaultdict[int, set[Unit]] = defaultdict(set)
    for had in asked.values():
        counts = Counter(unit for units in had.values() for unit in units)
        shared = set().union(*(units for units in had.values() if any(counts[unit] > 1 for unit in units)))
        for place in had:
            expected[place] |= shared
    return [
        tuple(map(str, sorted(expected[place].difference(row.units.values()), key=lambda unit: [*map(sortable, unit)])))
        for place, row in enumerate(rows)
    ]
