"""What there is to do: the jobs of a sweep beside the runs that the store has of them."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from harness import paths
from harness.composing import SweepJobs, composer, explained, typed_config
from harness.config import Config, flatten
from harness.continuing import start_identity
from harness.data import dataset_digest
from harness.fingerprint import combined, fingerprint
from harness.records import RunRecord, RunState
from harness.sweep.naming import run_name
from harness.tracking.reading import cached_reads, read_runs, read_sweeps
from harness.tracking.selection import FINGERPRINT_TAG, JOB_TAG, SWEEP_FINGERPRINT_TAG, THREADS_TAG
from harness.tracking.store import Store

GRID_SWEEPER = "hydra_plugins.harness.GridSweeper"
"""The sweeper that can leave out jobs."""

Plain = tuple[str, Any] | None
"""A setting and its value."""


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


def job_configs(sweep: SweepJobs, config_name: str, config_dir: str | None) -> list[Config]:
    """The configuration of every job. Composing takes 0.1 s, so only the choices of groups are composed, once each;
    single settings are put on top as Hydra does. Raises `ConfigError`."""
    parser, schema, known = OverridesParser.create(), OmegaConf.structured(Config), set(flatten(Config()))
    plain: dict[str, Plain] = {}
    bases: dict[tuple[str, ...], Config | None] = {}
    configs = []
    with composer(config_dir) as extra:
        for job in sweep.jobs:
            with explained(job):
                for item in job:
                    if item not in plain:
                        plain[item] = _plain(item, parser, schema, known)
                rest = tuple(item for item in job if plain[item] is None)
                if rest not in bases:
                    composed = compose(config_name, overrides=[*rest, *extra])
                    bases[rest] = None if _interpolates(composed) else typed_config(composed, rest)
                base = bases[rest]
                if base is None:
                    configs.append(typed_config(compose(config_name, overrides=[*job, *extra]), job))
                    continue
                config = copy.deepcopy(base)
                for item in job:
                    if (found := plain[item]) is not None:
                        _set(config, *found)
                configs.append(config)
    return configs


def _plain(override: str, parser: OverridesParser, schema: DictConfig, known: Collection[str]) -> Plain:
    """A single setting and its typed value; None for a choice of a group and all that is not so simple."""
    parsed = parser.parse_override(override)
    key, value = parsed.get_key_element(), parsed.value()
    if key not in known or "${" in override or not isinstance(value, (bool, int, float, str, list, type(None))):
        return None
    OmegaConf.update(schema, key, value)
    typed = OmegaConf.select(schema, key)
    return key, OmegaConf.to_object(typed) if OmegaConf.is_config(typed) else typed


def _set(config: Config, key: str, value: Any) -> None:
    node: Any = config
    *above, name = key.split(".")
    for part in above:
        node = getattr(node, part)
    setattr(node, name, str(value).lower() if key == "resume" else copy.copy(value))


def _interpolates(composed: DictConfig) -> bool:
    """Whether a setting is computed from others: then it cannot be set on its own."""
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    return "${" in OmegaConf.to_yaml(own)


_due: Mapping[int, int] | None = None


@contextmanager
def only(due: Mapping[int, int] | None) -> Iterator[None]:
    """While the block lasts, `due_jobs` leaves all other jobs out; None: it leaves them as they are."""
    global _due
    _due = due
    try:
        yield
    finally:
        _due = None


def due_jobs(grid: Sequence[Sequence[str]]) -> list[list[str]]:
    """The jobs of Hydra's grid that are due, each with its number in the sweep as one more override."""
    if _due is None:
        return [list(job) for job in grid]
    return [[*job, f"tracking.job={_due[place]}"] for place, job in enumerate(grid) if place in _due]
