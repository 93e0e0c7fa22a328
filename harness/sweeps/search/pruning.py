"""Hopeless trials pause early: the first run of a trial stops after some epochs, and continues only if it is promising.

A paused run is KILLED, keeps its curve and its checkpoint, and counts in no mean. If it continues, it does so from the
checkpoint, bit for bit as if it had not paused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from harness.config.search import SearchConfig
from harness.errors import PAUSED
from harness.records import RunRecord, RunState
from harness.sweeps.search.objective import Objective, Scores, TrialScores
from harness.tracking.reading import read_series
from harness.tracking.selection import ERROR_TYPE_TAG
from harness.tracking.store import Store

FACTOR = 3
"""Successive halving: the best third continues, to three times as many epochs."""
RUNGS = 2
LEAST_TRIALS = 5
"""The median of fewer trials stops none."""
SERIES = ("train/accuracy", "val/accuracy", "val/loss")


def rungs(settings: SearchConfig, epochs: int) -> tuple[int, ...]:
    """The epochs after which a trial of so many epochs pauses: 3 and 9 of 27. Empty without a pruner."""
    if settings.pruner == "none":
        return ()
    found = {round(epochs / FACTOR**power) for power in range(1, RUNGS + 1)}
    return tuple(sorted(epoch for epoch in found if 1 <= epoch < epochs))


def paused_after(run: RunRecord | None) -> int | None:
    """The epoch after which a run has paused; None if it has not."""
    is_paused = run is not None and run.state is RunState.KILLED and run.tags.get(ERROR_TYPE_TAG) == PAUSED
    return run.epochs if is_paused and run is not None else None


class Pruner:
    """Decides which paused trials continue. `rungs` are the epochs after which trials pause."""

    def __init__(self, settings: SearchConfig, rungs: Sequence[int], store: Store) -> None:
        self._settings, self.rungs, self._store = settings, rungs, store
        self._scores: dict[tuple[str, int], Scores] = {}

    def next_pause(self, epochs: int) -> int | None:
        """The epoch at which a trial that has trained so many epochs pauses next; None: at none."""
        return next((rung for rung in self.rungs if rung > epochs), None)

    def scores(self, runs: Sequence[RunRecord], rung: int) -> dict[str, Scores]:
        """What each run had come to after `rung` epochs, by its id; those that have not trained so many are left out.
        Raises `StoreError`."""
        missing = [run.run_id for run in runs if run.epochs >= rung and (run.run_id, rung) not in self._scores]
        if missing:
            for run_id, series in read_series(self._store, missing, SERIES).items():
                train, val, loss = (series.get(name, {}).get(rung) for name in SERIES)
                if train is not None and val is not None and loss is not None:
                    self._scores[run_id, rung] = {"gap": train - val, "accuracy": val, "loss": loss}
        return {run.run_id: self._scores[run.run_id, rung] for run in runs if (run.run_id, rung) in self._scores}

    def promising(self, runs: Sequence[RunRecord], rung: int) -> list[str]:
        """The ids of the runs that may train for more than `rung` epochs, the best first. Raises `StoreError`."""
        ranked = self.ranked(self.scores(runs, rung))
        if self._settings.pruner == "halving":
            return ranked[: len(ranked) // FACTOR]
        return ranked if len(ranked) < LEAST_TRIALS else ranked[: int(median(range(1, len(ranked) + 1)) + 0.5)]

    def rung_of(self, run: RunRecord) -> int:
        """The rung at which a run has paused."""
        return max((rung for rung in self.rungs if rung <= run.epochs), default=0)

    def worth(self, runs: Sequence[RunRecord], run: RunRecord) -> tuple[tuple[float, ...], float] | None:
        """The values of a paused run at its rung, and how much it violates the constraint among the runs there."""
        scores = self.scores(runs, self.rung_of(run))
        if run.run_id not in scores:
            return None
        objective, mean = self._objective(scores), scores[run.run_id]
        return objective.values(mean), objective.violation(mean)

    def _objective(self, scores: Mapping[str, Scores]) -> Objective:
        outcomes = [TrialScores(place, (of,), whole=True) for place, of in enumerate(scores.values())]
        return Objective(self._settings, 1, outcomes)

    def ranked(self, scores: Mapping[str, Scores]) -> list[str]:
        """The ids of runs, the best by the objective first."""
        objective = self._objective(scores)

        def key(run_id: str) -> tuple[float, tuple[float, ...]]:
            return max(objective.violation(scores[run_id]), 0.0), objective.values(scores[run_id])

        return sorted(scores, key=key)
