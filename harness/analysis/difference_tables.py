"""Differences between rows, and effects of a setting, as a table, JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import FEWEST_TO_POOL, Difference
from harness.analysis.differences import Finding, Findings, is_gap
from harness.analysis.legend import context, counted, headline, marks, underfit_in_words, warnings, what_is_repeated
from harness.analysis.presenting import json_interval, markdown_row
from harness.analysis.settings import headings
from harness.analysis.statistics import ALPHA, LEVEL, Interval
from harness.analysis.table import aligned, wrapped
from harness.errors import RequestError, suggestion

_TITLES = {"gap_{}_accuracy": "Gap of accuracy on {}, points", "gap_{}_loss": "Gap of loss on {}, nats",
           "{}_accuracy": "Accuracy on {}, points"}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What of each difference is shown on request: the `simultaneous` intervals in the place of each by itself, and
    standardized `effect_sizes`. JSON and CSV have all of it always."""

    simultaneous: bool = False
    effect_sizes: bool = False


def render(findings: Findings, form: str, shown: Shown = Shown()) -> str:
    """The findings as `table` (plain text), `json`, `csv` or `markdown`, ending with a line break.

    The table and Markdown are in points; JSON and CSV keep the fractions of the store.

    Raises:
        RequestError: another `form`.
    """
    if form not in FORMATS:
        raise RequestError(f"Unknown format '{form}'.{suggestion(form, FORMATS)} Choose from {', '.join(FORMATS)}.")
    return FORMATS[form](findings, shown)


def _plain(findings: Findings, shown: Shown) -> str:
    lines = [*wrapped(_above(findings)), ""]
    for measure in findings.measures:
        header, rows = _table(findings, measure, shown)
        labels = len(findings.keys)
        lines += [_title(findings.comparison, measure)]
        numbers = [labels < place < len(header) - 1 for place in range(len(header))]
        lines += [*aligned([header, *rows], numbers), ""]
    return "\n".join([*lines, *wrapped(_below(findings, shown))]) + "\n"


def _markdown(findings: Findings, shown: Shown) -> str:
    first, *rest = _above(findings)
    lines = [f"**{first}**", ""]
    for line in rest:
        lines += [line, ""]
    for measure in findings.measures:
        header, rows = _table(findings, measure, shown)
        right = ["---" if place <= len(findings.keys) else "---:" for place in range(len(header) - 1)]
        lines += [f"{_title(findings.comparison, measure)}:", "", markdown_row(header), markdown_row([*right, "---"])]
        lines += [*map(markdown_row, rows), ""]
    return "\n".join([*lines, " ".join(_below(findings, shown))]) + "\n"


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


def _below(findings: Findings, shown: Shown) -> list[str]:
    comparison, kinds = findings.comparison, {of.difference.kind for of in findings.findings if of.difference}
    lines = []
    if findings.effect is not None:
        lines.append(
            "n: seeds (or draws of the data), which are what is repeated. Under each the difference is the mean over "
            "the configurations that differ in this setting only; the mean is about these. configurations: the least "
            "and the greatest mean difference in one of them; same sign: in how many it goes this way."
        )
    elif kinds - {"welch"}:
        lines.append("pairs: paired by seed, or by draw of the data.")
    if any(of.difference and of.difference.kind == "paired" and of.difference.n == 2 for of in findings.findings):
        lines.append(
            "Two seeds show next to nothing: a difference is claimed only if it is six times what they lie apart."
        )
    lines += _pooling(findings)
    if "welch" in kinds:
        lines.append(
            "n and n: few seeds in common, or none; all of the row's and of the baseline's, by Welch's t test. Pairs "
            "are used where their number promises the narrower interval."
        )
    first = comparison.rows[0]
    if findings.effect is None and comparison.ranked and first.label == findings.baseline and not first.underfit:
        lines.append(
            "The baseline ranks first here. If it was chosen for that, its luck makes the others look worse, and "
            "claims are false more often than stated: name a baseline beforehand, or confirm it (--confirm 5)."
        )
    lines += _intervals(findings, shown)
    lines.append(promise(findings))
    if any(finding.underfit for finding in findings.findings):
        lines.append(underfit_in_words(comparison))
    if findings.apart:
        lines.append(f"Left out: {counted(findings.apart, 'row')} judged on other {comparison.images_in_words}.")
    if findings.unmatched:
        lines.append(f"{findings.unmatched} of {comparison.finished} finished runs have no partner and are left out.")
    return [*lines, *marks(comparison), *warnings(comparison)]


