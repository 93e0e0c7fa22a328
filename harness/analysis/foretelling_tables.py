"""The rank correlations of measures with the gap, in each format."""

from __future__ import annotations

import math

from harness.analysis.foretelling import FEWEST_ROWS, Foretelling, RankCorrelation
from harness.analysis.legend import headline
from harness.analysis.measures import measure_in_words
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text

HEADINGS = ("measure", "runs", "rows", "Kendall's tau", "95 % interval")


def render(found: Foretelling, form: str) -> str:
    """The correlations in one of `tabular.FORMATS`."""
    files = {"json": lambda: _json(found), "csv": lambda: _csv(found)}
    return rendered(form, lambda: Page(_above(found), [_table(found)], LEGEND), files)


LEGEND = [
    "Kendall's tau: 1 where a run with the larger number always has the larger gap, -1 where it has the smaller one, 0 "
    f"where it tells nothing. 95 % interval: bootstrap over rows, from {FEWEST_ROWS} rows on. A correlation over runs "
    "that differ in several settings need not hold within one of them."
]


def _above(found: Foretelling) -> list[str]:
    return [
        headline(found.comparison),
        f"Rank correlation with the {measure_in_words(found.gap.removeprefix('final/'))}.",
    ]


def _table(found: Foretelling) -> Table:
    return Table("", HEADINGS, [cells(of) for of in found.correlations], "l")


def cells(of: RankCorrelation) -> tuple[str, ...]:
    """The cells under `HEADINGS`."""
    tau = "-" if math.isnan(of.tau) else f"{of.tau:+.2f}"
    interval = "-" if of.interval is None else f"{of.interval.low:+.2f} to {of.interval.high:+.2f}"
    return of.measure, str(of.runs), str(of.rows), tau, interval


def _csv(found: Foretelling) -> str:
    ends = [(None, None) if of.interval is None else tuple(of.interval) for of in found.correlations]
    rows = [(of.measure, of.runs, of.rows, of.tau, *end) for of, end in zip(found.correlations, ends, strict=True)]
    return csv_text(("measure", "runs", "rows", "tau", "tau_low", "tau_high"), rows)


def _json(found: Foretelling) -> str:
    measures = [{**vars(of), "interval": of.interval} for of in found.correlations]
    return json_text({"gap": found.gap, "measures": measures})
