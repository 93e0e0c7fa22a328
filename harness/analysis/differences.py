"""Compares each row of a comparison with a baseline row: the difference of the gaps, and whether it is significant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import Difference, differences_to, simultaneous
from harness.analysis.measures import is_gap
from harness.analysis.rows import Row
from harness.analysis.settings import SEED, headings, setting_of
from harness.analysis.statistics import ALPHA, Interval, holm
from harness.errors import RequestError, suggestion

_BETWEEN_SETTINGS = re.compile(r",(?=[\w./@]+=)")  # a list holds commas too: `model.hidden=[64,64],optimizer=sgd`
_CHOICES_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One difference of one measure, tested together with all others that are shown.

    `cells` are the labels of what was compared, by column. `difference` has the comparison's kind of interval, `wider`
    the one over seeds and held-out images (None if not known). `seeds` is the largest possible number of replicates per
    side; `corrected` is Holm's p-value, `simultaneous` the simultaneous interval over all findings of the measure.
    `by_configuration` has the mean difference in each configuration in which the setting was changed. `difference` is
    None if one side has no finished run, if no seed is in all configurations, or (`unmatched`) if no two runs of the
    two sides differ only in the setting.
    """

    cells: Mapping[str, str]
    measure: str
    difference: Difference | None
    seeds: int
    underfit: bool = False
    by_configuration: tuple[float, ...] = ()
    corrected: float = math.nan
    unmatched: bool = False
    wider: Difference | None = None
    simultaneous: Interval | None = None
    over_draws: bool = False

    @property
    def testable(self) -> bool:
        """Whether there is a p-value."""
        return self.difference is not None and self.difference.testable

    @property
    def wider_interval(self) -> Interval | None:
        """The interval over seeds and held-out images."""
        return None if self.wider is None else self.wider.interval

    @property
    def contexts(self) -> int:
        """The number of configurations in which the setting was changed."""
        return len(self.by_configuration)

    @property
    def agreeing(self) -> int:
        """The number of these configurations whose mean difference has the sign of the overall difference."""
        sign = 0.0 if self.difference is None else self.difference.mean
        return sum(mean * sign > 0 for mean in self.by_configuration)

    @property
    def verdict(self) -> str:
        """The finding in words; a difference is claimed only where the corrected p-value is below `ALPHA`."""
        if self.unmatched:
            return "no partner"
        if self.difference is None:
            return "no seed in all configurations" if self.by_configuration else "no finished run"
        if math.isnan(self.difference.mean):
            return "not a number"
        if self.difference.interval is None:
            return f"too few seeds (n={min(self.difference.n, self.difference.n_baseline)})"
        if not self.difference.testable:
            return "cannot be tested: no variation"
        if not self.corrected < ALPHA:
            return "no difference shown"
        less, more = ("smaller gap", "larger gap") if is_gap(self.measure) else ("lower accuracy", "higher accuracy")
        words = less if self.difference.mean < 0 else more
        return f"{words}, underfit" if self.underfit and is_gap(self.measure) else words


@dataclass(frozen=True)
class Findings:
    """Differences to `baseline`, by measure and then in the order of the rows; `keys` are the columns of their cells.

    `tests` is the number of p-values that Holm's correction is for. `effect` is the setting whose values are compared
    with all else equal; None if rows are compared. `unmatched` is the number of finished runs without a partner,
    `apart` the number of rows left out because they are scored on other images than the baseline.
    """

    comparison: Comparison
    baseline: str
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    findings: tuple[Finding, ...]
    effect: str | None = None
    unmatched: int = 0
    apart: int = 0

    @property
    def tests(self) -> int:
        return sum(finding.testable for finding in self.findings)


def measures(comparison: Comparison) -> tuple[str, ...]:
    """The measures compared with a baseline: the ranked split's gap of accuracy, its gap of loss, and its accuracy."""
    split = comparison.held_out
    wanted = (f"gap_{split}_accuracy", f"gap_{split}_loss", f"{split}_accuracy")
    return tuple(name for name in wanted if name in comparison.scores)