def _pooling(findings: Findings) -> list[str]:
    """Whether one variance was estimated from all rows, and why not where it might have been."""
    what = "values" if findings.effect else "rows"
    lines = []
    if any(of.difference and of.difference.kind == "pooled" for of in findings.findings):
        lines.append(f"The variance of the differences is pooled over the {what} of the same seeds.")
    for measure in findings.measures:
        family = [of.difference for of in findings.findings if of.measure == measure and of.difference]
        alone = [of for of in family if of.kind == "paired" and of.n >= FEWEST_TO_POOL and of.testable]
        if len(alone) > 1 and len({of.n for of in alone}) == 1 and not any(of.kind == "pooled" for of in family):
            name = _title(findings.comparison, measure).partition(",")[0].rstrip("†‡").lower()
            lines.append(f"Not pooled for the {name}: one of the {what} varies more than the others.")
    return lines


def _intervals(findings: Findings, shown: Shown) -> list[str]:
    """What the intervals hold, and what they do not."""
    over, images = findings.comparison.interval, findings.comparison.images_in_words
    repeated = what_is_repeated(findings.comparison)
    lines = []
    if shown.simultaneous:
        lines.append("95 % all together: these intervals of a measure hold at once with 95 % probability.")
    else:
        lines.append("95 % interval (t): of each difference by itself.")
    if over == "seeds":
        lines[0] += f" It holds what another {repeated} changes on these {images}."
        if any(finding.wider for finding in findings.findings):
            lines[0] += f" with images: what other {images} of the same kind would change as well."
    else:
        lines[0] += f" It holds what another {repeated} and other {images} of the same kind change."
        if any(of.difference and of.wider is None for of in findings.findings):
            lines[0] += f" Of losses that were not kept image by image: another {repeated} only."
    if over == "seeds" and any(of.difference and not math.isnan(of.difference.p_flip) for of in findings.findings):
        lines.append("p flips: the sign-flip test of the pairs, which supposes no normal scores; not corrected.")
    if shown.effect_sizes:
        lines.append(
            "effect size: the difference in standard deviations (of pairs d_z, else Hedges' g), with its 95 % interval."
        )
    return lines


def promise(findings: Findings) -> str:
    """What the corrected p-values promise, in a line."""
    counts = {
        measure: sum(of.measure == measure and of.difference is not None and of.difference.testable
                     for of in findings.findings)
        for measure in findings.measures
    }  # fmt: skip
    first, *others = findings.measures
    words = {measure: _title(findings.comparison, measure).partition(",")[0].rstrip("†‡") for measure in counts}
    text = (
        f"p Holm: corrected within a measure; a difference is claimed where it is below {ALPHA}. What is claimed of "
        f"the {words[first].lower()} ({counted(counts[first], 'test')}) is all true with 95 % probability at least"
    )
    if not others:
        return f"{text}."
    named = " and ".join(f"{words[measure].lower()} ({counts[measure]})" for measure in others)
    return f"{text}; {named} are secondary: the same holds for each by itself, not for all together."


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


def _json(findings: Findings, shown: Shown) -> str:
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


def _csv(findings: Findings, shown: Shown) -> str:
    target = io.StringIO()
    intervals = {"interval": ("low", "high"), "simultaneous": ("simultaneous_low", "simultaneous_high"),
                 "interval_seeds_images": ("wider_low", "wider_high"),
                 "effect_interval": ("effect_low", "effect_high")}  # fmt: skip
    columns = [*findings.keys, "measure", "test", "n", "n_baseline", "seeds", "difference", "degrees",
               *chain.from_iterable(intervals.values()), "effect_size", "p", "p_holm", "p_flips", "agreeing",
               "contexts", "underfit", "finding", "baseline"]  # fmt: skip
    writer = csv.DictWriter(target, columns, lineterminator="\n")
    writer.writeheader()
    for record in _records(findings):
        for name, (low, high) in intervals.items():
            record[low], record[high] = record.pop(name) or (None, None)
        writer.writerow({**record, "underfit": str(record["underfit"]).lower(), "baseline": findings.baseline})
    return target.getvalue()


FORMATS: Mapping[str, Callable[[Findings, Shown], str]] = {
    "table": _plain,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}
