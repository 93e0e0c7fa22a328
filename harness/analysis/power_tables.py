"""The tables of a power analysis in each format, and its summary in one line."""

from __future__ import annotations

from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import POOLING_GUARD
from harness.analysis.legend import headline
from harness.analysis.measures import counted
from harness.analysis.power import MOST, SEEDS, WANTED, Design, Power, power
from harness.analysis.statistics import ALPHA
from harness.errors import RequestError
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text


def render(found: Power, form: str) -> str:
    """The power analysis in one of `tabular.FORMATS`."""
    files = {"json": lambda: _json(found), "csv": lambda: _csv(found)}
    return rendered(form, lambda: Page(_above(found), [_table(found)], _below(found)), files)


def in_a_line(comparison: Comparison, seeds: int, rows: int) -> str | None:
    """What `seeds` seeds of `rows` rows can show, from the spread of a comparison; None if there is no spread."""
    try:
        found = power(comparison, 0.01)
    except RequestError:
        return None
    if seeds < 2:
        return None
    of = found.design.spread
    smallest = Design(of, max(rows, 2)).smallest(seeds)
    return (
        f"By the spread so far (sd of a paired difference {_points(of.deviation)} points, from "
        f"{counted(of.values, 'run')}) {seeds} {found.repeated} show a difference of {_points(smallest)} points in the "
        f"gap of accuracy in {100 * WANTED:.0f} % of cases."
    )


def _above(found: Power) -> list[str]:
    return [
        headline(found.comparison),
        f"How many {found.repeated} show a true difference of {_points(found.size)} points in the gap of accuracy on "
        f"{found.comparison.held_out}.",
    ]


def _table(found: Power) -> Table:
    design, k = found.design, found.design.comparisons
    kinds = {"one comparison": 1} | ({f"each of {k}": k} if k > 1 else {})
    header = [found.repeated, *(f"power, {kind}" for kind in kinds), *(f"smallest, {kind}" for kind in kinds)]
    rows = [
        [str(n), *(f"{100 * design.power(found.size, n, of):.0f} %" for of in kinds.values()),
         *(_points(design.smallest(n, of)) for of in kinds.values())]
        for n in SEEDS
    ]  # fmt: skip
    wanted = f"{100 * WANTED:.0f} %"
    return Table(f"Power, and the smallest difference in points that is shown in {wanted} of cases", header, rows)


def _below(found: Power) -> list[str]:
    design, of = found.design, found.design.spread
    noun, k = found.repeated, design.comparisons
    fewest = _counted(design.fewest(found.size), noun)
    cases = f"{100 * WANTED:.0f} % of cases"
    sentence = f"{fewest} show {_points(found.size)} points in {cases} in one comparison that was fixed beforehand"
    if k > 1:
        sentence += (
            f"; {_counted(design.fewest(found.size, k), noun)} in each of {k} comparisons to a baseline that are shown "
            "together (Bonferroni's bound; Holm's correction finds no fewer)"
        )
    low, high = of.interval.low, of.interval.high
    ends = [_counted(design.at(at).fewest(found.size), "") for at in (low, high)]
    lines = [
        f"{sentence}.",
        f"Spread: {_points(of.deviation)} points is the sd of the difference of two rows under one {noun[:-1]}, from "
        f"{counted(of.values, 'run')} ({of.degrees} degrees of freedom). It is not known better than {_points(low)} to "
        f"{_points(high)} (95 %), which makes {ends[0]} to {ends[1]} {noun} in one comparison.",
    ]
    if of.kind == "within":
        lines.append(
            f"No two rows have {noun} in common: the spread is that within rows, as if pairs had nothing in common."
        )
    if design.pools(max(SEEDS)):
        lines.append(
            f"Tested as --baseline does, two-sided: from 3 {noun} on with the variance pooled over {design.rows} rows, "
            f"but for the {100 * POOLING_GUARD:.0f} % of cases in which rows seem to vary unequally by chance."
        )
    else:
        lines.append("Tested as --baseline does, two-sided: the t test of pairs, with n - 1 degrees of freedom.")
        if not of.alike:
            lines.append("Rows vary unequally: the spread is the average, one row may need more than it says.")
    if found.floor is not None:
        lines.append(
            f"Beyond these {found.images:,} {found.comparison.images_in_words} no number of {noun} shows a difference "
            f"below about {_points(found.floor)} points in {cases}, between rows whose answers differ as these do."
        )
    if found.apart:
        lines.append(f"Left out: {counted(found.apart, 'row')} scored on other {found.comparison.images_in_words}.")
    return lines


def _counted(number: int | None, noun: str) -> str:
    return f"{f'more than {MOST:,}' if number is None else number} {noun}".rstrip()


def _points(fraction: float) -> str:
    """A fraction in points with at least two digits: `0.85`, `1.2`, `13.4`."""
    points = 100 * fraction
    return f"{points:.1f}" if points >= 1 else f"{points:.2f}"


def _records(found: Power) -> list[dict[str, float]]:
    design, k = found.design, found.design.comparisons
    return [
        {
            found.repeated: n,
            "power": design.power(found.size, n),
            "power_each": design.power(found.size, n, k),
            "smallest": design.smallest(n),
            "smallest_each": design.smallest(n, k),
        }
        for n in SEEDS
    ]


def _json(found: Power) -> str:
    design, of = found.design, found.design.spread
    low, high = of.interval.low, of.interval.high
    document: dict[str, Any] = {
        "title": found.comparison.title,
        "measure": f"gap_{found.comparison.held_out}_accuracy",
        "difference": found.size,
        "repeated": found.repeated,
        "alpha": ALPHA,
        "wanted": WANTED,
        "rows": design.rows,
        "comparisons": design.comparisons,
        "sd": of.deviation,
        "sd_interval": of.interval,
        "degrees": of.degrees,
        "spread": of.kind,
        "runs": of.values,
        "fewest": design.fewest(found.size),
        "fewest_interval": [design.at(at).fewest(found.size) for at in (low, high)],
        "fewest_each": design.fewest(found.size, design.comparisons),
        "held_out_images": found.images,
        "floor": found.floor,
        "apart": found.apart,
        "table": _records(found),
    }
    return json_text(document)


def _csv(found: Power) -> str:
    records = _records(found)
    return csv_text(list(records[0]), (record.values() for record in records))
