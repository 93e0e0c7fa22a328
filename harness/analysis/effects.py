"""The effect of one setting on the gap, with all else equal.

Two runs are a pair if they are the same replicate (seed, or draw of the data) and differ only in this setting, or in
settings that follow from it (the learning rate that each optimizer has by default is part of the choice of an
optimizer). The effect of a value under one seed is the mean difference to the reference value over the matched
configurations; it is tested over seeds.

The seed, or the draw, is the unit of replication. Pairs with the same seed are not independent, because the seed's
random effects (initial weights, order of batches) are partly the same in all configurations. Counting them as
independent would make an effect look more certain with each additional configuration.

The mean is over the configurations that were run, with equal weights. Their spread is shown beside it as a description,
and is not tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import Difference, differences_to
from harness.analysis.differences import Finding, Findings, corrected, measures, same_value, setting_named
from harness.analysis.rows import Row
from harness.analysis.settings import headings, sortable
from harness.analysis.statistics import mean
from harness.errors import RequestError, suggestion

Levels = Mapping[str, Row]
"""Rows that differ in one setting, by its value."""


def effects(comparison: Comparison, setting: str, reference: str | None = None) -> Findings:
    """Compare every other value of `setting` with `reference`, in each measure.

    `reference` None: the first value whose held-out images are those of another value too, and whose runs have a
    partner.

    Raises:
        RequestError: `setting` does not vary independently, `reference` is none of its values, no other value is scored
            on the images of `reference`, every value is scored on different images, or no runs match.
    """
    key = _varied(comparison, setting)
    levels = sorted({row.settings[key] for row in comparison.rows}, key=sortable)
    together = values_together(comparison, key)
    if not together and len(levels) > 1:
        raise RequestError(
            f"--effect {setting}: each value of {key} is scored on other {comparison.images_in_words}, so a difference "
            "would say nothing of training. Compare the values of another setting."
        )
    of_use = [level for level in levels if level in together] or levels
    contexts, gap = _contexts(comparison, key), f"gap_{comparison.held_out}_accuracy"
    if reference is None:
        first = next((level for level in of_use if _matched(contexts, level, gap)), of_use[0])
    else:
        first = _level(reference, key, levels)
    if first not in of_use:
        raise RequestError(
            f"--baseline {reference}: no other value is scored on the {comparison.images_in_words} of {key}={first}. "
            f"Choose from {', '.join(of_use)}."
        )
    scored_on = {row.scored_on for row in comparison.rows if row.settings[key] == first}
    alike = {row.settings[key] for row in comparison.rows if row.scored_on in scored_on}
    compared = [level for level in levels if level != first and level in alike]
    found = [
        finding
        for measure in measures(comparison)
        for finding in _effects(comparison, contexts, key, compared, first, measure)
    ]
    matched = _matched(contexts, first, gap)
    if not matched:
        others = [other for other in comparison.settings if other != key]
        raise RequestError(
            f"--effect {setting}: no finished run has a partner of {key}={first} that differs from it in nothing else "
            f"(seed, {', '.join(others) or 'no other setting'}). Run the missing combinations, or compare whole rows "
            "with --baseline."
        )
    return Findings(
        comparison, f"{key}={first}", (key,), measures(comparison), corrected(found), key,
        unmatched=comparison.finished - matched,
        apart=sum(row.settings[key] not in alike for row in comparison.rows),
    )  # fmt: skip


def values_together(comparison: Comparison, key: str) -> set[str]:
    """The values of a setting that are scored on the same images as another of its values."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for row in comparison.rows:
        values[row.scored_on].add(row.settings[key])
    return set().union(*(of for of in values.values() if len(of) > 1))


@dataclass(frozen=True)
class _Matched:
    """A value and the reference in the configurations that have both: the pairs of rows, the mean difference in each,
    and the mean over configurations for each replicate that all of them have (`values`, `others`)."""

    pairs: tuple[tuple[Row, Row], ...]
    by_configuration: tuple[float, ...]
    values: Mapping[str, float]
    others: Mapping[str, float]
    seeds: int


