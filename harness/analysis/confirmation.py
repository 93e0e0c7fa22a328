"""Compares rows with the same settings under fresh seeds (`harness compare --confirm`).

The first of several rows is first partly by luck, and this luck is in its weights: its figures are too good, on the
split that ranked the rows and on every other. Figures under fresh seeds, which were not used for the ranking, are
unbiased (Cawley and Talbot 2010, see selection_bias.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from harness.analysis.comparison import Comparison
from harness.analysis.contrasts import Difference, difference
from harness.analysis.differences import measures
from harness.analysis.legend import context, headline
from harness.analysis.measures import amount, counted, from_to, is_gap, p_value, quantity_of, unit
from harness.analysis.rows import Row
from harness.analysis.settings import SEED
from harness.analysis.statistics import LEVEL, Interval
from harness.tabular import Page, Table, json_text, rendered
from harness.text import csv_text

WINNER, BASELINE, BOTH = "winner", "baseline", "winner - baseline"
COMPARED, FRESH, CHANGE = "compared", "fresh", "fresh - compared"


@dataclass(frozen=True)
class Confirmation:
    """The winner of a comparison, and the baseline if there is one, under the compared seeds and under fresh `seeds`.

    `pairs` have each row as compared and under fresh seeds, the winner first. `asked`: a baseline was named; if it then
    has no pair, the winner is the baseline. `remarks` are further notes for the reader.
    """

    comparison: Comparison
    seeds: tuple[int, ...]
    pairs: tuple[tuple[Row, Row], ...]
    asked: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def winner(self) -> tuple[Row, Row]:
        return self.pairs[0]

    @property
    def baseline(self) -> tuple[Row, Row] | None:
        return self.pairs[1] if len(self.pairs) > 1 else None

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures shown: the gaps and the accuracy of the ranked split, and the test accuracy."""
        return tuple(dict.fromkeys((*measures(self.comparison), "test_accuracy")))

    @property
    def rows(self) -> dict[str, tuple[Row, Row]]:
        return dict(zip((WINNER, BASELINE), self.pairs, strict=False))


@dataclass(frozen=True)
class Figure:
    """A mean or a difference, as a fraction, with its 95 % interval; `p` is the uncorrected p-value of a difference.

    `row` is winner, baseline, or their difference; `seeds` are the compared ones, the fresh ones, or their difference.
    `n_other` is the number of values of the subtracted side. Values that cannot be computed from the runs are None.
    """

    row: str
    measure: str
    seeds: str
    n: int
    n_other: int | None
    value: float | None
    low: float | None
    high: float | None
    paired: bool | None = None
    p: float | None = None


def figures(confirmation: Confirmation) -> list[Figure]:
    """All figures: each row under compared and under fresh seeds, the change between the two, and the winner's
    difference to the baseline under each."""
    found = []
    for measure in confirmation.measures:
        for name, (compared, fresh) in confirmation.rows.items():
            found += [_mean(name, measure, COMPARED, compared), _mean(name, measure, FRESH, fresh)]
            change = _difference(name, measure, CHANGE, difference(fresh.by_unit(measure), compared.by_unit(measure)))
            found.append(replace(change, p=None))  # the compared figures were selected, so a p-value would be invalid
        if confirmation.baseline is not None:
            sides = zip((COMPARED, FRESH), confirmation.winner, confirmation.baseline, strict=True)
            for seeds, row, baseline in sides:
                found.append(
                    _difference(BOTH, measure, seeds, difference(row.by_unit(measure), baseline.by_unit(measure)))
                )
    return found


def _mean(name: str, measure: str, seeds: str, row: Row) -> Figure:
    score = row.scores.get(measure)
    if score is None:
        return Figure(name, measure, seeds, 0, None, None, None, None)
    return Figure(name, measure, seeds, score.n, None, _finite(score.mean), *_ends(score.interval))


def _difference(name: str, measure: str, seeds: str, of: Difference | None) -> Figure:
    if of is None:
        return Figure(name, measure, seeds, 0, 0, None, None, None)
    paired, low, high = of.kind == "paired", *_ends(of.interval)
    return Figure(name, measure, seeds, of.n, of.n_baseline, _finite(of.mean), low, high, paired, _finite(of.p_value))


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def render(confirmation: Confirmation, form: str) -> str:
    """The confirmation in one of `tabular.FORMATS`, ending with a line break."""
    files = {"json": lambda: _json(confirmation), "csv": lambda: _csv(confirmation)}
    return rendered(form, lambda: Page(_above(confirmation), _tables(confirmation), _below(confirmation)), files)


def _above(confirmation: Confirmation) -> list[str]:
    comparison, row = confirmation.comparison, confirmation.winner[0]
    rows = counted(comparison.configurations, "row")
    order = "smallest" if comparison.ascending else "largest"
    by = f"first of {rows}, by the {order} {comparison.sorted_by}" if comparison.configurations > 1 else "the only row"
    lines = [headline(comparison), *context(comparison), f"Winner: {row.label}, {by}."]
    if confirmation.baseline is not None:
        lines.append(f"Baseline: {confirmation.baseline[0].label}.")
    elif confirmation.asked:
        lines.append("It is the baseline itself that ranks first, so there is no difference to show.")
    used = sorted({int(seed) for row, _ in confirmation.rows.values() for seed in row.seeds if seed.isdecimal()})
    return [
        *lines,
        f"Compared seeds: {_listed(used)}. Fresh seeds: {_listed(confirmation.seeds)}, above every seed of the "
        "comparison.",
    ]


