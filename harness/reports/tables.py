"""The tables of a report: the ranked rows, the tests, the runs with three sets of weights, and failed runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.comparison import Comparison
from harness.analysis.comparison_table import table_columns
from harness.analysis.difference_tables import pooling, spread
from harness.analysis.differences import Finding, Findings
from harness.analysis.legend import images_not_kept, legend, what_is_repeated
from harness.analysis.measures import amount, counted, from_to, is_loss, measure_in_words, p_value, unit
from harness.analysis.ranking import COUNT
from harness.analysis.rows import Row
from harness.analysis.settings import SEED
from harness.analysis.statistics import ALPHA, Interval
from harness.records import RunRecord, RunState
from harness.reports.content import Cell, Column, ReportRow, ReportTable, SortKey
from harness.reports.sentences import by_size, label, these_images
from harness.reports.testing import Tested, setting_name, subject
from harness.tracking.access import shown_uri
from harness.tracking.selection import ERROR_TAG, TRIES_TAG

ROWS = 300
"""The most rows of a table, so that the page stays readable. `harness compare --format csv` has all rows."""
RUNS = 150
FAILURES = 30
_REASON = 300
_LEGEND = (
    "difference: the first minus the second. If a difference of gaps is negative, the first overfits less. A "
    "difference is claimed if its p after Holm, corrected within the measure, is below {alpha}."
)
_INTERVAL = (
    "95 % interval (t): of each difference alone, without correction. It covers what another {repeated} would change "
    "on {images}."
)
_WIDER = "with other images: this interval also covers what other images of the same kind would change."
_CONFIGURATIONS = (
    "configurations: the pairs of rows that differ only in this setting. Given are the least and the greatest mean "
    "difference of a pair, and how many pairs have the sign of the overall difference, which is their mean under each "
    "{repeated}."
)
_WELCH = "n and n: both sides have few {repeated}s in common, or none, so all their runs are compared by Welch's test."
_FLIPS = (
    "p of flips: from the sign-flip test of the pairs, which does not assume normal scores; not corrected. If only one "
    "of p and p of flips is below {alpha}, do not rely on either."
)
_STAGES = {"last": "last epoch", "best": "best epoch", "final": "kept"}
_UNITS = {"gap val": "points", "gap test": "points", "loss gap": "nats"}


def ranking(comparison: Comparison) -> ReportTable:
    """The ranked rows, with means, intervals, counts and marks."""
    columns = table_columns(comparison)
    shown = comparison.rows[:ROWS]
    lines = [
        ReportRow(
            tuple(Cell(column.cell(row), _key(row, column.name, column.cell(row))) for column in columns), row.underfit
        )
        for row in shown
    ]
    notes = [*legend(comparison)[:-1]]
    gap = f"gap_{comparison.held_out}_accuracy"
    beside = [place + 1 for place, column in enumerate(columns) if column.name == gap]
    wider = [row.scores[gap].wider if gap in row.scores else None for row in shown]
    headings = [Column(_with_unit(column.heading), column.is_number) for column in columns]
    if beside and any(wider) and comparison.interval == "seeds":
        headings.insert(beside[0], Column("± with images", True))
        widths = [Cell("-") if of is None else Cell(f"± {100 * of.half_width:.1f}", of.half_width) for of in wider]
        lines = [
            replace(line, cells=(*line.cells[: beside[0]], cell, *line.cells[beside[0] :]))
            for line, cell in zip(lines, widths, strict=True)
        ]
        notes.append(
            f"± with images: the interval over {what_is_repeated(comparison)}s and held-out images, which also covers "
            "what other images of the same kind would change."
        )
    notes += images_not_kept(comparison)
    if left_out := len(comparison.rows) - len(shown):
        notes.insert(0, f"{left_out:,} more rows are left out here; `harness compare --format csv` has them.")
    what = measure_in_words(comparison.sorted_by)
    below = "; underfit rows below" if any(row.underfit for row in comparison.rows) else ""
    order = f", the least {what} first{below}" if len(comparison.rows) > 1 else ""
    caption = f"Means over {what_is_repeated(comparison)}s{order}."
    return ReportTable(caption, tuple(headings), tuple(lines), tuple(notes))


def _with_unit(heading: str) -> str:
    bare = heading.replace("†", "")
    found = _UNITS.get(bare.removesuffix(" test").removesuffix(" val")) or _UNITS.get(bare)
    return f"{heading}, {found}" if found else heading


def _key(row: Row, name: str, text: str) -> SortKey:
    if name in row.settings:
        return _setting_key(row.settings[name])
    if name == COUNT:
        return float(row.replicates)
    if name in row.scores:
        mean = row.scores[name].mean
        return mean if math.isfinite(mean) else None
    return None if text == "-" else text or None


def tests(comparison: Comparison, made: Tested) -> ReportTable | None:
    """Every test of the report; None if there is none."""
    every = [(block, finding) for block in made.blocks for finding in block.findings]
    if not every:
        return None
    several = any(finding.contexts > 1 for _, finding in every)
    apart = max(block.apart for block in made.blocks)
    wider = any(finding.wider for _, finding in every)
    flips = any(finding.difference and not math.isnan(finding.difference.p_flip) for _, finding in every)
    names = ["compared", "measure", "finding", "n", "difference", "95 % interval"]
    names += ["with other images"] * wider + ["p", "p after Holm"] + ["p of flips"] * flips
    names += ["configurations"] * several
    numbers, wrapped = {"difference", "p", "p after Holm", "p of flips"}, {"measure", "configurations", "finding"}
    columns = [Column(name, name in numbers, wraps=name in wrapped) for name in names]
    shown = every[:ROWS]
    words = {"alpha": ALPHA, "repeated": what_is_repeated(comparison), "images": these_images(comparison)}
    notes = [_LEGEND, _INTERVAL, *[_WIDER] * wider, *[_CONFIGURATIONS] * several]
    notes += [_WELCH] * any(of.difference and of.difference.kind == "welch" for _, of in every) + [_FLIPS] * flips
    pooled = [(block, line) for block in made.blocks for line in pooling(block)]
    notes = [note.format(**words) for note in notes]
    notes += [line if block.effect is None else f"{setting_name(block)}: {line}" for block, line in pooled]
    notes += images_not_kept(comparison)
    if left_out := len(every) - len(shown):
        notes.insert(0, f"{left_out:,} more tests are left out here, but the correction includes them.")
    if apart:
        notes.append(f"Not compared: {counted(apart, 'row')} scored on different {comparison.images_in_words}.")
    lines = tuple(ReportRow(_test_cells(block, finding, several, wider, flips)) for block, finding in shown)
    return ReportTable("Every test of this page, corrected within its measure.", tuple(columns), lines, tuple(notes))


def _test_cells(block: Findings, finding: Finding, several: bool, wider: bool, flips: bool) -> tuple[Cell, ...]:
    difference, measure = finding.difference, finding.measure
    about = (subject(block, finding), measure_in_words(measure), finding.verdict)
    names = [Cell(text, text) for text in about]
    if difference is None:
        more = 5 + wider + flips + several
        return (*names, *[Cell("-")] * more)
    repeated = "draw" if finding.over_draws else "seed" if finding.contexts else "pair"
    n = counted(difference.n, repeated) if difference.kind != "welch" else f"{difference.n} and {difference.n_baseline}"
    cells = [
        *names,
        Cell(f"{n}, pooled" if difference.kind == "pooled" else n, float(difference.n)),
        Cell(f"{amount(measure, difference.mean)} {unit(measure)}", _finite(difference.mean)),
        _interval(measure, difference.interval),
        *[_interval(measure, finding.wider_interval)] * wider,
        _p(difference.p_value),
        _p(finding.corrected),
        *[_p(difference.p_flip)] * flips,
    ]
    if several:
        share = finding.agreeing / max(finding.contexts, 1)
        cells.append(Cell(f"{spread(finding)}, {finding.agreeing} of {finding.contexts}", share))
    return tuple(cells)


def _interval(measure: str, interval: Interval | None) -> Cell:
    return Cell(from_to(measure, interval), None if interval is None else _finite(interval.low))


def _setting_key(value: str) -> SortKey:
    kind, number, text = by_size(value)
    return number if kind == 0 and math.isfinite(number) else text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _p(value: float) -> Cell:
    return Cell(p_value(value), value) if math.isfinite(value) else Cell("-")


def stages(comparison: Comparison) -> ReportTable | None:
    """Each finished run with its scores under three sets of weights: last epoch, best epoch, and kept."""
    runs = [(row, run) for row in comparison.rows for run in row.finished_runs]
    if not runs:
        return None
    every = [run for _, run in runs]
    splits = [split for split in ("val", "test") if any(f"final/gap_{split}_accuracy" in run.metrics for run in every)]
    names = [f"gap_{split}_{quantity}" for quantity in ("accuracy", "loss") for split in splits]
    same = all(_same(run, names) for run in every)
    kept = [stage for stage in _STAGES if any(f"{stage}/{name}" in run.metrics for run in every for name in names)]
    if same and "last" in kept and "final" in kept:
        kept.remove("last")
    columns = [Column("run"), Column("seed", True)]
    wanted: list[tuple[str, str]] = []
    for name in names:
        group = f"{measure_in_words(name)}, {unit(name)}"
        for stage in [stage for stage in kept if any(f"{stage}/{name}" in run.metrics for run in every)]:
            columns.append(Column("last, kept" if same and stage == "final" else _STAGES[stage], True, group))
            wanted.append((f"{stage}/{name}", name))
    more = [(metric, column, form) for metric, column, form in _MORE if any(metric in run.metrics for run in every)]
    columns += [column for _, column, _ in more]
    lines = []
    for row, run in runs[:RUNS]:
        seed = run.parameters.get(SEED, "-")
        cells = [Cell(label(row.settings), label(row.settings)), Cell(seed, _setting_key(seed))]
        cells += [_gap(run, metric, name) for metric, name in wanted]
        cells += [_scaled(run, metric, form) for metric, _, form in more]
        lines.append(ReportRow(tuple(cells), row.underfit))
    notes = []
    if left_out := len(runs) - len(lines):
        notes.append(f"{left_out:,} more runs are left out here; MLflow has their metrics under the same names.")
    if same:
        notes.append("Every run kept the weights of its last epoch.")
    if "best" in kept:
        notes.append(
            "best epoch: the epoch with the least validation loss. Its validation figures are too good, because it was "
            "selected by them. kept: the weights that the run's model has."
        )
    return ReportTable("Each run, with the scores of its sets of weights.", tuple(columns), tuple(lines), tuple(notes))


_MORE = (
    ("best/epoch", Column("best epoch", True, "epochs"), "0"),
    ("last/epoch", Column("last epoch", True, "epochs"), "0"),
    ("overfit/onset_epoch", Column("loss turns", True, "epochs"), "0"),
    ("overfit/onset_by_epoch", Column("shown by", True, "epochs"), "0"),
    ("overfit/growth", Column("growth of the gap after the onset, nats an epoch", True), "4"),
    ("final/gap_running_minus_clean", Column("running - clean gap, points", True), "p"),
    ("final/test_ece", Column("calibration error on test, %", True), "%"),
    ("final/test_calibration_error", Column("calibration error on test, bias removed, %", True), "%"),
    ("final/test_brier", Column("Brier score on test", True), "4"),
)


def _same(run: RunRecord, names: Sequence[str]) -> bool:
    return all(run.metrics.get(f"last/{name}", run.metrics.get(f"final/{name}")) == run.metrics.get(f"final/{name}")
               for name in names)  # fmt: skip


def _gap(run: RunRecord, metric: str, name: str) -> Cell:
    if metric not in run.metrics:
        return Cell("-")
    value = run.metrics[metric]
    return Cell(amount(name, value, fine=not is_loss(name)), _finite(value))


def _scaled(run: RunRecord, metric: str, form: str) -> Cell:
    value = run.metrics.get(metric, math.nan)
    if not math.isfinite(value):
        return Cell("-")
    text = {"0": f"{value:.0f}", "4": f"{value:z.4f}", "p": f"{100 * value:+z.2f}", "%": f"{100 * value:.1f}"}[form]
    return Cell(text, value)


def failures(runs: Sequence[RunRecord]) -> ReportTable | None:
    """The runs that did not finish; None if there is none."""
    found = [run for run in runs if run.state is not RunState.FINISHED]
    if not found:
        return None
    texts = [(f"{run.name} ({run.run_id})", run.state.lower(), _reason(run), _log(run)) for run in found[:FAILURES]]
    return ReportTable(
        "Runs that did not finish. No mean includes them. The logs are artifacts of the run.",
        (Column("run"), Column("state"), Column("reason", wraps=True), Column("log")),
        tuple(ReportRow(tuple(Cell(text, text) for text in cells)) for cells in texts),
        (f"And {len(found) - FAILURES:,} more.",) if len(found) > FAILURES else (),
    )


def _reason(run: RunRecord) -> str:
    line = shown_uri(run.tags.get(ERROR_TAG, "")).partition("\n")[0]
    if not line:
        return "not recorded" if run.state in (RunState.FAILED, RunState.KILLED) else "the run has not ended"
    return line if len(line) <= _REASON else f"{line[:_REASON]}…"


def _log(run: RunRecord) -> str:
    """The artifacts of the run that say more about its failure."""
    tries = run.tags.get(TRIES_TAG, "1")
    folder = "logs" if tries == "1" else f"logs/try_{tries}"
    return f"{folder}/run.log, traceback.txt" if run.state in (RunState.FAILED, RunState.KILLED) else ""
