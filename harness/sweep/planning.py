"""What there is to do: the jobs of a sweep beside the runs that the store has of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from harness import paths
from harness.composing import SweepJobs
from harness.config import Config
from harness.continuing import start_identity
from harness.data import dataset_digest
from harness.fingerprint import combined, fingerprint
from harness.records import RunRecord, RunState
from harness.sweep.naming import run_name
from harness.tracking.reading import cached_reads, read_runs, read_sweeps
from harness.tracking.selection import FINGERPRINT_TAG, JOB_TAG, SWEEP_FINGERPRINT_TAG, THREADS_TAG
from harness.tracking.store import Store


@dataclass(frozen=True)
class PlannedJob:
    """A job of a sweep: its `number` there, which it keeps for good, and its run, if it was begun before."""

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    fingerprint: str
    run: RunRecord | None = None

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
    def _identity(self) -> tuple[str, str]:
        """Jobs that share it are the same work, under the same label in tables."""
        return self.fingerprint, self.config.model.name


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep in the order of Hydra's grid, and the `parent` under which they were begun before."""

    jobs: tuple[PlannedJob, ...]
    swept: tuple[str, ...]
    parent: RunRecord | None = None

    @property
    def fingerprint(self) -> str:
        """Of the sweep: the same jobs, in whatever order their words were given, have the same."""
        return combined(job._identity for job in self.jobs)

    @property
    def finished(self) -> int:
        return sum(job.finished for job in self.jobs)

    @property
    def threads(self) -> int | None:
        """The threads that most of the runs so far were trained with: part of their numbers."""
        counted = Counter(job.run.tags[THREADS_TAG] for job in self.jobs if job.run and THREADS_TAG in job.run.tags)
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
    """The parent runs of sweeps of the same jobs in the same experiment, oldest first. Raises `StoreError`."""
    wanted = plan.fingerprint
    sweeps = read_sweeps(store, plan.jobs[0].config.tracking.experiment)
    return [sweep for sweep in sweeps if sweep.tags.get(SWEEP_FINGERPRINT_TAG) == wanted]


def resumed(plan: SweepPlan, store: Store, parent: RunRecord, swept: tuple[str, ...]) -> SweepPlan:
    """`plan` with what the store has of it under `parent`; jobs have the numbers that they have there.

    `swept` are the settings by which its runs are named. Raises `StoreError`.
    """
    runs = one_a_job(read_runs(store, parent_id=parent.run_id))
    by_identity: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    by_words: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, run in runs.items():
        if FINGERPRINT_TAG in run.tags:
            by_identity[run.tags[FINGERPRINT_TAG], run.parameters.get("model.name", "")].append(number)
        else:  # it ended before it had read its data
            by_words[_words(run.tags.get("harness.overrides", "").split(" "))].append(number)
    numbers: dict[int, int] = {}
    for place, job in enumerate(plan.jobs):
        for found in (by_identity[job._identity], by_words[_words(" ".join(job.overrides).split(" "))]):
            if found and place not in numbers:
                numbers[place] = place if place in found else found[0]
                found.remove(numbers[place])
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
    return SweepPlan(tuple(named), swept, parent)


def one_a_job(runs: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """The run of each job by its number; of several the one that finished, or the last."""
    found: dict[int, RunRecord] = {}
    for run in runs:
        number = int(run.tags.get(JOB_TAG, -1))
        if number >= 0 and not (number in found and found[number].state is RunState.FINISHED):
            found[number] = run
    return found


def _words(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(words))


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
