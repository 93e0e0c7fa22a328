"""Differences between rows, and effects of a setting, as a table, JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.differences import Finding, Findings, is_gap
from harness.analysis.legend import context, counted, floor_in_words, headline, marks, warnings
from harness.analysis.presenting import json_interval, markdown_row
from harness.analysis.settings import headings
from harness.analysis.statistics import ALPHA, LEVEL
from harness.analysis.table import aligned, wrapped
from harness.errors import RequestError, suggestion

_TITLES = {"gap_{}_accuracy": "Gap of accuracy on {}, points", "gap_{}_loss": "Gap of loss on {}, nats",
           "{}_accuracy": "Accuracy on {}, points"}  # fmt: skip


def render(findings: Findings, form: str) -> str:
    """The findings as `table` (plain text), `json`, `csv` or `markdown`, ending with a line break.

    The table and Markdown are in points; JSON and CSV keep the fractions of the store.

    Raises:
        RequestError: another `form`.
    """
    if form not in FORMATS:
        raise RequestError(f"Unknown format '{form}'.{suggestion(form, FORMATS)} Choose from {', '.join(FORMATS)}.")
    return FORMATS[form](findings)


def _plain(findings: Findings) -> str:
    lines = [*wrapped(_above(findings)), ""]
    for measure in findings.measures:
        header, rows = _table(findings, measure)
        labels = len(findings.keys)
        lines += [_title(findings.comparison, measure)]
        numbers = [labels < place < len(header) - 1 for place in range(len(header))]
        lines += [*aligned([header, *rows], numbers), ""]
    return "\n".join([*lines, *wrapped(_below(findings))]) + "\n"


def _markdown(findings: Findings) -> str:
    first, *rest = _above(findings)
    lines = [f"**{first}**", ""]
    for line in rest:
        lines += [line, ""]
    for measure in findings.measures:
        header, rows = _table(findings, measure)
        right = ["---" if place <= len(findings.keys) else "---:" for place in range(len(header) - 1)]
        lines += [f"{_title(findings.comparison, measure)}:", "", markdown_row(header), markdown_row([*right, "---"])]
        lines += [*map(markdown_row, rows), ""]
    return "\n".join([*lines, " ".join(_below(findings))]) + "\n"


def _above(findings: Findings) -> list[str]:
    lines = [headline(findings.comparison), *context(findings.comparison)]
    if findings.effect is None:
        return [*lines, f"Differences to {findings.baseline}: below 0 is less than it has."]
    short = headings([*findings.comparison.settings, *findings.comparison.follows])
    part = [short[key] for key, source in findings.comparison.follows.items() if source == findings.effect]
    level = f" (and what follows from it: {', '.join(part)})" if part else ""
    return [*lines, f"Effect of {short[findings.effect]}{level}: differences to {findings.baseline}, all else matched."]


def _title(comparison: Comparison, measure: str) -> str:
    split = comparison.held_out
    titles = {name.format(split): title.format(split) for name, title in _TITLES.items()}
    running = comparison.reading.running and is_gap(measure)
    return titles[measure] + ("†" if split in comparison.selected_on else "") + ("‡" if running else "")


def _table(findings: Findings, measure: str) -> tuple[list[str], list[list[str]]]:
    short = headings(findings.keys)
    several = any(finding.contexts > 1 for finding in findings.findings)
    header = [*(short[key] for key in findings.keys), "n", "difference", "95 % interval", "effect", "p", "p Holm"]
    header += ["configurations", "same sign"] * several + ["finding"]
    rows = []
    for finding in findings.findings:
        if finding.measure == measure:
            row = [*finding.cells.values(), *_numbers(finding)]
            if several:
                row += [spread(finding), f"{finding.agreeing} of {finding.contexts}"]
            rows.append([*row, finding.verdict])
    return header, rows


def _numbers(finding: Finding) -> list[str]:
    difference = finding.difference
    if difference is None:
        return ["-"] * 6
    scale, decimals = _scale(finding.measure)
    if difference.kind != "welch":
        noun = "seed" if finding.contexts else "pair"
        left_out = finding.seeds > difference.n
        count = f"{difference.n} of {finding.seeds} {noun}s" if left_out else counted(difference.n, noun)
    else:
        count = f"{difference.n} and {difference.n_baseline}"
    interval = difference.interval
    return [
        count,
        f"{scale * difference.mean:+z.{decimals}f}",
        "-" if interval is None
        else f"{scale * interval.low:+z.{decimals}f} to {scale * interval.high:+z.{decimals}f}",
        _number(difference.effect_size, "+.1f"),
        p_value(difference.p_value),
        p_value(finding.corrected),
    ]  # fmt: skip


def _scale(measure: str) -> tuple[int, int]:
    """What a measure is multiplied by to be shown, and its decimals: points, or nats."""
    return (1, 4) if measure.endswith("_loss") else (100, 2)


def spread(finding: Finding) -> str:
    """`+0.12 to +0.95`: the least and the greatest mean difference in a configuration."""
    scale, decimals = _scale(finding.measure)
    ends = (min(finding.by_configuration), max(finding.by_configuration)) if finding.by_configuration else ()
    return " to ".join(f"{scale * end:+z.{decimals}f}" for end in ends) or "-"


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def p_value(value: float) -> str:
    """`0.031`, `<0.001`; `<0.050` for one below `ALPHA` that would read as if it were not."""
    if value < 0.001:
        return "<0.001"
    text = _number(value, ".3f")
    return f"<{text}" if value < ALPHA == float(text) else text


def _below(findings: Findings) -> list[str]:
    comparison, kinds = findings.comparison, {of.difference.kind for of in findings.findings if of.difference}
    lines = []
    if findings.effect is not None:
        lines.append(
            "n: seeds, which are what is repeated. Under each seed the difference is the mean over the configurations "
            "that differ in this setting only; the mean is about these. configurations: the least and the greatest "
            "mean difference in one of them; same sign: in how many it goes this way."
        )
        if any(of.difference and of.difference.n == 2 for of in findings.findings):
            lines.append(
                "Two seeds show next to nothing: a difference is claimed only if it is six times what they lie apart."
            )
    elif "paired" in kinds:
        lines.append("pairs: paired by seed.")
    if "welch" in kinds:
        lines.append("n and n: no two seeds in common; the runs of the row and of the baseline, by Welch's t test.")
    lines.append(
        "effect: the difference in standard deviations (of pairs d_z, else Hedges' g). 95 % interval (t): of each "
        f"difference by itself. p Holm: corrected for the {findings.tests} tests shown; a difference is claimed where "
        f"it is below {ALPHA}."
    )
    if any(finding.underfit for finding in findings.findings):
        lines.append(f"underfit: {comparison.held_out} accuracy {floor_in_words(comparison)}.")
    if findings.apart:
        lines.append(f"Left out: {counted(findings.apart, 'row')} judged on other {comparison.images_in_words}.")
    if findings.unmatched:
        lines.append(f"{findings.unmatched} of {comparison.finished} finished runs have no partner and are left out.")
    return [*lines, *marks(comparison), *warnings(comparison)]


def _records(findings: Findings) -> list[dict[str, Any]]:
    found = []
    for finding in findings.findings:
        of = finding.difference
        interval = None if of is None else of.interval
        found.append(
            {
                **finding.cells,
                "measure": finding.measure,
                "test": None if of is None else of.kind,
                "n": 0 if of is None else of.n,
                "n_baseline": 0 if of is None else of.n_baseline,
                "seeds": finding.seeds,
                "difference": None if of is None else _finite(of.mean),
                "interval": json_interval(interval),
                "effect_size": None if of is None else _finite(of.effect_size),
                "p": None if of is None else _finite(of.p_value),
                "p_holm": _finite(finding.corrected),
                "agreeing": finding.agreeing,
                "contexts": finding.contexts,
                "underfit": finding.underfit,
                "finding": finding.verdict,
            }
        )
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json(findings: Findings) -> str:
    comparison = findings.comparison
    document = {
        "title": comparison.title,
        "stage": comparison.stage,
        "held_out": comparison.held_out,
        "baseline": findings.baseline,
        "effect": findings.effect,
        "unmatched": findings.unmatched,
        "apart": findings.apart,
        "level": LEVEL,
        "alpha": ALPHA,
        "tests": findings.tests,
        "selected_on": {split: list(reasons) for split, reasons in comparison.selected_on.items()},
        "running_averages": comparison.reading.running or None,
        "remarks": list(comparison.reading.remarks),
        "constants": dict(comparison.constants),
        "follows": dict(comparison.follows),
        "differences": _records(findings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(findings: Findings) -> str:
    target = io.StringIO()
    columns = [*findings.keys, "measure", "test", "n", "n_baseline", "seeds", "difference", "low", "high",
               "effect_size", "p", "p_holm", "agreeing", "contexts", "underfit", "finding", "baseline"]  # fmt: skip
    writer = csv.DictWriter(target, columns, lineterminator="\n")
    writer.writeheader()
    for record in _records(findings):
        record["low"], record["high"] = record.pop("interval") or (None, None)
        writer.writerow({**record, "underfit": str(record["underfit"]).lower(), "baseline": findings.baseline})
    return target.getvalue()


FORMATS: Mapping[str, Callable[[Findings], str]] = {
    "table": _plain,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}
