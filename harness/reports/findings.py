"""Chooses the sentences of a report, from the comparison, its tests, its ranking and its curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from harness.analysis.comparison import Comparison
from harness.analysis.difference_tables import two_seeds
from harness.analysis.differences import Finding, Findings
from harness.analysis.legend import UNDERFIT, apart_in_words, floor_in_words, what_is_repeated
from harness.analysis.measures import SPLITS, amount, from_to, is_gap, measure_in_words, shortened
from harness.analysis.rows import Row
from harness.analysis.statistics import ALPHA
from harness.metrics import ONSET_EPOCHS, onset
from harness.records import RunRecord
from harness.reports.sentences import (
    count_in_words,
    difference_in_words,
    gap_in_words,
    holds_here_only,
    is_shown,
    label,
    p_in_words,
    say,
    seeds_in_words,
    these_images,
)
from harness.reports.testing import Tested, name_of, reference, setting_name, subject
from harness.tracking.selection import Series

LISTED = 4
"""The most values of a setting that one sentence lists in full. For more, only the largest difference is given."""
NAMED = 6
CLAIMED_AT_ONCE = 2
_LOSSES = ("train/loss", "val/loss")


def answer(comparison: Comparison, tests: Tested) -> str:
    """The report in one line: the differences in the gap of accuracy that are shown, or that none is shown."""
    measure, rows = f"gap_{comparison.held_out}_accuracy", len(comparison.rows)
    in_words, n, tested = measure_in_words(measure), seeds_in_words(comparison), tests.families.get(measure, 0)
    scored = [row for row in comparison.rows if measure in row.scores]
    if not scored:
        return say("nothing finished")
    if rows == 1:
        return say("a single row", measure=in_words, size=gap_in_words(scored[0], comparison))
    claims = []
    for block in tests.blocks:
        shown = [finding for finding in block.findings if finding.measure == measure and _is_shown_together(finding)]
        if shown:
            claims.append((block, max(shown, key=lambda finding: abs(_mean(finding)))))
    claims.sort(key=lambda claim: -abs(_mean(claim[1])))
    if claims:
        told = claims[:CLAIMED_AT_ONCE]
        picked = say("picked" if len(told) == 1 else "several picked", tested=tested) if tested > 1 else ""
        return f"{'; '.join(_claim(block, finding) for block, finding in told)}.{picked}"
    if tested:
        return say("no claim", measure=in_words, rows=rows, n=n, tested=tested)
    constant = any(of.difference is not None and of.difference.interval is not None for _, of in tests.of(measure))
    return say("too few to test", rows=rows, n=n, why="nothing varies" if constant else "more seeds are needed")


def findings(
    comparison: Comparison, tests: Tested, compared: str = "", series: Series | None = None
) -> tuple[str, ...]:
    """The sentences of a report about the tests, the ranking and the training curves, in this order.

    `compared` are the arguments of `harness compare` for the same runs; empty if there is no such command. `series` has
    the curves that were read.
    """
    runs, first = [run for row in comparison.rows for run in row.finished_runs], comparison.rows[0]
    return (
        *(sentence for block in tests.blocks for sentence in _block_sentences(block)),
        *dict.fromkeys(sentence for block in tests.blocks for sentence in two_seeds(block)),
        *[say("chosen baseline")] * (first.label == tests.baseline and comparison.ranked and not first.underfit),
        *tests.untested,
        *_rankings(comparison, compared),
        *rises(comparison, series or {}),
        *_restored(comparison, runs),
        *_running(runs),
    )


def _is_shown_together(finding: Finding) -> bool:
    """Whether a difference is shown, and its simultaneous interval excludes 0 too."""
    interval = finding.simultaneous
    return is_shown(finding) and interval is not None and not interval.low <= 0 <= interval.high


def _claim(block: Findings, finding: Finding) -> str:
    mean = _mean(finding)
    return say(
        "claim",
        about=subject(block, finding),
        word="less" if mean < 0 else "more",
        underfit="underfit" if finding.underfit else None,
        size=amount(finding.measure, mean),
        measure=measure_in_words(finding.measure),
        interval=from_to(finding.measure, finding.simultaneous),
        n=count_in_words(finding),
        images=these_images(block.comparison) if holds_here_only(finding) else None,
    )


def _block_sentences(block: Findings) -> list[str]:
    """The sentences about one setting, or about the rows compared with the baseline."""
    sentences = []
    for measure in block.measures:
        family = [finding for finding in block.findings if finding.measure == measure]
        told = _one if len(family) == 1 else _listed if len(family) <= LISTED else _summary
        sentences.append(told(block, family, measure_in_words(measure)))
    return sentences


def _one(block: Findings, family: Sequence[Finding], measure: str) -> str:
    """The sentence for a single finding."""
    [finding] = family
    known = {"about": subject(block, finding), "verdict": finding.verdict, "measure": measure}
    if finding.difference is None:
        return say("no partner", **known)
    size = difference_in_words(finding, block.comparison)
    if not finding.difference.testable:
        return say("no variation", **known, size=size)
    if is_shown(finding):
        word, *more = finding.verdict.split()
        return say("shown", **known, word=word, underfit="underfit" if "underfit" in more else None, size=size)
    return say("not shown", **known, size=size + _alone(finding))


def _alone(finding: Finding) -> str:
    """A remark if the interval excludes 0 but the difference is not claimed after the correction."""
    assert finding.difference is not None
    alone = finding.difference.p_value
    return say("not after correction", p=p_in_words(alone)) if alone < ALPHA and not is_shown(finding) else ""


def _listed(block: Findings, family: Sequence[Finding], measure: str) -> str:
    """The sentence for a few findings of one measure, grouped by verdict."""
    counts = {count_in_words(finding) for finding in family if finding.difference is not None}
    same = len(counts) == 1
    verdicts: dict[str, list[str]] = {}
    for finding in family:
        words = name_of(block, finding)
        if finding.difference is not None:
            words += f", {difference_in_words(finding, block.comparison, n=not same)}{_alone(finding)}"
        verdicts.setdefault(_verdict(finding), []).append(words)
    return say(
        "several values",
        values="rows" if block.effect is None else setting_name(block),
        reference=reference(block),
        measure=measure,
        n=counts.pop() if same else None,
        verdicts="; ".join(f"{verdict} for {'; '.join(of)}" for verdict, of in verdicts.items()),
    )


def _verdict(finding: Finding) -> str:
    """`larger`, `smaller (underfit)`, `higher`, `no difference shown`."""
    if not is_shown(finding):
        return finding.verdict
    word = finding.verdict.split()[0]
    return f"{word} (underfit)" if finding.verdict.endswith("underfit") else word


def _summary(block: Findings, family: Sequence[Finding], measure: str) -> str:
    """The sentence for many findings: those that are shown by direction, and the largest difference in full."""
    shown = [finding for finding in family if is_shown(finding)]
    known = shown or [finding for finding in family if math.isfinite(_mean(finding))]
    noun = "rows" if block.effect is None else f"values of {setting_name(block)}"
    about = {"values": len(family), "noun": noun, "reference": reference(block), "measure": measure}
    if not known:
        return say("many unknown values", **about)
    words = ("smaller", "larger") if is_gap(family[0].measure) else ("lower", "higher")
    verdicts = []
    for word, sign in zip(words, (-1, 1), strict=True):
        if named := [name_of(block, finding) for finding in shown if sign * _mean(finding) > 0]:
            verdicts.append(f"{word} for {shortened(named, NAMED)}")
    if rest := len(family) - len(shown):
        verdicts.append(f"no difference shown for {f'the other {rest:,}' if shown else 'any'}")
    most = max(known, key=lambda finding: abs(_mean(finding)))
    size = difference_in_words(most, block.comparison)
    return say("many values", **about, verdicts="; ".join(verdicts), greatest=name_of(block, most), size=size)


def _mean(finding: Finding) -> float:
    return math.nan if finding.difference is None else finding.difference.mean


def _rankings(comparison: Comparison, compared: str) -> list[str]:
    """A ranking for each group of rows that are scored on the same images."""
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows:
        groups.setdefault(row.scored_on, []).append(row)
    apart = [f"{apart_in_words(comparison)}."] if comparison.scored_apart else []
    return [*apart, *(sentence for rows in groups.values() for sentence in _ranking(comparison, rows, compared))]


def _ranking(comparison: Comparison, rows: Sequence[Row], compared: str) -> Iterable[str]:
    """The sentences about the first row, underfit rows and the Pareto front."""
    split, gap = comparison.held_out, f"gap_{comparison.held_out}_accuracy"
    scored = [row for row in rows if gap in row.scores and math.isfinite(row.scores[gap].mean)]
    if len(rows) < 2 or not scored:
        return
    about = {"measure": measure_in_words(gap), "split": SPLITS[split]}
    ranked = [row for row in scored if not row.underfit]
    if ranked:
        best = min(ranked, key=lambda row: row.scores[gap].mean)
        accuracy = f"{100 * best.scores[f'{split}_accuracy'].mean:.1f} %"
        about |= {"row": label(best.settings), "size": gap_in_words(best, comparison), "accuracy": accuracy}
    if len(ranked) == 1:
        why = "is accurate enough to be ranked by its gap" if len(scored) > 1 else "has a gap"
        yield say("only row", **about, why=why)
    elif ranked:
        enough = len(ranked) < len(scored)
        among = f"the {len(ranked)} that are accurate enough" if enough else f"all {len(scored)}"
        picked = say("picked row", compared=compared if compared and best is comparison.rows[0] else None)
        yield say("first row", **about, among=among) + picked * (split in comparison.selected_on)
    for place, how in UNDERFIT.items():
        if below := [label(row.settings) for row in scored if row.place is place]:
            yield say(
                "underfit row" if len(below) == 1 else "underfit rows", split=SPLITS[split], count=len(below),
                rows=len(scored), place=place, floor=floor_in_words(comparison), how=how,
                named=shortened(below, NAMED),
            )  # fmt: skip
    front = [f"{label(row.settings)}{_share(row)}" for row in scored if row.on_front]
    if len(scored) > 2 and front:
        resampled = any(not math.isnan(row.front_share) for row in scored)
        sure = say("resampled", repeated=what_is_repeated(comparison)) if resampled else "not tested"
        is_or_are = "is" if len(front) == 1 else "are"
        yield say("front", named=shortened(front, NAMED), is_or_are=is_or_are, split=SPLITS[split], sure=sure)


def _share(row: Row) -> str:
    return "" if math.isnan(row.front_share) else f" ({100 * row.front_share:.0f} %)"


def rises(comparison: Comparison, series: Series) -> list[str]:
    """The sentence about rising validation losses: which rows show a rise, and from which epoch on.

    Rows are described one by one, because their epochs may have different lengths. A row is described by its mean curve
    if `series` has its runs and they have equal length, otherwise by its runs. External runs are left out, because
    their curves have not been analysed.
    """
    rows = [
        (row, runs)
        for row in comparison.rows
        if (runs := [run for run in row.finished_runs if "final/val_loss" in run.metrics])
    ]
    if not rows or comparison.reading.keys is not None:
        return []
    every = [run for _, runs in rows for run in runs]
    if max(run.metrics.get("last/epoch", math.inf) for run in every) < ONSET_EPOCHS:
        return [say("too short", least=ONSET_EPOCHS)]
    told = [text for row, runs in rows if (text := _rise(row, runs, series))]
    if not told:
        return [say("no rise", runs=len(every))]
    others, risen = len(rows) - len(told), shortened(told, NAMED, "; ")
    return [say("rises", risen=len(told), rows=len(rows), told=risen, others=others or None)]


def _rise(row: Row, runs: Sequence[RunRecord], series: Series) -> str:
    """The rise of one row in words; empty if none is shown."""
    turns = _values(runs, "overfit/onset_epoch")
    epochs, curves = _mean_curves(runs, series)
    of_mean = onset(*curves) if epochs else None
    if not turns and of_mean is None:
        return ""
    # Runs of earlier versions did not record `onset_by_epoch`.
    by, growth = _values(runs, "overfit/onset_by_epoch"), _values(runs, "overfit/growth")
    return say(
        "rise",
        row=label(row.settings),
        turn=of_mean and epochs[of_mean.epoch - 1],
        sure=of_mean and epochs[of_mean.by_epoch - 1],
        not_shown="not shown" if epochs and of_mean is None else None,
        between=", " if epochs and turns else None,
        risen=len(turns) or None,
        runs=len(runs),
        middle=median(turns) if turns else None,
        range=f"{min(turns):g} to {max(turns):g}" if len(set(turns)) > 1 else None,
        runs_sure=median(by) if turns and by else None,
        growth=median(growth) if growth else None,
    )


def _values(runs: Sequence[RunRecord], metric: str) -> list[float]:
    return [run.metrics[metric] for run in runs if metric in run.metrics]


def _mean_curves(runs: Sequence[RunRecord], series: Series) -> tuple[list[int], list[np.ndarray]]:
    """Epochs, and the mean training and validation loss; empty for a single run or runs of different lengths."""
    found = [series.get(run.run_id, {}).get(name, {}) for run in runs for name in _LOSSES]
    epochs = sorted(found[0])
    if len(runs) < 2 or any(sorted(curve) != epochs for curve in found):
        return [], []
    values = np.array([[curve[epoch] for epoch in epochs] for curve in found])
    return epochs, [values[start :: len(_LOSSES)].mean(axis=0) for start in range(len(_LOSSES))]


def _restored(comparison: Comparison, runs: Sequence[RunRecord]) -> list[str]:
    """The sentence about how early stopping's restored weights changed the gap."""
    measure = f"gap_{comparison.held_out}_accuracy"
    final, last = f"final/{measure}", f"last/{measure}"
    changes = [
        run.metrics[final] - run.metrics[last]
        for run in runs
        if {final, last} <= run.metrics.keys()
        and run.metrics.get("last/epoch") != run.metrics.get("best/epoch")
        and run.metrics[final] != run.metrics[last]
    ]
    about = {"changed": len(changes), "runs": len(runs), "measure": measure_in_words(measure)}
    return [say("restored", **about, spread=_spread(changes))] if changes else []


def _running(runs: Sequence[RunRecord]) -> list[str]:
    changes = [change for change in _values(runs, "final/gap_running_minus_clean") if math.isfinite(change)]
    return [say("running averages", spread=_spread(changes))] if changes else []


def _spread(changes: Sequence[float]) -> str:
    mean, least, greatest = (amount("", of) for of in (math.fsum(changes) / len(changes), min(changes), max(changes)))
    several = len(changes) if len(changes) > 1 else None
    return say("spread", mean=mean, least=least, greatest=greatest, runs=several)
