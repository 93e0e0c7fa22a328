"""Builds the text, tables and figures of a report from a comparison."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime

from harness.analysis.comparison import Comparison
from harness.analysis.difference_tables import promise
from harness.analysis.differences import find_row
from harness.analysis.legend import warnings
from harness.analysis.measures import SPLITS, measure_in_words
from harness.records import RunRecord
from harness.reports import facts, findings, tables, testing
from harness.reports.content import Report
from harness.reports.sentences import label
from harness.tracking.reading import read_series
from harness.tracking.selection import Series
from harness.tracking.store import Store

_CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
_ROWS_WITH_CURVES = 6


def gather(
    comparison: Comparison,
    parent: RunRecord | None = None,
    baseline: str | None = None,
    words: str = "",
    series: Series | None = None,
) -> Report:
    """The report without its figures; see `with_figures`.

    Args:
        comparison: ranked by its gap.
        parent: the parent run of the sweep; None for a report of an experiment.
        baseline: the row that the others are compared with; None: each setting's values are compared with its first.
        words: the arguments of `harness report` that make this report again.
        series: as by `read_curves`.

    Raises:
        RequestError: see `testing.all_tests`.
    """
    made = testing.all_tests(comparison, baseline)
    runs = [run for row in comparison.rows for run in row.runs]
    question, expected = facts.question(comparison, parent)
    return Report(
        title=comparison.title,
        answer=findings.answer(comparison, made),
        question=question,
        expected=expected,
        varied=facts.varied(comparison),
        shared=facts.shared(comparison),
        origin=facts.origin(runs, parent),
        findings=findings.findings(comparison, made, _compared(comparison, parent), series),
        corrected=_promise(made),
        warnings=tuple(warnings(comparison)),
        ranking=tables.ranking(comparison),
        tests=tables.tests(comparison, made),
        stages=tables.stages(comparison),
        failures=tables.failures(runs),
        rerun=facts.rerun(comparison, parent, runs, words),
        method=_method(comparison),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def with_figures(report: Report, comparison: Comparison, series: Series, baseline: str | None = None) -> Report:
    """The report with its figures; `series` as by `read_curves`."""
    from harness.reports.drawing import pictures  # matplotlib: a second

    row = None if baseline is None else label(find_row(comparison, baseline).settings)
    return replace(report, figures=tuple(pictures(comparison, series, row)))


def read_curves(store: Store, comparison: Comparison) -> Series:
    """The curves that are drawn: those of the finished runs of the first rows. Raises `StoreError`."""
    rows = [row for row in comparison.rows if row.finished][:_ROWS_WITH_CURVES]
    runs = [run.run_id for row in rows for run in row.finished_runs]
    return read_series(store, runs, _CURVES) if runs else {}


def _compared(comparison: Comparison, parent: RunRecord | None) -> str:
    """The arguments of `harness compare` for the same runs; empty for external runs, which cannot be trained again."""
    if comparison.reading.keys is not None or not comparison.rows:
        return ""
    if parent is not None:
        return parent.run_id[:12]
    return shlex.join(["--experiment", comparison.rows[0].runs[0].experiment])


def _method(comparison: Comparison) -> tuple[str, ...]:
    split = SPLITS[comparison.held_out]
    sides = "Both sides are measured with the same weights in inference mode after training."
    if comparison.reading.running:
        sides = f"Training figures (‡) rest on {comparison.reading.running}"
    elif comparison.reading.keys is not None:
        sides = "The harness did not make these runs, so it does not know how their training figures were measured."
    return (
        f"A gap is training minus {split} accuracy (points), or {split} minus training loss (nats): positive means "
        f"overfitting. {sides}",
        "A row is the mean of its replicates (seeds, or draws of the data), with Student's t interval at 95 %. "
        "Differences are paired by seed. Rows with the same seeds share one variance, unless one row varies more than "
        "the others. Rows with few seeds in common are compared by Welch's test. p-values are two-sided and corrected "
        "by Holm's method within a measure.",
        "An interval over seeds covers what another seed would change on these held-out images. An interval with "
        "images also covers what other images of the same kind would change. Neither covers other training images "
        "(unless they were drawn again), nor the luck of a row that was picked because it is best. With few seeds, "
        'only large differences can be shown: "no difference shown" does not mean that there is none.',
    )


def _promise(made: testing.Tested) -> str:
    """One line that says how reliable the claims of the page are."""
    families = {measure: count for measure, count in made.families.items() if count}
    if not families:
        return ""
    opening = "p: corrected by Holm's method within a measure."
    return promise(opening, {measure_in_words(measure): count for measure, count in families.items()})
