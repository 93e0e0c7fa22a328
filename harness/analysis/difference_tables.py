"""The tables of differences between rows and of effects of a setting, in each format. The lines below a table explain
the tests, the intervals and the error rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import Difference
from harness.analysis.differences import Finding, Findings
from harness.analysis.legend import context, headline, marks, underfit_in_words, warnings, what_is_repeated
from harness.analysis.measures import amount, counted, from_to, is_gap, p_value, quantity_of, unit
from harness.analysis.settings import headings
from harness.analysis.statistics import ALPHA, LEVEL, Interval
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text


@dataclass(frozen=True)
class Shown:
    """Optional columns: `simultaneous` intervals in place of individual ones, and standardized `effect_sizes`. JSON and
    CSV always have everything."""

    simultaneous: bool = False
    effect_sizes: bool = False


def render(findings: Findings, form: str, shown: Shown | None = None) -> str:
    """The findings in one of `tabular.FORMATS`, ending with a line break.

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
        tables.append(Table(_title(findings.comparison, measure), header, rows, kinds))
    return Page(_above(findings), tables, _below(findings, shown))


def _title(comparison: Comparison, measure: str) -> str:
    """The title of a measure's table, with unit and marks."""
    running = comparison.reading.running and is_gap(measure)
    marks = "†" * (comparison.held_out in comparison.selected_on) + "‡" * bool(running)
    return f"{_name(measure)}, {unit(measure)}{marks}"


def _name(measure: str) -> str:
    """The measure with a capital letter: `Gap of accuracy on test`."""
    split = measure.removeprefix("gap_").partition("_")[0]
    return f"{quantity_of(measure).capitalize()} on {split}"


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
        of = finding.difference
        row = [*finding.cells.values(), *("-" if of is None else cell(finding, of) for cell in columns.values())]
        if several:
            row += [spread(finding), f"{finding.agreeing} of {finding.contexts}"]
        rows.append([*row, finding.verdict])
    return header, rows


Cell = Callable[[Finding, Difference], str]


def _columns(findings: Findings, family: Sequence[Finding], shown: Shown) -> dict[str, Cell]:
    """The columns with numbers, by heading."""
    seeds_only = findings.comparison.interval == "seeds"
    columns: dict[str, Cell] = {
        "n": _count,
        "difference": lambda finding, of: amount(finding.measure, of.mean),
        "95 % interval": lambda finding, of: from_to(finding.measure, of.interval),
        "95 % all together": lambda finding, of: from_to(finding.measure, finding.simultaneous),
        "with images": lambda finding, of: from_to(finding.measure, finding.wider_interval),
        "p": lambda finding, of: p_value(of.p_value),
        "p Holm": lambda finding, of: p_value(finding.corrected),
        "p flips": lambda finding, of: p_value(of.p_flip),
        "effect size": lambda finding, of: _effect_size(of),
    }
    flips = any(finding.difference and not math.isnan(finding.difference.p_flip) for finding in family)
    wanted = {
        "95 % interval": not shown.simultaneous,
        "95 % all together": shown.simultaneous,
        "with images": seeds_only and any(finding.wider for finding in family),
        "p flips": seeds_only and flips,
        "effect size": shown.effect_sizes,
    }
    return {heading: cell for heading, cell in columns.items() if wanted.get(heading, True)}


def _count(finding: Finding, difference: Difference) -> str:
    if difference.kind == "welch":
        return f"{difference.n} and {difference.n_baseline}"
    noun = "draw" if finding.over_draws else "seed" if finding.contexts else "pair"
    left_out = finding.seeds > difference.n
    return f"{difference.n} of {finding.seeds} {noun}s" if left_out else counted(difference.n, noun)


def _effect_size(of: Difference) -> str:
    interval = of.effect_interval
    return "-" if interval is None else f"{of.effect_size:+z.1f} ({interval.low:+z.1f} to {interval.high:+z.1f})"


