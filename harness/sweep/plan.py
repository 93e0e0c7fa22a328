"""What there is to do: the jobs of a sweep beside the runs that the store has of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from harness import paths
from harness.analysis.settings import setting_of, swept_settings
from harness.composing import SweepJobs
from harness.config.fingerprint import combined, fingerprint
from harness.config.schema import Config, flatten
from harness.data import dataset_digest
from harness.records import RunRecord, RunState
from harness.run.warm_start import start_identity
from harness.sweep.run_names import run_name
from harness.tracking.provenance import libraries, other_code, other_libraries, present_code
from harness.tracking.reading import cached_reads, read_runs, read_sweeps, runs_of_fingerprints, sweep_runs
from harness.tracking.reuse import reused_runs
from harness.tracking.selection import (
    FINGERPRINT_TAG,
    JOB_TAG,
    OVERRIDES_TAG,
    SWEEP_FINGERPRINT_TAG,
    THREADS_TAG,
    recorded_number,
)
from harness.tracking.store import Store

Identity = tuple[str, ...]
Kind = tuple[Identity, Identity]
"""What tells the jobs of a sweep apart: what they are, and their values of what is swept."""


@dataclass(frozen=True)
class PlannedJob:
    """A job of a sweep: its `number` there, which it keeps for good, and its run, if it was begun before.

    `reused`: that run has finished and was not made under this sweep. `outdated` is a run of the same work that other
    versions of TensorFlow or Keras have trained, where there is no other.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    fingerprint: str
    run: RunRecord | None = None
    reused: bool = False
    outdated: RunRecord | None = None

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.state is RunState.FINISHED

    @property
    def failed(self) -> bool:
        return self.run is not None and self.run.state is RunState.FAILED

    @property
    def epochs_kept(self) -> int:
        """The epochs that the run need not train again, as far as can be told without opening its checkpoint."""
        run = self.run
        return (
            run.epochs if run is not None and not self.finished and paths.checkpoint_file(run.run_id).is_file() else 0
        )

    @property
    def _identity(self) -> Identity:
        """Jobs that share it are the same work, under the same label in tables."""
        return self.fingerprint, self.config.model.name


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep in the order of Hydra's grid, and the `parent` under which they were begun before.

    `confirms` are the ids of runs whose rows are trained again under fresh seeds; empty for any other sweep."""

    jobs: tuple[PlannedJob, ...]
    swept: tuple[str, ...]
    parent: RunRecord | None = None
    confirms: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the sweep: the same jobs, in whatever order their words were given, have the same."""
        return combined([*(job._identity for job in self.jobs), *([(self.confirms,)] if self.confirms else [])])

    @property
    def runs(self) -> list[RunRecord]:
        """Those that there are of the jobs."""
        return [job.run for job in self.jobs if job.run is not None]

    @property
    def finished(self) -> int:
        """How many jobs finished in this sweep itself."""
        return sum(job.finished and not job.reused for job in self.jobs)

    @property
    def reused(self) -> dict[int, str]:
        """The ids of the runs of earlier commands that this sweep counts as its own, by the numbers of their jobs."""
        return {job.number: job.run.run_id for job in self.jobs if job.run is not None and job.reused}

    @property
    def threads(self) -> int | None:
        """The threads that most of its own runs so far were trained with: part of their numbers."""
        own = [job.run for job in self.jobs if job.run is not None and not job.reused]
        counted = Counter(run.tags[THREADS_TAG] for run in own if THREADS_TAG in run.tags)
        return int(counted.most_common(1)[0][0]) if counted else None

    def due(self, resume: str) -> dict[int, PlannedJob]:
        """The jobs to carry out, by their place in the grid."""
        wanted: Callable[[PlannedJob], bool] = {
            "only_failed": lambda job: job.failed, "true": lambda job: not job.finished
        }.get(resume, lambda job: True)  # fmt: skip
        return {place: job for place, job in enumerate(self.jobs) if wanted(job)}

    def numbered(self, jobs: SweepJobs) -> SweepJobs:
        """`jobs` in the order of their numbers."""
        ordered = sorted(self.jobs, key=lambda job: job.number)
        return replace(jobs, jobs=tuple(job.overrides for job in ordered), swept=self.swept)

    def remarks(self) -> list[str]:
        """What to say of the runs that there are: how many are reused, and where versions or code were others."""
        said = (
            [f"{reused_jobs(len(self.reused), len(self.jobs))}: earlier commands trained them."] if self.reused else []
        )
        if outdated := [job.outdated for job in self.jobs if job.outdated is not None]:
            versions = Counter(other_libraries(run.tags) for run in outdated)
            parents = Counter(run.parent_id for run in outdated if run.parent_id is not None)
            shown = f"harness compare --sweep {parents.most_common(1)[0][0][:8]}" if parents else "harness compare"
            said.append(
                f"{len(outdated)} of {len(self.jobs)} jobs were begun with {' or '.join(versions)}. Here is "
                f"{libraries()}, which can bring other numbers: they are trained anew. The earlier runs stay; "
                f"`{shown}` shows them."
            )
        code = Counter(words for run in self.runs if (words := other_code(run.tags)))
        if code:
            said.append(
                f"The harness's own code has changed, or may have, since {sum(code.values())} of these runs were "
                f"trained: {' or '.join(code)} then, {present_code()} now."
                + ("" if self.confirms else " resume=false trains them anew.")
            )
        return said


