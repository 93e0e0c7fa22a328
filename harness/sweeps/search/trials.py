"""The trials of a search as the store has them: a parameter of the parent run for each, and its child runs.

`trial.7` is written once, before the trial is trained: its settings, and which trials it was suggested from. Trial t
under its i-th seed is the job t * seeds + i of the sweep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.composing import as_written
from harness.config.search import SearchConfig, Space, Value, checked, words
from harness.errors import StoreError
from harness.records import RunRecord, RunState
from harness.sweeps.search.objective import Objective, Outcome, scores_of
from harness.sweeps.search.samplers import Told

PARAMETER = re.compile(r"trial\.(0|[1-9][0-9]{0,6})")


@dataclass
class Trial:
    """One trial: its settings, which trials it was suggested from, and its runs by the place of their seed.

    `failed`: a run of it has failed for good, so it gets no value.
    """

    number: int
    settings: dict[str, Value]
    basis: str = ""
    runs: dict[int, RunRecord] = field(default_factory=dict)
    failed: bool = False
    _whole: Outcome | None = None

    def outcome(self, seeds: int) -> Outcome:
        """Its scores under the seeds that have ended."""
        if self._whole is not None:
            return self._whole
        ended = [self.runs[place] for place in sorted(self.runs) if self.runs[place].state is RunState.FINISHED]
        scores = tuple(one for run in ended if (one := scores_of(run)) is not None)
        found = Outcome(self.number, scores, whole=len(scores) == seeds)
        self._whole = found if found.whole else None
        return found


class Trials:
    """The trials of one search. `fixed` are the overrides that all share, `first_seed` is the first of their seeds."""

    def __init__(self, settings: SearchConfig, space: Space, fixed: Iterable[str], first_seed: int) -> None:
        self.settings, self.space = settings, space
        self._fixed, self._first_seed = tuple(fixed), first_seed
        self.by_number: dict[int, Trial] = {}

    @property
    def seeds(self) -> int:
        """How many seeds a trial has."""
        return self.settings.seeds

    @property
    def next_number(self) -> int:
        """The number of the next trial."""
        return max(self.by_number, default=-1) + 1

    def read(self, parent: RunRecord) -> None:
        """Add the trials that the parent run has. Raises `StoreError` if one is malformed."""
        for key, text in parent.parameters.items():
            if (found := PARAMETER.fullmatch(key)) and int(found[1]) not in self.by_number:
                self.add(int(found[1]), text)

    def add(self, number: int, text: str) -> None:
        """Add a trial as its parameter records it. Raises `StoreError`."""
        try:
            recorded = json.loads(text)
            settings, basis = recorded["settings"], str(recorded["from"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StoreError(f"trial.{number} of this search is malformed: {error!r:.80}") from error
        self.by_number[number] = Trial(number, checked(self.space, settings), basis)

    def set_runs(self, runs: Mapping[int, RunRecord]) -> None:
        """Take over the runs of jobs, by the job's number."""
        for job, run in runs.items():
            number, place = divmod(job, self.seeds)
            if number in self.by_number:
                self.by_number[number].runs[place] = run

    def words_of(self, job: int) -> list[str]:
        """The overrides of a job."""
        number, place = divmod(job, self.seeds)
        own = words(self.by_number[number].settings)
        return as_written([*self._fixed, *own, f"seed={self._first_seed + place}"])

    def objective(self) -> Objective:
        """The objective over what has ended so far; failed trials do not count."""
        outcomes = [trial.outcome(self.seeds) for trial in self.by_number.values() if not trial.failed]
        return Objective(self.settings, self.seeds, outcomes)

    def told(self, trial: Trial, objective: Objective, is_out: bool) -> Told:
        """What a sampler is told of a trial; `is_out`: it cannot win, and its seeds so far are its value."""
        outcome = trial.outcome(self.seeds)
        if trial.failed:
            return Told(trial.number, trial.settings, failed=True)
        if not (outcome.whole or (is_out and outcome.seeds)):
            return Told(trial.number, trial.settings)
        mean = outcome.mean
        return Told(trial.number, trial.settings, objective.values(mean), objective.violation(mean))


def as_text(settings: Mapping[str, Value], ended: Iterable[int]) -> str:
    """The parameter of a new trial that was suggested from the trials `ended`."""
    return json.dumps({"settings": dict(settings), "from": ranges(ended)}, separators=(",", ":"), ensure_ascii=False)


def ranges(numbers: Iterable[int]) -> str:
    """`0-3,5` for 0, 1, 2, 3, 5."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)
