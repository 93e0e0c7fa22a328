"""The effect of one setting on the gap, with all else matched.

Two runs make a pair if they have the same seed and differ in that setting only, or in what follows from it (a learning
rate that is each optimizer's own is part of the choice of an optimizer). The effect of a level under one seed is the
mean difference to the reference level over the matched configurations; it is tested over seeds.

The seed is the unit of replication. Pairs of one seed are not independent of each other, since its luck (first weights,
order of batches) is partly the same in all configurations. Counted as if they were, each configuration more would make
an effect look surer than it is.

What the mean is about: the configurations that were run, each counted alike. How far they differ is shown beside it as
description, and is not tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from harness.analysis.comparison import Comparison
from harness.analysis.differences import Finding, Findings, corrected, measures, same_value, setting_named
from harness.analysis.rows import Row
from harness.analysis.settings import ABSENT, SEED, headings, sortable
from harness.analysis.statistics import mean, paired_difference
from harness.errors import RequestError, suggestion
from harness.records import RunState

Levels = Mapping[str, Row]
"""Rows that differ in one setting, by its value."""


def effects(comparison: Comparison, setting: str, reference: str | None = None) -> Findings:
    """Every other value of `setting` compared with `reference`, in each measure.

    None: its first value that is not alone with its held-out images.

    Raises:
        RequestError: `setting` does not vary by itself here, `reference` is none of its values or alone with its
            held-out images, its values are judged on different images, or no runs match.
    """
    key = _varied(comparison, setting)
    levels = sorted({row.settings[key] for row in comparison.rows}, key=sortable)
    together = values_together(comparison, key)
    if not together and len(levels) > 1:
        raise RequestError(
            f"--effect {setting}: each value of {key} is judged on other {comparison.held_out_images}, so a difference "
            "would say nothing of training. Compare the values of another setting."
        )
    of_use = [level for level in levels if level in together] or levels
    first = of_use[0] if reference is None else _level(reference, key, levels)
    if first not in of_use:
        raise RequestError(
            f"--baseline {reference}: no other value is judged on the {comparison.held_out_images} of {key}={first}. "
            f"Choose from {', '.join(of_use)}."
        )
    judged_on = {row.judged_on for row in comparison.rows if row.settings[key] == first}
    alike = {row.settings[key] for row in comparison.rows if row.judged_on in judged_on}
    contexts = _contexts(comparison, key)
    found = [
        _effect(contexts, key, level, first, measure)
        for measure in measures(comparison)
        for level in levels
        if level != first and level in alike
    ]
    matched = _matched(contexts, first, f"gap_{comparison.held_out}_accuracy")
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
    """The values of a setting that are judged on the same images as another value of it."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for row in comparison.rows:
        values[row.judged_on].add(row.settings[key])
    return set().union(*(of for of in values.values() if len(of) > 1))


def _effect(contexts: list[Levels], key: str, level: str, reference: str, measure: str) -> Finding:
    both = [rows for rows in contexts if level in rows and reference in rows]
    pairs = [(rows[level].by_seed(measure), rows[reference].by_seed(measure)) for rows in both]
    seeds = [[seed for seed in here if seed in there and seed != ABSENT] for here, there in pairs]
    matched = [(*pair, common) for pair, common in zip(pairs, seeds, strict=True) if common]
    means = tuple(mean([here[seed] - there[seed] for seed in common]) for here, there, common in matched)
    # Only seeds that every configuration has: else each seed's mean would be about other configurations.
    complete = [seed for seed in matched[0][2] if all(seed in common for *_, common in matched)] if matched else []
    difference = None
    if complete:
        values = [mean([here[seed] for here, _, _ in matched]) for seed in complete]
        others = [mean([there[seed] for _, there, _ in matched]) for seed in complete]
        difference = paired_difference(values, others)
    underfit = bool(both) and all(rows[level].underfit for rows in both)
    finished = all(any(rows[of].by_seed(measure) for rows in contexts if of in rows) for of in (level, reference))
    return Finding(
        {key: level}, measure, difference, len(set().union(*seeds)), underfit, means,
        unmatched=finished and not matched,
    )  # fmt: skip


def _contexts(comparison: Comparison, key: str) -> list[Levels]:
    """Rows that are equal in every shown setting but `key` and judged on the same images, by its value.

    What is not shown is constant, or follows from a shown setting: the same for them, or part of the level.
    """
    found: defaultdict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for row in comparison.rows:
        others = tuple(value for other, value in row.settings.items() if other != key)
        found[*others, row.judged_on][row.settings[key]] = row
    return list(found.values())


def _matched(contexts: list[Levels], reference: str, measure: str) -> int:
    """How many finished runs are in a pair, those of the reference level included."""
    count = 0
    for rows in contexts:
        seeds = {level: row.by_seed(measure).keys() - {ABSENT} for level, row in rows.items()}
        base = seeds.pop(reference, set())
        paired = set().union(*(base & other for other in seeds.values()))
        for level, row in rows.items():
            wanted = paired if level == reference else base
            finished = (run for run in row.runs if run.state is RunState.FINISHED)
            count += sum(run.parameters.get(SEED) in wanted for run in finished)
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
    for level in levels:
        if same_value(level, value) and (not equals or setting_named(name, (key,)) == key):
            return level
    raise RequestError(f"--baseline {text}: {key} has no such value here. Choose from {', '.join(levels)}.")
