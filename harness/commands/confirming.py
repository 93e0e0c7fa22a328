"""`harness compare --confirm`: trains the first row, and a baseline, again under fresh seeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.analysis.comparison import Comparison
from harness.analysis.confirmation import Confirmation
from harness.analysis.differences import find_row
from harness.analysis.external_runs import adapt
from harness.analysis.metric_names import Naming
from harness.analysis.rows import Row, make_row, units_of
from harness.errors import RequestError
from harness.images import images_of
from harness.records import RunRecord, RunState
from harness.tracking.provenance import libraries, other_libraries
from harness.tracking.store import Store


def check_request(count: int, effect: str | None, pareto: bool, output: Path | None) -> None:
    """Raise `RequestError` before anything is read: what is found out late would cost a training."""
    if count < 2:
        raise RequestError(f"--confirm {count}: an interval needs at least two runs. Use five.")
    if effect is not None or pareto:
        raise RequestError(
            f"--confirm trains the row that ranks first, and {'--effect' if effect is not None else '--pareto'} ranks "
            "none. Leave one of them out."
        )
    if output is not None:
        folder = next(parent for parent in output.absolute().parents if parent.exists())
        if not os.access(folder, os.W_OK) or not folder.is_dir():
            raise RequestError(f"--output {output}: nothing can be written to {folder}. Name another file.")


def confirmed(
    store: Store,
    comparison: Comparison,
    count: int,
    baseline: str | None,
    naming: Naming,
    show: Callable[[Confirmation], None],
) -> None:
    """Train the winner and the baseline again, and `show` what came of it, also where some runs failed.

    Raises `RequestError` where there is nothing to confirm; else as `sweep.confirming.train_again`.
    """
    from harness.sweeps.confirm import (
        fresh_seeds,
        train_again,
    )  # imports Hydra, which a plain comparison does not need

    if not comparison.rows:
        raise RequestError("--confirm: there is no run here, so there is nothing to confirm.")
    winner = comparison.rows[0]
    other = winner if baseline is None else find_row(comparison, baseline)
    if other.scored_on != winner.scored_on:
        raise RequestError(
            f"--baseline {other.label}: its {comparison.images_in_words} are not those of the winner, "
            f"{winner.label}. Name another row, or compare only runs with the same images."
        )
    rows = [winner] if other is winner else [winner, other]
    seeds = fresh_seeds(comparison, count)

    def report(found: list[list[RunRecord]]) -> None:
        adapted = [adapt(runs, naming)[0] for runs in found]
        every = [run for runs in adapted for run in runs]
        images = {run.run_id: seen for run, seen in zip(every, images_of(every), strict=True)}
        units, over_draws = units_of(adapted, comparison.replicates, images)
        fresh = [
            make_row(row.settings, runs, row.stage, units, over_draws) for row, runs in zip(rows, adapted, strict=True)
        ]
        pairs = tuple(zip(rows, fresh, strict=True))
        show(Confirmation(comparison, seeds, pairs, baseline is not None, _other_versions(rows)))

    train_again(store, rows, seeds, comparison.replicates, report)


def _other_versions(rows: Sequence[Row]) -> tuple[str, ...]:
    """A line where runs that are confirmed were trained by other versions than those that train now."""
    then = {other_libraries(run.tags) for row in rows for run in row.runs if run.state is RunState.FINISHED} - {""}
    if not then:
        return ()
    return (
        f"Compared runs were trained with {' or '.join(sorted(then))}, the fresh ones with {libraries()}: what the "
        "fresh seeds change may be the versions' doing.",
    )
