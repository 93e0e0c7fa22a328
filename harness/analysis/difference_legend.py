"""What stands below a table of differences: how rows were compared, what the intervals hold, what is promised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.analysis.comparison import Comparison
from harness.analysis.differences import Findings, is_gap
from harness.analysis.legend import counted, marks, underfit_in_words, warnings, what_is_repeated
from harness.analysis.statistics import ALPHA

_TITLES = {"gap_{}_accuracy": "Gap of accuracy on {}, points", "gap_{}_loss": "Gap of loss on {}, nats",
           "{}_accuracy": "Accuracy on {}, points"}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What of each difference is shown on request: the `simultaneous` intervals in the place of each by itself, and
    standardized `effect_sizes`. JSON and CSV have all of it always."""

    simultaneous: bool = False
    effect_sizes: bool = False


def title(comparison: Comparison, measure: str) -> str:
    """What a measure is called above its table, with its unit and marks."""
    split = comparison.held_out
    titles = {name.format(split): title.format(split) for name, title in _TITLES.items()}
    running = comparison.reading.running and is_gap(measure)
    return titles[measure] + ("†" if split in comparison.selected_on else "") + ("‡" if running else "")


def below(findings: Findings, shown: Shown) -> list[str]:
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
    lines.append(promise(findings))
    if any(finding.underfit for finding in findings.findings):
        lines.append(underfit_in_words(comparison))
    if findings.apart:
        lines.append(f"Left out: {counted(findings.apart, 'row')} scored on other {comparison.images_in_words}.")
    if findings.unmatched:
        lines.append(f"{findings.unmatched} of {comparison.finished} finished runs have no partner and are left out.")
    return [*lines, *marks(comparison), *warnings(comparison)]


def two_seeds(findings: Findings) -> list[str]:
    """What two of what is repeated can show."""
    if not any(of.difference and of.difference.kind == "paired" and of.difference.n == 2 for of in findings.findings):
        return []
    return [
        f"Two {what_is_repeated(findings.comparison)}s show next to nothing: a difference is claimed only if it is six "
        "times what they lie apart, or more."
    ]


def pooling(findings: Findings) -> list[str]:
    """Over how many rows one variance was estimated, and why not where it might have been."""
    what, repeated = "values" if findings.effect else "rows", what_is_repeated(findings.comparison)
    found = [(of.measure, of.difference) for of in findings.findings if of.difference]
    counts = sorted({of.pooled_over for _, of in found if of.pooled_over})
    over = " or ".join(f"{count:,}" for count in counts)
    lines = [f"The variance of the differences is pooled over {over} {what} of the same {repeated}s."] if counts else []
    for measure in dict.fromkeys(measure for measure, of in found if of.unequal):
        name = title(findings.comparison, measure).partition(",")[0].rstrip("†‡").lower()
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
    words = {measure: title(findings.comparison, measure).partition(",")[0].rstrip("†‡") for measure in counts}
    text = (
        f"p Holm: corrected within a measure; a difference is claimed where it is below {ALPHA}. What is claimed of "
        f"the {words[first].lower()} ({counted(counts[first], 'test')}) is all true with 95 % probability at least"
    )
    if not others:
        return f"{text}."
    named = " and ".join(f"{words[measure].lower()} ({counts[measure]})" for measure in others)
    return f"{text}; {named} are secondary: the same holds for each by itself, not for all together."
