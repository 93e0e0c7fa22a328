"""What was found, in sentences. None says more than the tests do: a difference is claimed only where its p-value,
corrected for every test of its measure on the page, is below `ALPHA`; else the words are "no difference shown".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.comparison import Comparison
from harness.analysis.difference_legend import two_seeds
from harness.analysis.differences import Finding, Findings, is_gap
from harness.analysis.legend import UNDERFIT, apart_in_words, counted, floor_in_words, what_is_repeated
from harness.analysis.rows import Row
from harness.analysis.statistics import ALPHA
from harness.records import RunRecord, RunState
from harness.report.content import shortened
from harness.report.onsets import rises
from harness.report.testing import Tested, name_of, reference, setting_name, subject
from harness.report.wording import (
    SPLITS,
    amount,
    count_in_words,
    difference_in_words,
    from_to,
    gap_in_words,
    holds_here_only,
    is_shown,
    label,
    measure_in_words,
    p_value,
    seeds_in_words,
    these_images,
)
from harness.tracking.selection import Series

LISTED = 4
"""So many values of a setting are told in full in one sentence; of more only the one that differs most."""
NAMED = 6
CLAIMED_AT_ONCE = 2


def answer(comparison: Comparison, tests: Tested) -> str:
    """The report in one line: which differences in the gap of accuracy are shown, or that none is."""
    measure = f"gap_{comparison.held_out}_accuracy"
    scored = [row for row in comparison.rows if measure in row.scores]
    if not scored:
        return "No run finished: there is nothing to compare."
    if len(comparison.rows) == 1:
        return f"The {measure_in_words(measure)} is {gap_in_words(scored[0], comparison)}."
    claims = []
    for block in tests.blocks:
        shown = [finding for finding in block.findings if finding.measure == measure and _is_shown_together(finding)]
        if shown:
            claims.append((block, max(shown, key=lambda finding: abs(_mean(finding)))))
    claims.sort(key=lambda claim: -abs(_mean(claim[1])))
    if claims:
        told = claims[:CLAIMED_AT_ONCE]
        said = "; ".join(_claim(block, finding) for block, finding in told)
        tested = tests.families[measure]
        which, allow = ("its", "interval allows") if len(told) == 1 else ("their", "intervals allow")
        picked = f" Picked among {tested:,} differences for {which} size: the {allow} for that."
        return f"{said}.{picked if tested > 1 else ''}"
    if not (tested := tests.families.get(measure, 0)):
        constant = any(of.difference is not None and of.difference.interval is not None for _, of in tests.of(measure))
        return (
            f"{len(comparison.rows):,} configurations were compared, but their gaps cannot be tested "
            f"({seeds_in_words(comparison)}): {'nothing varies' if constant else 'more seeds are needed'}."
        )
    return (
        f"No difference shown in the {measure_in_words(measure)} between {len(comparison.rows):,} configurations "
        f"({seeds_in_words(comparison)}, {counted(tested, 'test')})."
    )


def findings(
    comparison: Comparison, tests: Tested, compared: str = "", series: Series | None = None
) -> tuple[str, ...]:
    """The sentences of a report: the tests, then the ranking, then what the training curves showed.

    `compared` is what stands behind `harness compare` to compare the same runs; empty where there is no such command.
    `series` has the curves of the runs for which they were read.
    """
    runs = [run for row in comparison.rows for run in row.runs if run.state is RunState.FINISHED]
    sentences = [sentence for block in tests.blocks for sentence in _of_block(block)]
    sentences += [
        *dict.fromkeys(sentence for block in tests.blocks for sentence in two_seeds(block)),
        *_chosen_baseline(comparison, tests),
        *tests.untested,
        *_rankings(comparison, compared),
        *rises(comparison, series or {}),
        *_restored(comparison, runs),
    ]
    return (*sentences, *_running(runs))


def _is_shown_together(finding: Finding) -> bool:
    """Whether a difference is claimed by its simultaneous interval too: that of the least p-value always is."""
    interval = finding.simultaneous
    return is_shown(finding) and interval is not None and not interval.low <= 0 <= interval.high


def _claim(block: Findings, finding: Finding) -> str:
    assert finding.difference is not None
    interval = finding.simultaneous
    assert interval is not None
    size = amount(finding.measure, finding.difference.mean, 2)
    pays = ", but is underfit" if finding.underfit else ""
    word = "less" if finding.difference.mean < 0 else "more"
    only = f", not shown beyond {these_images(block.comparison)}" if holds_here_only(finding) else ""
    return (
        f"{subject(block, finding)} overfits {word}{pays}: {size} points in the {measure_in_words(finding.measure)} "
        f"(95 % interval {from_to(finding.measure, interval, 2)}, {count_in_words(finding)}{only})"
    )


def _of_block(block: Findings) -> list[str]:
    """The sentences about one setting, or about the rows held to the baseline."""
    sentences = []
    for measure in block.measures:
        of_measure = [finding for finding in block.findings if finding.measure == measure]
        if len(of_measure) == 1:
            sentences.append(sentence(block, of_measure[0]))
        elif len(of_measure) <= LISTED:
            sentences.append(_listed(block, of_measure, measure))
        else:
            sentences.append(_summary(block, of_measure, measure))
    return sentences


def sentence(block: Findings, finding: Finding) -> str:
    """One finding: what was compared, the verdict, the measure with its split, the difference, its interval and n."""
    about, what = subject(block, finding), measure_in_words(finding.measure)
    if finding.difference is None:
        return f"{about}: {finding.verdict} to compare in the {what}."
    size = difference_in_words(finding, block.comparison)
    if not finding.difference.testable:
        return f"{about}: {finding.verdict}; the {what} differs by {size}."
    if is_shown(finding):
        pays = ", of an underfit model" if finding.verdict.endswith("underfit") else ""
        return f"{about}: {finding.verdict.split()[0]} {what}{pays}: {size}."
    return f"{about}: no difference shown in the {what}: {size}{_alone(finding)}."


def _alone(finding: Finding) -> str:
    """For a reader who sees an interval without 0 and yet no claim."""
    assert finding.difference is not None
    alone = finding.difference.p_value
    if is_shown(finding) or not alone < ALPHA:
        return ""
    return f", by itself p {p_value(alone)}, but not after correction"


def _listed(block: Findings, of_measure: Sequence[Finding], measure: str) -> str:
    """A few findings of one measure, each with its difference and interval; those of one verdict stand together."""
    counts = {count_in_words(finding) for finding in of_measure if finding.difference is not None}
    same = len(counts) == 1
    verdicts: dict[str, list[str]] = {}
    for finding in of_measure:
        if finding.difference is None:
            verdicts.setdefault(finding.verdict, []).append(name_of(block, finding))
        else:
            size = difference_in_words(finding, block.comparison, n=not same)
            words = f"{name_of(block, finding)}, {size}{_alone(finding)}"
            verdicts.setdefault(_verdict(finding), []).append(words)
    said = "; ".join(f"{verdict} for {'; '.join(of)}" for verdict, of in verdicts.items())
    about = "rows" if block.effect is None else setting_name(block)
    each = f" ({counts.pop()} each)" if same else ""
    return f"{about} held to {reference(block)}, {measure_in_words(measure)}{each}: {said}."


def _verdict(finding: Finding) -> str:
    """`larger`, `smaller (underfit)`, `higher`, `no difference shown`."""
    if not is_shown(finding):
        return finding.verdict
    word = finding.verdict.split()[0]
    return f"{word} (underfit)" if finding.verdict.endswith("underfit") else word


def _summary(block: Findings, of_measure: Sequence[Finding], measure: str) -> str:
    """Many findings at once: how many are shown either way, and the greatest in full."""
    shown = [finding for finding in of_measure if is_shown(finding)]
    known = shown or [finding for finding in of_measure if math.isfinite(_mean(finding))]
    others = "rows" if block.effect is None else f"values of {setting_name(block)}"
    opening = f"{len(of_measure):,} {others} held to {reference(block)}, {measure_in_words(measure)}"
    if not known:
        return f"{opening}: nothing to compare."
    words = ("smaller", "larger") if is_gap(measure) else ("lower", "higher")
    parts = []
    for word, sign in zip(words, (-1, 1), strict=True):
        named = [name_of(block, finding) for finding in shown if sign * _mean(finding) > 0]
        if named:
            parts.append(f"{word} for {shortened(named, NAMED)}")
    rest = len(of_measure) - len(shown)
    if rest:
        parts.append(f"no difference shown for {'any' if not shown else f'the other {rest:,}'}")
    most = max(known, key=lambda finding: abs(_mean(finding)))
    size = difference_in_words(most, block.comparison)
    return f"{opening}: {'; '.join(parts)}. The greatest is that of {name_of(block, most)}: {size}."


def _mean(finding: Finding) -> float:
    return math.nan if finding.difference is None else finding.difference.mean


def _rankings(comparison: Comparison, compared: str) -> list[str]:
    """The ranking of each group of rows that are judged on the same images."""
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows:
        groups.setdefault(row.judged_on, []).append(row)
    sentences = [sentence for rows in groups.values() for sentence in _ranking(comparison, rows, compared)]
    if comparison.judged_apart:
        sentences.insert(0, f"{apart_in_words(comparison)}.")
    return sentences


def _ranking(comparison: Comparison, rows: Sequence[Row], compared: str) -> list[str]:
    """Which row comes first and what that is worth; which are underfit."""
    split, measure = comparison.held_out, f"gap_{comparison.held_out}_accuracy"
    scored = [row for row in rows if measure in row.scores and math.isfinite(row.scores[measure].mean)]
    if len(rows) < 2 or not scored:
        return []
    ranked = [row for row in scored if not row.underfit]
    sentences = []
    if len(ranked) == 1:
        why = "is accurate enough to be ranked by its gap" if len(scored) > 1 else "has a gap"
        sentences.append(
            f"Only {label(ranked[0].settings)} {why}: {measure_in_words(measure)} "
            f"{gap_in_words(ranked[0], comparison)}, at {_accuracy(ranked[0], split)} accuracy on {SPLITS[split]}."
        )
    elif ranked:
        best = min(ranked, key=lambda row: row.scores[measure].mean)
        among = f"the {len(ranked)} that are accurate enough" if len(ranked) < len(scored) else f"all {len(scored)}"
        picked = (
            " It was picked by this figure, which flatters it, as its figures of other splits do: most of a run's luck "
            "is in its weights."
        )
        if compared and best is comparison.rows[0]:
            picked += f" `harness compare {compared} --confirm 5` trains it again for figures that do not."
        sentences.append(
            f"Least mean {measure_in_words(measure)} among {among}: {label(best.settings)}, "
            f"{gap_in_words(best, comparison)}, at {_accuracy(best, split)} accuracy on {SPLITS[split]}. Its lead over "
            f"the next was not tested.{picked if split in comparison.selected_on else ''}"
        )
    for place, how in UNDERFIT.items():
        below = [label(row.settings) for row in scored if row.place is place]
        if below:
            sentences.append(
                f"{len(below)} of {len(scored)} configurations {'is' if len(below) == 1 else 'are'} "
                f"{place} (mean accuracy on {SPLITS[split]} "
                f"{floor_in_words(comparison)}, {how}) and not ranked by {'its' if len(below) == 1 else 'their'} gap: "
                f"{shortened(below, NAMED)}."
            )
    front = [f"{label(row.settings)}{_share(row)}" for row in scored if row.on_front]
    if len(scored) > 2 and front:
        resampled = any(not math.isnan(row.front_share) for row in scored)
        words = (
            f"in brackets the share of resamples over {what_is_repeated(comparison)}s with this result"
            if resampled
            else "not tested"
        )
        sentences.append(
            f"By their means, {shortened(front, NAMED)} {'is' if len(front) == 1 else 'are'} beaten by no other in "
            f"both accuracy and gap of accuracy on {SPLITS[split]} (the Pareto front; {words})."
        )
    return sentences


def _share(row: Row) -> str:
    return "" if math.isnan(row.front_share) else f" ({100 * row.front_share:.0f} %)"


def _chosen_baseline(comparison: Comparison, tests: Tested) -> list[str]:
    """For a baseline that ranks first, perhaps because it was chosen for that."""
    first = comparison.rows[0]
    if tests.baseline is None or not comparison.ranked or first.label != tests.baseline or first.underfit:
        return []
    return [
        "The baseline ranks first here. If it was chosen for that, its luck makes the others look worse, and claims "
        "are false more often than stated."
    ]


def _accuracy(row: Row, split: str) -> str:
    return f"{100 * row.scores[f'{split}_accuracy'].mean:.1f} %"


def _restored(comparison: Comparison, runs: Sequence[RunRecord]) -> list[str]:
    """What the weights that early stopping restored changed."""
    measure = f"gap_{comparison.held_out}_accuracy"
    changes = [
        run.metrics[f"final/{measure}"] - run.metrics[f"last/{measure}"]
        for run in runs
        if f"last/{measure}" in run.metrics
        and f"final/{measure}" in run.metrics
        and run.metrics.get("last/epoch") != run.metrics.get("best/epoch")
        and run.metrics["final/" + measure] != run.metrics["last/" + measure]
    ]
    if not changes:
        return []
    return [
        f"In {len(changes):,} of {len(runs):,} runs the weights of an earlier epoch were restored: that changed their "
        f"{measure_in_words(measure)} by {_spread(changes)}."
    ]


def _running(runs: Sequence[RunRecord]) -> list[str]:
    name = "final/gap_running_minus_clean"
    changes = [run.metrics[name] for run in runs if math.isfinite(run.metrics.get(name, math.nan))]
    if not changes:
        return []
    return [
        "The gap of accuracy on test that a notebook would print, from training accuracy averaged over the last epoch, "
        f"differs from the one here, which is measured with the final weights, by {_spread(changes)}."
    ]


def _spread(changes: Sequence[float]) -> str:
    mean = math.fsum(changes) / len(changes)
    if len(changes) == 1:
        return f"{amount('', mean, 2)} points"
    return (
        f"{amount('', mean, 2)} points on average ({amount('', min(changes), 2)} to {amount('', max(changes), 2)}, "
        f"n={len(changes):,} runs)"
    )
