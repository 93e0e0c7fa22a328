"""The sentences of a report: a table of patterns, and the phrases that stand in several of them.

None says more than the tests do: a difference is claimed only where its p-value, corrected for every test of its
measure on the page, is below `ALPHA`; else the words are "no difference shown".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from harness.analysis.comparison import Comparison
from harness.analysis.differences import Finding
from harness.analysis.legend import what_is_repeated
from harness.analysis.measures import amount, counted, from_to, p_value, unit
from harness.analysis.rows import Row
from harness.analysis.settings import headings, sortable
from harness.analysis.statistics import ALPHA, Interval

SENTENCES = {
    # In one line
    "nothing finished": "No run finished: there is nothing to compare.",
    "a single row": "The {measure} is {size}.",
    "claim": "{about} overfits {word}[, but is {underfit}]: {size} points in the {measure} (95 % interval {interval}, "
    "{n}[, not shown beyond {images}])",
    "picked": " Picked among {tested:difference} for its size: the interval allows for that.",
    "several picked": " Picked among {tested:difference} for their size: the intervals allow for that.",
    "too few to test": "{rows:configuration} were compared, but their gaps cannot be tested ({n}): {why}.",
    "no claim": "No difference shown in the {measure} between {rows:configuration} ({n}, {tested:test}).",
    # The tests
    "no partner": "{about}: {verdict} to compare in the {measure}.",
    "no variation": "{about}: {verdict}; the {measure} differs by {size}.",
    "shown": "{about}: {word} {measure}[, of an {underfit} model]: {size}.",
    "not shown": "{about}: no difference shown in the {measure}: {size}.",
    "not after correction": ", by itself p {p}, but not after correction",
    "several values": "{values} compared with {reference}, {measure}[ ({n} each)]: {verdicts}.",
    "many values": "{values:,} {noun} compared with {reference}, {measure}: {verdicts}. "
    "The greatest is that of {greatest}: {size}.",
    "many unknown values": "{values:,} {noun} compared with {reference}, {measure}: nothing to compare.",
    "chosen baseline": "The baseline ranks first here. If it was chosen for that, its luck makes the others look "
    "worse, and claims are false more often than stated.",
    # The ranking
    "only row": "Only {row} {why}: {measure} {size}, at {accuracy} accuracy on {split}.",
    "first row": "Least mean {measure} among {among}: {row}, {size}, at {accuracy} accuracy on {split}. Its lead over "
    "the next was not tested.",
    "picked row": " It was picked by this figure, which flatters it, as its figures of other splits do: most of a "
    "run's luck is in its weights.[ `harness compare {compared} --confirm 5` trains it again for figures that do not.]",
    "underfit row": "{count} of {rows} configurations is {place} (mean accuracy on {split} {floor}, {how}) and not "
    "ranked by its gap: {named}.",
    "underfit rows": "{count} of {rows} configurations are {place} (mean accuracy on {split} {floor}, {how}) and not "
    "ranked by their gap: {named}.",
    "front": "By their means, {named} {is_or_are} beaten by no other in both accuracy and gap of accuracy on {split} "
    "(the Pareto front; {sure}).",
    "resampled": "in brackets the share of resamples over {repeated}s with this result",
    # The curves
    "too short": "Fewer than {least} epochs cannot show whether the validation loss rises.",
    "no rise": "No rise of the validation loss is shown in any of {runs:run}. The gap of loss may have grown all the "
    "same: the training loss falls alone.",
    "rises": "The validation loss turns and rises in {risen:,} of {rows:configuration}: {told}.[ In {others:other} no "
    "rise of the validation loss is shown; the gap of loss may have grown there all the same.]",
    "rise": "{row}: [by the mean curve at epoch {turn}, shown by epoch {sure}][{not_shown} by the mean curve]"
    "[{between}][in {risen} of {runs:run} at epoch {middle:g}][ ({range})][, shown by epoch {runs_sure:g}]"
    "[, the gap of loss then grows by {growth:z.4f} nats an epoch]",
    "restored": "In {changed:,} of {runs:,} runs the weights of an earlier epoch were restored: that changed their "
    "{measure} by {spread}.",
    "running averages": "The gap of accuracy on test that a notebook would print, from training accuracy averaged over "
    "the last epoch, differs from the one here, which is measured with the final weights, by {spread}.",
    "spread": "{mean} points[ on average ({least} to {greatest}, n={runs:,} runs)]",
}
"""What stands between brackets is said only where all that it names is known. `{runs:run}` counts: 1 run, 3 runs."""

_PART = re.compile(r"\[([^][]*)\]")


class _Counting(Formatter):
    """Takes a noun for a format."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec.isalpha() and len(format_spec) > 1:
            return counted(value, format_spec)
        return str(super().format_field(value, format_spec))