def _listed(seeds: Sequence[int]) -> str:
    """`0 to 4`; `0, 2, 7` if the seeds are not consecutive."""
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _tables(confirmation: Confirmation) -> list[Table]:
    """The table of means and, with a baseline, that of differences."""
    found = {(figure.row, figure.measure, figure.seeds): figure for figure in figures(confirmation)}
    means = []
    for name in confirmation.rows:
        for measure in confirmation.measures:
            compared, fresh, change = (found[name, measure, seeds] for seeds in (COMPARED, FRESH, CHANGE))
            cells = [_value(compared), str(compared.n), _value(fresh), str(fresh.n)]
            cells += [_signed(change), from_to(measure, _interval(change))]
            means.append([name, _words(measure), *cells])
    tables = [Table("", ["row", "score", COMPARED, "n", FRESH, "n", CHANGE, "95 % interval"], means, "ll")]
    if confirmation.baseline is not None:
        rows = []
        for measure in confirmation.measures:
            for seeds in (COMPARED, FRESH):
                figure = found[BOTH, measure, seeds]
                p = "-" if figure.p is None else p_value(figure.p)
                rows.append(
                    [_words(measure), seeds, _count(figure), _signed(figure), from_to(measure, _interval(figure)), p]
                )
        tables.append(Table("", ["score", "seeds", "n", BOTH, "95 % interval", "p"], rows, "ll"))
    return tables


def _words(measure: str) -> str:
    """`gap of accuracy, test, points`; `loss` is in nats."""
    return f"{quantity_of(measure)}, {measure.removeprefix('gap_').partition('_')[0]}, {unit(measure)}"


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    text = amount(figure.measure, figure.value, sign="+" if is_gap(figure.measure) else "")
    interval = _interval(figure)
    return text if interval is None else f"{text} ± {amount(figure.measure, interval.half_width, sign='')}"


def _signed(figure: Figure) -> str:
    return "-" if figure.value is None else amount(figure.measure, figure.value)


def _interval(figure: Figure) -> Interval | None:
    return None if figure.low is None or figure.high is None else Interval(figure.low, figure.high)


def _count(figure: Figure) -> str:
    return counted(figure.n, "pair") if figure.paired else f"{figure.n} and {figure.n_other}"


def _below(confirmation: Confirmation) -> list[str]:
    lines = []
    if confirmation.comparison.configurations > 1:
        lines.append(
            "The winner came first partly by luck, so the compared figures flatter it, on validation and on test "
            "images alike. The fresh seeds had no part in the choice: quote their figures."
        )
    lines.append(
        "± and 95 % interval: t over seeds, fresh - compared by Welch's t; all runs are scored on the same images."
    )
    if confirmation.baseline is not None:
        lines.append(
            f"{BOTH}: below 0 is less than the baseline has. pairs: paired by seed. p: of each difference by itself, "
            "not corrected; under the compared seeds it is too small, since they chose the winner."
        )
    for name, (_, fresh) in confirmation.rows.items():
        if fresh.finished < len(confirmation.seeds):
            lines.append(
                f"{len(confirmation.seeds) - fresh.finished} of {len(confirmation.seeds)} fresh runs of the {name} did "
                "not finish; they are in no figure."
            )
    return [*lines, *confirmation.remarks]


def _json(confirmation: Confirmation) -> str:
    comparison = confirmation.comparison
    used = {run.parameters[SEED] for row, _ in confirmation.rows.values() for run in row.runs}
    document = {
        "title": comparison.title,
        "stage": comparison.stage,
        "held_out": comparison.held_out,
        "sorted_by": comparison.sorted_by,
        "ascending": comparison.ascending,
        "configurations": comparison.configurations,
        "level": LEVEL,
        "seeds": {COMPARED: sorted(map(int, used)), FRESH: list(confirmation.seeds)},
        "baseline_is_winner": confirmation.asked and confirmation.baseline is None,
        "remarks": list(confirmation.remarks),
        "rows": {
            name: {
                "settings": dict(compared.settings),
                COMPARED: [run.run_id for run in compared.runs],
                FRESH: [run.run_id for run in fresh.runs],
            }
            for name, (compared, fresh) in confirmation.rows.items()
        },
        "figures": [vars(figure) for figure in figures(confirmation)],
    }
    return json_text(document)


def _csv(confirmation: Confirmation) -> str:
    header = [field.name for field in fields(Figure)]
    records = (
        vars(figure) | {"paired": "" if figure.paired is None else str(figure.paired).lower()}
        for figure in figures(confirmation)
    )
    return csv_text(header, ([record[name] for name in header] for record in records))
