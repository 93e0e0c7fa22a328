"""Each row of a comparison beside one of them: how much more or less it overfits, and whether that may be chance."""

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
    """One difference of one measure, as tested among all that are shown with it.

    `cells` say what was compared, by column. `difference` is over what the comparison's intervals are over, `wider`
    over seeds and held-out images (None where that is not known). `seeds` is how many replicates each side could have
    had at most; `corrected` is Holm's p-value, `simultaneous` the interval that holds together with those of all
    findings of the measure. `by_configuration` has the mean difference in each configuration, where a setting was
    changed in one or several. `difference` is None where one side has no finished run, no seed is in all
    configurations, or, as `unmatched` says, no run of one side differs from one of the other in the setting only.
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
    def wider_interval(self) -> Interval | None:
        """Over seeds and held-out images."""
        return None if self.wider is None else self.wider.interval

    @property
    def contexts(self) -> int:
        """In how many configurations the setting was changed."""
        return len(self.by_configuration)

    @property
    def agreeing(self) -> int:
        """In how many of them the mean difference has the sign of the whole."""
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

    `tests` counts those that have a p-value, which Holm's correction is for. `effect` is the setting whose levels are
    compared with all else matched; None where rows are. `unmatched` counts the finished runs that then had no partner,
    `apart` the rows that were left out because they are scored on other images than the baseline.
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
        return sum(finding.difference is not None and finding.difference.testable for finding in self.findings)


def measures(comparison: Comparison) -> tuple[str, ...]:
    """What is compared with a baseline: the ranked split's gap of accuracy and of loss, and its accuracy."""
    split = comparison.held_out
    wanted = (f"gap_{split}_accuracy", f"gap_{split}_loss", f"{split}_accuracy")
    return tuple(name for name in wanted if name in comparison.scores)


def corrected(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with Holm's p-values and simultaneous intervals, each measure by itself.

    The gap of accuracy is what is asked about: its claims are all true with 95 % probability at least. Those of the
    gap of loss and of accuracy are so among themselves; together the three measures can be wrong more often.
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
    """Every other row that is scored on the same images compared with `baseline`, in each of `measures`; how, says
    contrasts.py.

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
    """Each of `rows` minus `baseline`; not corrected."""
    own = baseline.by_unit(measure)
    values = [row.by_unit(measure) for row in rows]
    found = []
    for row, by_unit, difference in zip(rows, values, differences_to(own, values), strict=True):
        wider = None
        if difference is not None:
            units = [unit for unit in own if unit in by_unit]
            wider = comparison.held_out_images.widened(difference, [(row, baseline)], units, measure)
        shown = wider if comparison.interval == "seeds+images" and wider is not None else difference
        found.append(
            Finding(
                row.settings,
                measure,
                shown,
                max(len(by_unit), len(own)),
                row.underfit,
                wider=wider,
                over_draws=row.over_draws,
            )
        )
    return found


def find_row(comparison: Comparison, text: str) -> Row:
    """The one row that `text` means: `key=value` (several parted by commas), a row's label, or a run's id or name.

    Raises:
        RequestError: no row, or more than one, answers to it.
    """
    rows = comparison.rows
    if "=" in text:
        found = [row for row in rows if all(_has(row, *pair) for pair in _pairs(comparison, text))]
    else:
        found = [row for row in rows if row.label == text] or [
            row for row in rows if any(text == run.name or run.run_id.startswith(text) for run in row.runs)
        ]
    if len(found) == 1 and text:
        return found[0]
    labels = [row.label for row in (found or rows)]
    shown = "; ".join(labels[:_CHOICES_SHOWN]) + ("; ..." if len(labels) > _CHOICES_SHOWN else "")
    if found:
        raise RequestError(
            f"--baseline {text} means {len(found)} rows: {shown}. Name one, for example as {_as_settings(found[0])}."
        )
    raise RequestError(
        f"--baseline {text}: no row of this comparison is called so.{suggestion(text, labels)} "
        f"Give settings (key=value,key=value), a run, or one of: {shown}."
    )


def setting_named(wanted: str, known: Iterable[str]) -> str | None:
    """The setting that `wanted` means, by its whole name or its short one (`model` is `model.name`); the first of
    `known` where several are called so."""
    keys = tuple(known)
    return wanted if wanted in keys else next((key for key in keys if headings([key])[key] == wanted), None)


def same_value(one: str, other: str) -> bool:
    """Whether two values are the same text or the same number."""
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


def _has(row: Row, key: str, value: str) -> bool:
    return same_value(row.settings.get(key) or setting_of(row.runs[0].parameters, key), value)


def _as_settings(row: Row) -> str:
    short = headings(tuple(row.settings))
    return "'" + ",".join(f"{short[key]}={value}" for key, value in row.settings.items()) + "'"