def spread(finding: Finding) -> str:
    """`+0.12 to +0.95`: the smallest and the largest mean difference of the configurations."""
    means = finding.by_configuration
    return from_to(finding.measure, Interval(min(means), max(means)) if means else None)


def _records(findings: Findings) -> list[dict[str, Any]]:
    """One record per finding; unknown values are None."""
    found = []
    for finding in findings.findings:
        of = partial(getattr, finding.difference)
        found.append({
            **finding.cells,
            "measure": finding.measure,
            "test": of("kind", None),
            "n": of("n", 0),
            "n_baseline": of("n_baseline", 0),
            "seeds": finding.seeds,
            "difference": of("mean", None),
            "degrees": of("degrees", None),
            "interval": of("interval", None),
            "simultaneous": finding.simultaneous,
            "interval_seeds_images": finding.wider_interval,
            "effect_size": of("effect_size", None),
            "effect_interval": of("effect_interval", None),
            "p": of("p_value", None),
            "p_holm": finding.corrected,
            "p_flips": of("p_flip", None),
            "agreeing": finding.agreeing,
            "contexts": finding.contexts,
            "underfit": finding.underfit,
            "finding": finding.verdict,
        })  # fmt: skip
    return found


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
    return json_text(document)


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


def _below(findings: Findings, shown: Shown) -> list[str]:
    """The lines below the tables."""
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
    lines += [*two_seeds(findings), *pooling(findings)]
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
    lines.append(_promise(findings))
    if any(finding.underfit for finding in findings.findings):
        lines.append(underfit_in_words(comparison))
    if findings.apart:
        lines.append(f"Left out: {counted(findings.apart, 'row')} scored on other {comparison.images_in_words}.")
    if findings.unmatched:
        lines.append(f"{findings.unmatched} of {comparison.finished} finished runs have no partner and are left out.")
    return [*lines, *marks(comparison), *warnings(comparison)]


def two_seeds(findings: Findings) -> list[str]:
    """The warning about comparisons with only two seeds (or draws)."""
    if not any(of.difference and of.difference.kind == "paired" and of.difference.n == 2 for of in findings.findings):
        return []
    return [
        f"Two {what_is_repeated(findings.comparison)}s show next to nothing: a difference is claimed only if it is six "
        "times what they lie apart, or more."
    ]


def pooling(findings: Findings) -> list[str]:
    """The note on pooling: over how many rows one variance was estimated, or why it was not pooled."""
    what, repeated = "values" if findings.effect else "rows", what_is_repeated(findings.comparison)
    found = [(of.measure, of.difference) for of in findings.findings if of.difference]
    counts = sorted({of.pooled_over for _, of in found if of.pooled_over})
    over = " or ".join(f"{count:,}" for count in counts)
    lines = [f"The variance of the differences is pooled over {over} {what} of the same {repeated}s."] if counts else []
    for measure in dict.fromkeys(measure for measure, of in found if of.unequal):
        lines.append(f"Not pooled for the {_name(measure).lower()}: one of the {what} varies more than the others.")
    return lines


def _intervals(findings: Findings, shown: Shown) -> list[str]:
    """What the intervals include, and what they do not."""
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


def _promise(findings: Findings) -> str:
    counts = {
        _name(measure).lower(): sum(of.measure == measure and of.testable for of in findings.findings)
        for measure in findings.measures
    }
    opening = f"p Holm: corrected within a measure; a difference is claimed where it is below {ALPHA}."
    return promise(opening, counts, ", not for all together")


def promise(opening: str, tests: Mapping[str, int], together: str = "") -> str:
    """A line about the error rate of the corrected p-values. `tests` are the numbers of tests per measure; the first
    measure is the primary one."""
    (first, count), *others = tests.items()
    share = f"{100 - 100 * ALPHA:.0f} %"
    claimed = f"What is claimed of the {first} ({counted(count, 'test')})"
    text = f"{opening} {claimed} is all true with {share} probability at least"
    named = " and ".join(f"{measure} ({count})" for measure, count in others)
    return f"{text}; {named} are secondary: the same holds for each by itself{together}." if others else f"{text}."
