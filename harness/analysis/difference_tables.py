"""Differences between rows, and effects of a setting, in each format."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from harness.analysis.contrasts import Difference
from harness.analysis.difference_legend import Shown, below, title
from harness.analysis.differences import Finding, Findings
from harness.analysis.legend import context, counted, headline
from harness.analysis.pages import Page, Table, rendered
from harness.analysis.presenting import json_interval
from harness.analysis.settings import headings
from harness.analysis.statistics import ALPHA, LEVEL, Interval
from harness.text import csv_text


def render(findings: Findings, form: str, shown: Shown | None = None) -> str:
    """The findings in one of `pages.FORMATS`, ending with a line break.

    JSON and CSV keep the fractions of the store; the others are in points.

    Raises:
        RequestError: another `form`.
    """
    files = {"json": lambda: _json(findings), "csv": lambda: _csv(findings)}
    return rendered(form, lambda: _page(findings, shown or Shown()), files)


def _page(findings: Findings, shown: Shown) -> Page:
    tables = []
    for measure in findings.measures:
        header, rows = _table(findings, measure, shown)
        labels = len(findings.keys) + 1  # and n, which counts in words
        kinds = "l" * labels + "r" * (len(header) - labels - 1) + "l"
        tables.append(Table(title(findings.comparison, measure), header, rows, kinds))
    return Page(_above(findings), tables, below(findings, shown))


def _above(findings: Findings) -> list[str]:
    lines = [headline(findings.comparison), *context(findings.comparison)]
    if findings.effect is None:
        return [*lines, f"Differences to {findings.baseline}: below 0 is less than it has."]
    short = headings([*findings.comparison.settings, *findings.comparison.follows])
    part = [short[key] for key, source in findings.comparison.follows.items() if source == findings.effect]
    level = f" (and what follows from it: {', '.join(part)})" if part else ""
    return [*lines, f"Effect of {short[findings.effect]}{level}: differences to {findings.baseline}, all else matched."]


def _table(findings: Findings, measure: str, shown: Shown) -> tuple[list[str], list[list[str]]]:
    short = headings(findings.keys)
    family = [finding for finding in findings.findings if finding.measure == measure]
    several = any(finding.contexts > 1 for finding in family)
    columns = _columns(findings, family, shown)
    header = [*(short[key] for key in findings.keys), *columns]
    header += ["configurations", "same sign"] * several + ["finding"]
    rows = []
    for finding in family:
        row = [*finding.cells.values(), *(_cell(finding, cell) for cell in columns.values())]
        if several:
            row += [spread(finding), f"{finding.agreeing} of {finding.contexts}"]
        rows.append([*row, finding.verdict])
    return header, rows


Cell = Callable[[Finding, Difference], str]


def _cell(finding: Finding, cell: Cell) -> str:
    return "-" if finding.difference is None else cell(finding, finding.difference)


def _columns(findings: Findings, family: Sequence[Finding], shown: Shown) -> dict[str, Cell]:
    """The columns of numbers by their headings."""
    over = findings.comparison.interval
    columns: dict[str, Cell] = {
        "n": _count,
        "difference": lambda finding, of: _points(finding, of.mean),
        "95 % interval": lambda finding, of: _interval(finding, of.interval),
    }
    if shown.simultaneous:
        columns.pop("95 % interval")
        columns["95 % all together"] = lambda finding, of: _interval(finding, finding.simultaneous)
    if over == "seeds" and any(finding.wider for finding in family):
        columns["with images"] = lambda finding, of: _interval(finding, finding.wider_interval)
    columns["p"] = lambda finding, of: p_value(of.p_value)
    columns["p Holm"] = lambda finding, of: p_value(finding.corrected)
    if over == "seeds" and any(finding.difference and not math.isnan(finding.difference.p_flip) for finding in family):
        columns["p flips"] = lambda finding, of: p_value(of.p_flip)
    if shown.effect_sizes:
        columns["effect size"] = lambda finding, of: _effect_size(of)
    return columns


def _count(finding: Finding, difference: Difference) -> str:
    if difference.kind == "welch":
        return f"{difference.n} and {difference.n_baseline}"
    noun = "draw" if finding.over_draws else "seed" if finding.contexts else "pair"
    left_out = finding.seeds > difference.n
    return f"{difference.n} of {finding.seeds} {noun}s" if left_out else counted(difference.n, noun)


def _points(finding: Finding, value: float) -> str:
    scale, decimals = _scale(finding.measure)
    return f"{scale * value:+z.{decimals}f}"


def _interval(finding: Finding, interval: Interval | None) -> str:
    return "-" if interval is None else f"{_points(finding, interval.low)} to {_points(finding, interval.high)}"


def _effect_size(of: Difference) -> str:
    interval = of.effect_interval
    return "-" if interval is None else f"{of.effect_size:+z.1f} ({interval.low:+z.1f} to {interval.high:+z.1f})"


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
                "degrees": None if of is None else _finite(of.degrees),
                "interval": json_interval(interval),
                "simultaneous": json_interval(finding.simultaneous),
                "interval_seeds_images": json_interval(finding.wider_interval),
                "effect_size": None if of is None else _finite(of.effect_size),
                "effect_interval": json_interval(None if of is None else of.effect_interval),
                "p": None if of is None else _finite(of.p_value),
                "p_holm": _finite(finding.corrected),
                "p_flips": None if of is None else _finite(of.p_flip),
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
    intervals = {"interval": ("low", "high"), "simultaneous": ("simultaneous_low", "simultaneous_high"),
                 "interval_seeds_images": ("wider_low", "wider_high"),
                 "effect_interval": ("effect_low", "effect_high")}  # fmt: skip
    columns = [*findings.keys, "measure", "test", "n", "n_baseline", "seeds", "difference", "degrees",
               *chain.from_iterable(intervals.values()), "effect_size", "p", "p_holm", "p_flips", "agreeing",
               "contexts", "underfit", "finding", "baseline"]  # fmt: skip
    records = _records(findings)
    for record in records:
        for name, (low, high) in intervals.items():
            record[low], record[high] = record.pop(name) or (None, None)
        record |= {"underfit": str(record["underfit"]).lower(), "baseline": findings.baseline}
    return csv_text(columns, ([record[name] for name in columns] for record in records))