def _effects(
    comparison: Comparison, contexts: list[Levels], key: str, levels: Sequence[str], reference: str, measure: str
) -> list[Finding]:
    matched = [_match(contexts, level, reference, measure) for level in levels]
    # Variances are pooled only over values compared in the same configurations: otherwise `others` are different means.
    together: defaultdict[tuple[tuple[str, float], ...], list[int]] = defaultdict(list)
    for place, of in enumerate(matched):
        together[tuple(sorted(of.others.items()))].append(place)
    differences: dict[int, Difference | None] = {}
    for others, places in together.items():
        found = differences_to(dict(others), [matched[place].values for place in places])
        differences.update(zip(places, found, strict=True))
    findings = []
    for place, (level, of) in enumerate(zip(levels, matched, strict=True)):
        both = [rows for rows in contexts if level in rows and reference in rows]
        underfit = bool(both) and all(rows[level].underfit for rows in both)
        finished = all(any(rows[at].by_unit(measure) for rows in contexts if at in rows) for at in (level, reference))
        difference, wider = differences[place], None
        if difference is not None:
            wider = comparison.held_out_images.widened(difference, of.pairs, tuple(of.values), measure)
        shown = wider if comparison.interval == "seeds+images" and wider is not None else difference
        findings.append(
            Finding(
                {key: level}, measure, shown, of.seeds, underfit, of.by_configuration,
                unmatched=finished and not of.by_configuration, wider=wider,
                over_draws=any(row.over_draws for row in comparison.rows),
            )
        )  # fmt: skip
    return findings


def _match(contexts: list[Levels], level: str, reference: str, measure: str) -> _Matched:
    both = [(rows[level], rows[reference]) for rows in contexts if level in rows and reference in rows]
    found = []
    for row, other in both:
        here, there = row.by_unit(measure), other.by_unit(measure)
        if common := [unit for unit in here if unit in there]:
            found.append((row, other, here, there, common))
    means = tuple(mean([here[unit] - there[unit] for unit in common]) for _, _, here, there, common in found)
    # Only replicates that every configuration has: otherwise each mean would be over different configurations.
    complete = [unit for unit in found[0][4] if all(unit in common for *_, common in found)] if found else []
    return _Matched(
        tuple((row, other) for row, other, *_ in found),
        means,
        {unit: mean([here[unit] for _, _, here, _, _ in found]) for unit in complete},
        {unit: mean([there[unit] for _, _, _, there, _ in found]) for unit in complete},
        len(set().union(*(common for *_, common in found))),
    )


def _contexts(comparison: Comparison, key: str) -> list[Levels]:
    """Groups of rows that are equal in every shown setting except `key` and are scored on the same images, by value.

    Settings that are not shown are constant, or follow from a shown one: equal for these rows, or part of the value.
    """
    found: defaultdict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for row in comparison.rows:
        others = tuple(value for other, value in row.settings.items() if other != key)
        found[*others, row.scored_on][row.settings[key]] = row
    return list(found.values())


def _matched(contexts: list[Levels], reference: str, measure: str) -> int:
    """How many finished runs are in a pair, including those of the reference value."""
    count = 0
    for rows in contexts:
        seeds = {level: row.by_unit(measure).keys() for level, row in rows.items()}
        base: Set[str] = seeds.pop(reference, set())
        paired = set().union(*(base & other for other in seeds.values()))
        for level, row in rows.items():
            wanted = paired if level == reference else base
            count += sum(row.key(run) in wanted for run in row.finished_runs)
    return count


def _varied(comparison: Comparison, setting: str) -> str:
    key = setting_named(setting, comparison.settings)
    if key is not None:
        return key
    varied = ", ".join(comparison.settings) or "nothing"
    if (hidden := setting_named(setting, comparison.follows)) is not None:
        source = comparison.follows[hidden]
        raise RequestError(f"--effect {setting}: {hidden} follows from {source} in these runs. Ask for {source}.")
    if (same := setting_named(setting, comparison.constants)) is not None:
        raise RequestError(
            f"--effect {setting}: {same} is {comparison.constants[same]} in every run. The runs differ in {varied}."
        )
    near = suggestion(setting, [*headings(comparison.settings).values(), *comparison.settings])
    raise RequestError(f"--effect {setting}: no run here has such a setting.{near} The runs differ in {varied}.")


def _level(text: str, key: str, levels: list[str]) -> str:
    name, equals, value = text.rpartition("=")
    same = [level for level in levels if same_value(level, value)]
    if same and (not equals or setting_named(name, (key,)) == key):
        return same[0]
    raise RequestError(f"--baseline {text}: {key} has no such value here. Choose from {', '.join(levels)}.")
