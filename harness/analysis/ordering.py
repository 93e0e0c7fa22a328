"""In which order a comparison's rows come: by a column, and by their settings where that leaves it open."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.analysis.rows import Row, Score
from harness.analysis.settings import headings, sortable
from harness.errors import RequestError, suggestion

COUNT = "n"


def column_named(wanted: str, settings: Sequence[str], scores: Sequence[str]) -> str:
    """The column that `wanted` means, by its name or a setting's short one. Raises `RequestError` for no column."""
    columns = (*settings, COUNT, *scores)
    if wanted in columns:
        return wanted
    for key, heading in headings(settings).items():
        if wanted == heading:
            return key
    raise RequestError(
        f"There is no column '{wanted}' to sort by.{suggestion(wanted, columns)} Choose from {', '.join(columns)}."
    )


def in_order(rows: list[Row], column: str, settings: Sequence[str], ascending: bool) -> list[Row]:
    """The rows by a column, then by their settings; those without a value come last."""
    tidy = sorted(rows, key=lambda row: tuple(sortable(row.settings[key]) for key in settings))
    if column in settings:
        return sorted(tidy, key=lambda row: sortable(row.settings[column]), reverse=not ascending)
    value: Callable[[Row], float] = (
        (lambda row: row.finished) if column == COUNT else (lambda row: mean_of(row.scores.get(column)))
    )
    known = sorted((row for row in tidy if not math.isnan(value(row))), key=value, reverse=not ascending)
    return known + [row for row in tidy if math.isnan(value(row))]


def mean_of(score: Score | None) -> float:
    """NaN where there is no score."""
    return math.nan if score is None else score.mean