def reused_jobs(reused: int, jobs: int) -> str:
    """`2 of 4 jobs reused`."""
    return f"{reused} of {jobs} jobs reused"


def plan_sweep(jobs: SweepJobs, configs: Sequence[Config], store: Store) -> SweepPlan:
    """Every job of the grid as new work; `configs` has one for each. Raises as `start_identity` and `load_dataset`."""
    digests: dict[str, str] = {}
    planned = []
    with cached_reads(store):  # jobs that continue runs look for them among the same ones
        for number, (overrides, config) in enumerate(zip(jobs.jobs, configs, strict=True)):
            wanted = repr(config.dataset)
            if wanted not in digests:
                digests[wanted] = dataset_digest(config.dataset)
            found = fingerprint(config, digests[wanted], start_identity(store, config))
            name = run_name(config, list(overrides), jobs.swept)
            planned.append(PlannedJob(number, name, overrides, config, found))
    return SweepPlan(tuple(planned), jobs.swept)


def earlier_sweeps(plan: SweepPlan, store: Store) -> list[RunRecord]:
    """The parent runs of sweeps of the same jobs in the same experiment that can be resumed, oldest first: those of
    which nothing was trained with other versions of TensorFlow or Keras. Raises `StoreError`."""
    wanted = plan.fingerprint
    sweeps = read_sweeps(store, plan.jobs[0].config.tracking.experiment)
    same = (sweep for sweep in sweeps if sweep.tags.get(SWEEP_FINGERPRINT_TAG) == wanted)
    return [
        sweep for sweep in same
        if not any(other_libraries(run.tags) for run in (sweep, *read_runs(store, parent_id=sweep.run_id)))
    ]  # fmt: skip


def resumed(plan: SweepPlan, store: Store, parent: RunRecord, swept: tuple[str, ...]) -> SweepPlan:
    """`plan` with what the store has of it under `parent`; jobs have the numbers that they have there.

    `swept` are the settings by which its runs are named. Raises `StoreError`.
    """
    runs, known = one_a_job(read_runs(store, parent_id=parent.run_id)), one_a_job(sweep_runs(store, parent.run_id))
    shown, numbers = swept_settings(swept, flatten(Config())), dict[int, int]()
    # First by all that tells jobs apart: a setting may have no effect, and jobs that differ in it are equal work.
    for key_of_run, key_of_job in (
        (lambda run: _kind_of_run(run, shown), lambda job: _kind_of_job(job, shown)),
        (_identity_of, attrgetter("_identity")),
        (_words_of, lambda job: _words(" ".join(job.overrides))),
    ):
        waiting: defaultdict[Any, list[int]] = defaultdict(list)
        for number, run in known.items():
            waiting[key_of_run(run)].append(number)
        for place, job in enumerate(plan.jobs):
            if place not in numbers and (found := waiting[key_of_job(job)]):
                numbers[place] = place if place in found else found[0]
                found.remove(numbers[place])
                del known[numbers[place]]
    free = iter(sorted(set(range(len(plan.jobs))) - set(numbers.values())))
    kept = set(range(len(plan.jobs))) - set(numbers.values()) - set(numbers)
    rest = iter([number for number in free if number not in kept])
    for place in range(len(plan.jobs)):
        if place not in numbers:
            numbers[place] = place if place in kept else next(rest)
    named = [
        replace(job, number=numbers[place], run=runs.get(numbers[place]),
                name=run_name(job.config, list(job.overrides), swept))
        for place, job in enumerate(plan.jobs)
    ]  # fmt: skip
    return reusing(replace(plan, jobs=tuple(named), swept=swept, parent=parent), store)


