"""Plans a sweep: matches its jobs with earlier runs in the store, which are resumed or reused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from harness import paths
from harness.analysis.settings import ABSENT, setting_of, swept_settings
from harness.composing import SweepJobs
from harness.config.fingerprint import combined, fingerprint
from harness.config.schema import Config, flatten
from harness.data import dataset_digest
from harness.records import RunRecord, RunState
from harness.run.warm_start import start_identity
from harness.sweeps.run_names import run_name
from harness.tracking.provenance import libraries, other_code, other_libraries, present_code
from harness.tracking.reading import cached_reads, read_runs, read_sweeps, runs_of_fingerprints, sweep_runs
from harness.tracking.reused_tags import reused_runs
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
"""The key that tells the jobs of a sweep apart: fingerprint and label, and the values of the swept settings."""


@dataclass(frozen=True)
class ListedJob:
    """A job in the list that its sweep has recorded; its place there is its number. `data` is the dataset's digest."""

    overrides: tuple[str, ...]
    fingerprint: str
    label: str
    data: str


@dataclass(frozen=True)
class PlannedJob:
    """A job of a sweep: its `number`, which never changes, and its run, if it was started before.

    `reused`: the run has finished and belongs to another command. `outdated` is a run of the same job that was trained
    with other versions of TensorFlow or Keras, if there is no other run. `data` is the dataset's digest.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    fingerprint: str
    run: RunRecord | None = None
    reused: bool = False
    outdated: RunRecord | None = None
    data: str = ""

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.state is RunState.FINISHED

    @property
    def failed(self) -> bool:
        return self.run is not None and self.run.state is RunState.FAILED

    @property
    def epochs_kept(self) -> int:
        """How many epochs need no training again (an estimate, without opening the checkpoint)."""
        if self.run is None or self.finished or not paths.checkpoint_file(self.run.run_id).is_file():
            return 0
        return self.run.epochs

    @property
    def identity(self) -> Identity:
        """Jobs with the same identity train the same and have the same label in tables."""
        return self.fingerprint, self.config.model.name


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep in the order of Hydra's grid, and the `parent` run of an earlier command, if any.

    `confirms` are the ids of runs whose rows are trained again under fresh seeds; empty for any other sweep."""

    jobs: tuple[PlannedJob, ...]
    swept: tuple[str, ...]
    parent: RunRecord | None = None
    confirms: str = ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the sweep: the same for the same jobs, in any order."""
        return combined([*(job.identity for job in self.jobs), *([(self.confirms,)] if self.confirms else [])])

    @property
    def runs(self) -> list[RunRecord]:
        """The existing runs of the jobs."""
        return [job.run for job in self.jobs if job.run is not None]

    @property
    def finished(self) -> int:
        """How many jobs were finished by this sweep itself (reused runs do not count)."""
        return sum(job.finished and not job.reused for job in self.jobs)

    @property
    def reused(self) -> dict[int, str]:
        """The ids of the reused runs by job number."""
        return {job.number: job.run.run_id for job in self.jobs if job.run is not None and job.reused}

    @property
    def threads(self) -> int | None:
        """The number of threads of most of its own runs so far (it affects the last digits of results)."""
        own = [job.run for job in self.jobs if job.run is not None and not job.reused]
        counted = Counter(run.tags[THREADS_TAG] for run in own if THREADS_TAG in run.tags)
        return int(counted.most_common(1)[0][0]) if counted else None

    def due(self, resume: str) -> dict[int, PlannedJob]:
        """The jobs to train, by their place in the grid."""
        wanted: Callable[[PlannedJob], bool] = {
            "only_failed": lambda job: job.failed, "true": lambda job: not job.finished
        }.get(resume, lambda job: True)  # fmt: skip
        return {place: job for place, job in enumerate(self.jobs) if wanted(job)}

    def numbered(self, jobs: SweepJobs) -> SweepJobs:
        """`jobs` in the order of their numbers."""
        ordered = sorted(self.jobs, key=lambda job: job.number)
        return replace(jobs, jobs=tuple(job.overrides for job in ordered), swept=self.swept)

    def remarks(self) -> list[str]:
        """Remarks about existing runs: how many are reused, and which had other library versions or other code."""
        said = (
            [f"{reused_jobs(len(self.reused), len(self.jobs))}: earlier commands trained them."] if self.reused else []
        )
        if outdated := [job.outdated for job in self.jobs if job.outdated is not None]:
            versions = Counter(other_libraries(run.tags) for run in outdated)
            parents = Counter(run.parent_id for run in outdated if run.parent_id is not None)
            shown = f"harness compare --sweep {parents.most_common(1)[0][0][:8]}" if parents else "harness compare"
            said.append(
                f"{len(outdated)} of {len(self.jobs)} jobs were begun with {' or '.join(versions)}. Now it is "
                f"{libraries()}, which can give other numbers: they are trained again. The earlier runs stay; "
                f"`{shown}` shows them."
            )
        code = Counter(words for run in self.runs if (words := other_code(run.tags)))
        if code:
            said.append(
                f"The harness's own code has changed, or may have, since {sum(code.values())} of these runs were "
                f"trained: {' or '.join(code)} then, {present_code()} now."
                + ("" if self.confirms else " resume=false trains them again.")
            )
        return said


def reused_jobs(reused: int, jobs: int) -> str:
    """`2 of 4 jobs reused`."""
    return f"{reused} of {jobs} jobs reused"


def plan_sweep(jobs: SweepJobs, configs: Sequence[Config], store: Store) -> SweepPlan:
    """A plan in which every job is new; `configs` has one per job. Raises as `start_identity` and `load_dataset`."""
    digests: dict[str, str] = {}
    planned = []
    with cached_reads(store):  # jobs with a warm start read the same runs
        for number, (overrides, config) in enumerate(zip(jobs.jobs, configs, strict=True)):
            wanted = repr(config.dataset)
            if wanted not in digests:
                digests[wanted] = dataset_digest(config.dataset)
            found = fingerprint(config, digests[wanted], start_identity(store, config))
            name = run_name(config, list(overrides), jobs.swept)
            planned.append(PlannedJob(number, name, overrides, config, found, data=digests[wanted]))
    return SweepPlan(tuple(planned), jobs.swept)


def earlier_sweeps(plan: SweepPlan, store: Store) -> list[RunRecord]:
    """The parent runs of resumable sweeps with the same jobs in the same experiment, oldest first. Raises
    `StoreError`."""
    return resumable_sweeps(store, same_sweeps(plan, store))


def same_sweeps(plan: SweepPlan, store: Store) -> list[RunRecord]:
    """The parent runs of sweeps with the same jobs in the same experiment, oldest first. Raises `StoreError`."""
    wanted, sweeps = plan.fingerprint, read_sweeps(store, plan.jobs[0].config.tracking.experiment)
    return [sweep for sweep in sweeps if sweep.tags.get(SWEEP_FINGERPRINT_TAG) == wanted]


def resumable_sweeps(store: Store, sweeps: Sequence[RunRecord]) -> list[RunRecord]:
    """Those of the sweeps that have no run of other versions of TensorFlow or Keras. Raises `StoreError`."""
    return [
        sweep for sweep in sweeps
        if not any(other_libraries(run.tags) for run in (sweep, *read_runs(store, parent_id=sweep.run_id)))
    ]  # fmt: skip


def resumed(
    plan: SweepPlan, store: Store, parent: RunRecord, swept: tuple[str, ...], listed: Sequence[ListedJob] = ()
) -> SweepPlan:
    """`plan` with the runs that the store has under `parent`, and the job numbers that the jobs have there.

    `swept` are the settings by which the runs are named; `listed` are the jobs that the sweep has recorded, if it did:
    several machines must give a job without a run the same number. Raises `StoreError`.
    """
    runs, known = one_a_job(read_runs(store, parent_id=parent.run_id)), one_a_job(sweep_runs(store, parent.run_id))
    shown, numbers = swept_settings(swept, flatten(Config())), dict[int, int]()

    def words_of(run: RunRecord) -> Identity:  # of one that ended before it had a fingerprint
        return () if FINGERPRINT_TAG in run.tags else _words(run.tags.get(OVERRIDES_TAG, ""))

    # First match by all swept values: jobs can differ in a setting without effect, and then have equal fingerprints.
    for key_of_run, key_of_job in (
        (lambda run: _kind_of_run(run, shown), lambda job: _kind_of_job(job, shown)),
        (_identity_of, attrgetter("identity")),
        (words_of, lambda job: _words(" ".join(job.overrides))),
    ):
        waiting: defaultdict[Any, list[int]] = defaultdict(list)
        for number, run in known.items():
            waiting[key_of_run(run)].append(number)
        for place, job in enumerate(plan.jobs):
            if place not in numbers and (found := waiting[key_of_job(job)]):
                numbers[place] = place if place in found else found[0]
                found.remove(numbers[place])
                del known[numbers[place]]
    for key_of_listed, key_of_job in (
        (lambda one: _words(" ".join(one.overrides)), lambda job: _words(" ".join(job.overrides))),
        (lambda one: (one.fingerprint, one.label), attrgetter("identity")),
    ):
        open_numbers: defaultdict[Any, list[int]] = defaultdict(list)
        for number in sorted(set(range(len(listed))) - set(numbers.values())):
            open_numbers[key_of_listed(listed[number])].append(number)
        for place, job in enumerate(plan.jobs):
            if place not in numbers and (found := open_numbers[key_of_job(job)]):
                numbers[place] = found.pop(0)
    free = set(range(len(plan.jobs))) - set(numbers.values())
    kept = free - numbers.keys()
    rest = iter(sorted(free - kept))
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
    """`plan` with a reused run for each job without a finished run, if the experiment has a suitable one.

    A run is suitable if it has finished and has the job's fingerprint, label and swept values (these tell the runs of
    the sweep apart). Of several, the one that this sweep reused before is taken, else the newest. Raises `StoreError`.
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
    settings = flatten(job.config)
    return job.identity, tuple(str(settings.get(key, ABSENT)) for key in shown)


def one_a_job(runs: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """The run of each job by job number; if a job has several, the finished one, else the last."""
    found: dict[int, RunRecord] = {}
    for run in runs:
        number = recorded_number(run, JOB_TAG, -1)
        if number >= 0 and not (number in found and found[number].state is RunState.FINISHED):
            found[number] = run
    return found


def _words(overrides: str) -> Identity:
    return tuple(sorted(overrides.split(" ")))


_chosen_jobs: Sequence[Sequence[str]] | None = None


@contextmanager
def choosing_jobs(jobs: Sequence[Sequence[str]] | None) -> Iterator[None]:
    """During the block, the harness's Hydra sweeper runs these `jobs`, each a list of overrides."""
    global _chosen_jobs
    _chosen_jobs = jobs
    try:
        yield
    finally:
        _chosen_jobs = None


def chosen_jobs() -> Sequence[Sequence[str]] | None:
    """The jobs that the harness's Hydra sweeper is to run; None: there is no plan, and it makes the grid itself."""
    return _chosen_jobs