def corrected(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with Holm's p-values and simultaneous intervals, separately for each measure.

    The gap of accuracy is the primary measure: all claims about it are true with at least 95 % probability. The same
    holds for the claims about the gap of loss, and for those about accuracy, but not for all three measures together.
    """
    found = list(findings)
    for measure in dict.fromkeys(finding.measure for finding in findings):
        places = [place for place, of in enumerate(found) if of.measure == measure and of.difference is not None]
        tested = [difference for place in places if (difference := found[place].difference) is not None]
        p_values = holm([difference.p_value for difference in tested])
        for place, p, together in zip(places, p_values, simultaneous(tested), strict=True):
            found[place] = replace(found[place], corrected=p, simultaneous=together)
    return tuple(found)


def differences(comparison: Comparison, baseline: Row) -> Findings:
    """Compare every other row that is scored on the same images with `baseline`, in each of `measures` (by the tests of
    contrasts.py).

    Raises:
        RequestError: there is no other row, or none that is scored on the same images.
    """
    rows = [row for row in comparison.rows if row is not baseline]
    others = [row for row in rows if row.scored_on == baseline.scored_on]
    if not measures(comparison):
        raise RequestError(f"--baseline {baseline.label}: no run here has a score to compare. Train some to their end.")
    if not others:
        why = "there is no other row to compare with it"
        if rows:
            why = f"every other row is scored on other {comparison.images_in_words}"
        raise RequestError(f"--baseline {baseline.label}: {why}. Compare more runs.")
    found = [
        finding for name in measures(comparison) for finding in row_differences(comparison, baseline, others, name)
    ]
    return Findings(
        comparison, baseline.label, comparison.settings, measures(comparison), corrected(found),
        apart=len(rows) - len(others),
    )  # fmt: skip


def row_differences(comparison: Comparison, baseline: Row, rows: Sequence[Row], measure: str) -> list[Finding]:
    """The differences of `rows` minus `baseline`; not corrected."""
    own = baseline.by_unit(measure)
    values = [row.by_unit(measure) for row in rows]
    found = []
    for row, by_unit, difference in zip(rows, values, differences_to(own, values), strict=True):
        wider = None
        if difference is not None:
            units = [unit for unit in own if unit in by_unit]
            wider = comparison.held_out_images.widened(difference, [(row, baseline)], units, measure)
        shown = wider if comparison.interval == "seeds+images" and wider is not None else difference
        seeds = max(len(by_unit), len(own))
        found.append(Finding(row.settings, measure, shown, seeds, row.underfit, wider=wider, over_draws=row.over_draws))
    return found


def find_row(comparison: Comparison, text: str) -> Row:
    """Find the one row that `text` names: `key=value` (several separated by commas), a row's label, or a run's id or
    name.

    Raises:
        RequestError: `text` names no row, or several.
    """
    rows = comparison.rows
    if "=" in text:
        wanted = _pairs(comparison, text)

        def has(row: Row, key: str, value: str) -> bool:
            return same_value(row.settings.get(key) or setting_of(row.runs[0].parameters, key), value)

        found = [row for row in rows if all(has(row, key, value) for key, value in wanted)]
    else:
        found = [row for row in rows if row.label == text] or [
            row for row in rows if any(text == run.name or run.run_id.startswith(text) for run in row.runs)
        ]
    if len(found) == 1 and text:
        return found[0]
    labels = [row.label for row in (found or rows)]
    shown = "; ".join(labels[:_CHOICES_SHOWN]) + ("; ..." if len(labels) > _CHOICES_SHOWN else "")
    if found:
        short = headings(tuple(found[0].settings))
        example = ",".join(f"{short[key]}={value}" for key, value in found[0].settings.items())
        raise RequestError(f"--baseline {text} means {len(found)} rows: {shown}. Name one, for example as '{example}'.")
    raise RequestError(
        f"--baseline {text}: no row of this comparison is called so.{suggestion(text, labels)} "
        f"Give settings (key=value,key=value), a run, or one of: {shown}."
    )


def setting_named(wanted: str, known: Iterable[str]) -> str | None:
    """The setting that `wanted` names, by full or short name (`model` is `model.name`); if several match, the first of
    `known`."""
    keys = tuple(known)
    return wanted if wanted in keys else next((key for key in keys if headings([key])[key] == wanted), None)


def same_value(one: str, other: str) -> bool:
    """Whether two values are equal as text or as numbers."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _pairs(comparison: Comparison, text: str) -> list[tuple[str, str]]:
    shown = tuple(comparison.settings)
    every = (*shown, *comparison.follows, *comparison.constants)
    names = (*headings(shown).values(), *every)
    pairs = []
    for part in _BETWEEN_SETTINGS.split(text):
        name, _, value = part.partition("=")
        if name == SEED:
            raise RequestError(f"--baseline {text}: a row holds every seed of its settings. Leave {part} out.")
        key = setting_named(name, shown) or setting_named(name, every)
        if key is None:
            raise RequestError(
                f"--baseline {text}: no run here has a setting '{name}'.{suggestion(name, names)} "
                f"The rows differ in {', '.join(shown) or 'nothing'}."
            )
        pairs.append((key, value))
    return pairs