def reusing(plan: SweepPlan, store: Store) -> SweepPlan:
    """`plan` with a finished run of the same experiment for each job that has none, where there is one: of the same
    fingerprint and label, and of the same values of what is swept, since it is by these that the runs of the sweep are
    told apart. Of several the one that the sweep has reused before, else the newest. Raises `StoreError`.
    """
    missing = {job.fingerprint for job in plan.jobs if not job.finished}
    if not missing:
        return plan
    known = reused_runs(plan.parent.tags, plan.parent.run_id) if plan.parent is not None else {}
    shown = swept_settings(plan.swept, flatten(Config()))
    taken = {run.run_id for run in plan.runs}
    current: defaultdict[Kind, list[RunRecord]] = defaultdict(list)
    outdated: dict[Kind, RunRecord] = {}
    found = runs_of_fingerprints(store, plan.jobs[0].config.tracking.experiment, missing)
    for run in sorted(found, key=lambda run: run.run_id in known):
        kind = _kind_of_run(run, shown)
        if other_libraries(run.tags):
            outdated[kind] = run
        elif run.state is RunState.FINISHED and run.run_id not in taken:
            current[kind].append(run)
    jobs = []
    for job in plan.jobs:
        if not job.finished and (outdated or current):
            kind = _kind_of_job(job, shown)
            if current[kind]:
                job = replace(job, run=current[kind].pop(), reused=True)
            else:
                job = replace(job, outdated=outdated.get(kind))
        jobs.append(job)
    return replace(plan, jobs=tuple(jobs))


def _identity_of(run: RunRecord) -> Identity:
    return run.tags.get(FINGERPRINT_TAG, ""), run.parameters.get("model.name", "")


def _kind_of_run(run: RunRecord, shown: Sequence[str]) -> Kind:
    return _identity_of(run), tuple(setting_of(run.parameters, key) for key in shown)


def _kind_of_job(job: PlannedJob, shown: Sequence[str]) -> Kind:
    return job._identity, tuple(str(attrgetter(key)(job.config)) for key in shown)


def _words_of(run: RunRecord) -> Identity:
    """Of a run that ended before it had read its data."""
    return () if FINGERPRINT_TAG in run.tags else _words(run.tags.get(OVERRIDES_TAG, ""))


def one_a_job(runs: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """The run of each job by its number; of several the one that finished, or the last."""
    found: dict[int, RunRecord] = {}
    for run in runs:
        number = recorded_number(run, JOB_TAG, -1)
        if number >= 0 and not (number in found and found[number].state is RunState.FINISHED):
            found[number] = run
    return found


def _words(overrides: str) -> Identity:
    return tuple(sorted(overrides.split(" ")))


_handed_over: Sequence[Sequence[str]] | None = None


@contextmanager
def handed_over(jobs: Sequence[Sequence[str]] | None) -> Iterator[None]:
    """While the block lasts, our sweeper has these `jobs` carried out, each a list of overrides."""
    global _handed_over
    _handed_over = jobs
    try:
        yield
    finally:
        _handed_over = None


def jobs_handed_over() -> Sequence[Sequence[str]] | None:
    """The jobs that our sweeper has carried out; None: it was called without a plan, and makes the grid itself."""
    return _handed_over