def say(which: str, /, **known: object) -> str:
    """The sentence of `SENTENCES`, or the pattern, filled in.

    >>> say("no rise", runs=1).partition(".")[0]
    'No rise of the validation loss is shown in any of 1 run'
    """

    def part(found: re.Match[str]) -> str:
        names = [name for _, name, _, _ in Formatter().parse(found[1]) if name]
        return found[1] if all(known.get(name) is not None for name in names) else ""

    return _Counting().format(_PART.sub(part, SENTENCES.get(which, which)), **known)


def by_size(value: str) -> tuple[int, float, str]:
    """What values of a setting are sorted by: numbers by size and before words, `[128]` as 128."""
    return sortable(value[1:-1] if value.startswith("[") and value.endswith("]") else value)


def label(settings: Mapping[str, str]) -> str:
    """What tells a row apart, in words; a number says of which setting it is: `cnn width=64`."""
    short = headings(tuple(settings))
    parts = [value if by_size(value)[0] else f"{short[key]}={value}" for key, value in settings.items()]
    return " ".join(parts) or "all runs"


def difference_in_words(finding: Finding, comparison: Comparison, *, n: bool = True) -> str:
    """`+0.87 points (95 % interval +0.52 to +1.22, with other images +0.31 to +1.43, n=6 pairs, p = 0.004)`, p
    corrected, on request without n.

    Where the setting was changed in several configurations and the difference does not go the same way in all of them,
    that is said; so is a claim that holds on these images only.
    """
    difference, measure = finding.difference, finding.measure
    assert difference is not None
    parts = [
        *_intervals(measure, difference.interval, finding.wider_interval if difference.testable else None),
        n and count_in_words(finding),
        difference.testable and f"p {p_in_words(finding.corrected)}",
        finding.agreeing < finding.contexts and f"this sign in {finding.agreeing} of {finding.contexts} configurations",
        holds_here_only(finding) and f"not shown beyond {these_images(comparison)}",
    ]
    return _sized(measure, difference.mean, parts)


def gap_in_words(row: Row, comparison: Comparison) -> str:
    """`+2.5 points (95 % interval +1.7 to +3.3, n=2 seeds)` of a row that has a gap."""
    measure = f"gap_{comparison.held_out}_accuracy"
    score = row.scores[measure]
    parts = [
        *_intervals(measure, score.interval, score.wider, fine=False),
        f"n={counted(score.n, 'draw' if row.over_draws else 'seed')}",
        score.n == 1 and "no interval",
    ]
    return _sized(measure, score.mean, parts, fine=False)


def _sized(measure: str, value: float, parts: Sequence[str | bool], fine: bool = True) -> str:
    size, said = f"{amount(measure, value, fine)} {unit(measure)}", ", ".join(str(part) for part in parts if part)
    return f"{size} ({said})" if said else size


def _intervals(measure: str, interval: Interval | None, wider: Interval | None, fine: bool = True) -> list[str]:
    """`95 % interval +0.5 to +1.2` over seeds, `with other images +0.3 to +1.4` where that is known."""
    if interval is None:
        return []
    ends, wider_ends = from_to(measure, interval, fine), from_to(measure, wider, fine)
    images = "the same with other images" if ends == wider_ends else f"with other images {wider_ends}"
    return [f"95 % interval {ends}"] + [images] * (wider is not None)


def count_in_words(finding: Finding) -> str:
    """`n=6 pairs of equal seed`, `n=5 and 3 seeds, not paired`; of the effect of a setting `n=5 seeds`."""
    difference = finding.difference
    assert difference is not None
    what = "draw" if finding.over_draws else "seed"
    if finding.contexts:
        return f"n={counted(difference.n, what)}"
    if difference.kind != "welch":
        return f"n={counted(difference.n, 'pair')} of equal {what}"
    return f"n={difference.n} and {difference.n_baseline} {what}s, not paired"


def is_shown(finding: Finding) -> bool:
    """Whether a difference is claimed."""
    return finding.testable and finding.corrected < ALPHA


def holds_here_only(finding: Finding) -> bool:
    """Whether a difference is claimed which other images might not show."""
    wider = finding.wider_interval
    return is_shown(finding) and wider is not None and wider.low <= 0 <= wider.high


def these_images(comparison: Comparison) -> str:
    """`these 2,000 validation images`, without the number where it is not the same for all runs, or not known."""
    name = f"data/{comparison.held_out}_images"
    counts = {run.metrics.get(name) for row in comparison.rows for run in row.finished_runs}
    count = counts.pop() if len(counts) == 1 else None
    return f"these {'' if count is None else f'{count:,.0f} '}{comparison.images_in_words}"


def p_in_words(p: float) -> str:
    """`= 0.031`, `< 0.001`."""
    text = p_value(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def seeds_in_words(comparison: Comparison) -> str:
    """How many replicates a row has: `5 seeds each`, `2 to 5 draws`."""
    counts, what = sorted({row.replicates for row in comparison.rows if row.finished}), what_is_repeated(comparison)
    if not counts:
        return "no finished run"
    if len(counts) == 1:
        return f"one {what} each" if counts[0] == 1 else f"{counts[0]} {what}s each"
    return f"{counts[0]} to {counts[-1]} {what}s"
