"""From chosen runs to a comparison, as `harness compare`, `harness report` and the Python interface ask for it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis.comparison import Comparison, compare
from harness.analysis.csv_runs import staged
from harness.analysis.differences import Findings, differences, find_row
from harness.analysis.effects import effects
from harness.analysis.external_runs import adapt
from harness.analysis.held_out import HeldOutPredictions
from harness.analysis.metric_names import Naming
from harness.analysis.ranking import WITHIN, Demand
from harness.analysis.rows import IntervalOver, Stage, named_replicates
from harness.api.chosen_runs import Chosen
from harness.errors import RequestError
from harness.records import RunRecord
from harness.tracking.models import find_trained
from harness.tracking.predictions_file import read_predictions, readable_predictions
from harness.tracking.store import Store

if TYPE_CHECKING:
    from harness.reports.content import Report
    from harness.reports.drawing import Drawing

Say = Callable[[str], None]
MOST_SETTINGS = 60
"""In a report. Each is an axis, a test and a word of every label."""


def compared(
    store: Store,
    chosen: Chosen,
    say: Say,
    some_predictions: bool = True,
    *,
    naming: Naming | None = None,
    stage: Stage = "final",
    interval: IntervalOver = "seeds",
    replicates: str | None = None,
    sort_by: str | None = None,
    ascending: bool = True,
    demand: Demand | None = None,
    only_front: bool = False,
) -> Comparison:
    """Compare the chosen runs.

    `some_predictions`: what the runs predicted for each held-out image is used where it can be read, and `say` names
    the other runs. The rest is as in `analysis.comparison.compare`. Raises `RequestError`, `StoreError`.
    """
    draws = None if replicates is None else named_replicates(replicates)
    runs, reading = adapt(chosen.runs, naming or Naming())
    runs = staged(runs, stage)
    predictions: HeldOutPredictions = {}
    if interval != "seeds":
        predictions = read_predictions(store, runs)
    elif some_predictions:
        predictions = readable_predictions(store, runs, say)
    comparison = compare(
        runs, sort_by=sort_by, ascending=ascending, swept=chosen.swept, title=chosen.title, demand=demand,
        only_front=only_front, stage=stage, reading=reading, replicates=draws, predictions=predictions,
        interval=interval,
    )  # fmt: skip
    if not comparison.scores and stage != "final" and comparison.finished:
        raise RequestError(
            f"--at {stage}: no run here has such scores. Only a run with a validation split (regime.validation) has "
            "an epoch of least validation loss, and runs of earlier versions of the harness have neither."
        )
    if only_front and comparison.scores and not comparison.rows:
        raise RequestError(
            "--pareto: no row is accurate enough to be on the front. Ask for less: --min-accuracy, --within."
        )
    return comparison


def tested(comparison: Comparison, baseline: str | None, effect: str | None) -> Comparison | Findings:
    """The effect of a setting, or the differences from the row `baseline`; without either the comparison itself.

    Raises `RequestError`.
    """
    if effect is not None:
        return effects(comparison, effect, baseline)
    if baseline is None:
        return comparison
    if len(comparison.rows) == 1:
        raise RequestError(f"--baseline {baseline}: there is no other row to compare with it. Compare more runs.")
    return differences(comparison, find_row(comparison, baseline))


def reported(
    store: Store, chosen: Chosen, parent: RunRecord | None, say: Say, naming: Naming | None = None,
    baseline: str | None = None, words: Sequence[str] = (),
) -> Report:  # fmt: skip
    """The report on the chosen runs, those of the sweep `parent` if that is given.

    `words`: what `harness report` is to be given to write it again. Raises `RequestError`, `StoreError`.
    """
    from harness.reports import saving  # Jinja2

    comparison = compared(store, chosen, say, naming=naming)
    if len(comparison.settings) > MOST_SETTINGS:
        raise RequestError(
            f"The runs differ in {len(comparison.settings):,} settings, and a report shows at most {MOST_SETTINGS}. "
            "Name those that matter: --group-by KEY,KEY. `harness compare --format csv` has them all."
        )
    if baseline is not None:
        baseline = baseline_row(store, comparison, baseline)
    return saving.make(store, comparison, parent, baseline, shlex.join(words))


def baseline_row(store: Store, comparison: Comparison, text: str) -> str:
    """A `--baseline` as `find_row` takes it: a run that only the store can tell (`best`) by its id.

    Raises `RequestError` where no row answers to it.
    """
    try:
        find_row(comparison, text)
    except RequestError as unknown:
        try:
            run = find_trained(store, text)
        except RequestError:
            raise unknown from None
        if not any(run.run_id == one.run_id for row in comparison.rows for one in row.runs):
            raise RequestError(
                f"--baseline {text}: the run {run.name} ({run.run_id}) of the experiment {run.experiment} is not among "
                "those compared here. Name a row, or compare that run too."
            ) from unknown
        return run.run_id
    return text


def comparison_figures(store: Store, comparison: Comparison) -> Mapping[str, Drawing]:
    """The figures of a comparison by name, not yet drawn. Raises `StoreError`."""
    from harness.reports.drawing import drawings  # matplotlib
    from harness.reports.gathering import read_curves

    return {drawing.name: drawing for drawing in drawings(comparison, read_curves(store, comparison))}


def demanded(minimum: str | float | None, within: str | float | None) -> Demand:
    """What accuracy a row must have to be ranked: `minimum` as 0.88 or "88%", `within` as points (2.0) or "all".

    Raises `RequestError`.
    """
    least = None if minimum is None else _fraction(str(minimum))
    if within is None:
        return Demand(least, None if least is not None else WITHIN)
    if within == "all":
        return Demand(least, None)
    points = _number(str(within).removesuffix("%"))
    if not 0 <= points <= 100:
        raise RequestError(f"--within {within}: give points of accuracy, from 0 to 100 (2.0), or all.")
    return Demand(least, points / 100)


def _fraction(text: str) -> float:
    share = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise RequestError(f"--min-accuracy {text}: give a fraction from 0 to 1 (0.88), or per cent (88%).")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
