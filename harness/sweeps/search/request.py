"""A command line becomes a search: its space, its settings, and examples of its trials that are checked before it
starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.composing import SpaceOfWords, SweepJobs, as_written, check_sweep, search_space
from harness.config.fingerprint import combined
from harness.config.schema import Config
from harness.config.search import Dimension, SearchConfig, Space, combinations, words
from harness.config.validation import check_images
from harness.data import image_shape
from harness.errors import ConfigError, StoreError
from harness.records import RunRecord
from harness.sweeps.launcher import own_launcher
from harness.sweeps.plan import SweepPlan, plan_sweep
from harness.sweeps.run_names import sweep_name
from harness.sweeps.search.pruning import rungs
from harness.sweeps.search.samplers import MOST_LISTED
from harness.sweeps.search.trials import Trials
from harness.tracking.models import run_artifact
from harness.tracking.selection import JOBS_TAG, KIND_TAG, SEARCH_TAG, SWEEP, SWEEP_FINGERPRINT_TAG, SWEPT_TAG, bounded
from harness.tracking.store import Store
from harness.tracking.writing import RunIdentity
from harness.untrusted import read_text

SEARCH_FILE = "search.json"
"""An artifact of the parent run: the overrides of the search, for machines that join it."""
MOST_BYTES = 1_000_000
SAME_STUDY = ("sampler", "seeds", "objective", "within", "min_accuracy", "pruner", "study_seed")
"""Settings of a search that decide its trials. With others, it is another search; `trials`, `time` and so on may
change."""


@dataclass(frozen=True)
class SearchPlan(SweepPlan):
    """The examples of a search in the form of a sweep's plan, with the search's own fingerprint."""

    study: str = ""

    @property
    def fingerprint(self) -> str:
        return combined([("search", self.study), *(job.identity for job in self.jobs)])


@dataclass(frozen=True)
class SearchRequest:
    """A requested search. `examples` are configurations that show every value of a choice and both ends of every
    interval. `check` raises an error before anything starts; `start` lets Hydra run a job, with more overrides."""

    store: Store
    given: SpaceOfWords
    overrides: Sequence[str]
    examples: SearchPlan
    check: Callable[[], None]
    start: Callable[[Sequence[str]], None]

    @property
    def settings(self) -> SearchConfig:
        return self.given.settings

    @property
    def space(self) -> Space:
        return self.given.space

    @property
    def config(self) -> Config:
        """The configuration of any job, for the settings that all share."""
        return self.examples.jobs[0].config

    @property
    def swept(self) -> tuple[str, ...]:
        return (*self.space, "seed")

    @property
    def most_jobs(self) -> int | None:
        """The largest number of jobs; None: only time ends the search."""
        counts = [count for count in (self.settings.most_trials, combinations(self.space)) if count is not None]
        return min(counts) * self.settings.seeds if counts else None

    def trials(self) -> Trials:
        """The trials of this search; none until they are read."""
        return Trials(self.settings, self.space, self.given.fixed, self.given.seed)

    def identity(self, parent: RunRecord | None) -> RunIdentity:
        """The name and the tags of the parent run."""
        name = self.config.tracking.run_name or sweep_name(tuple(self.space), self.overrides).replace(
            "sweep of", "search over"
        )
        tags = {
            KIND_TAG: SWEEP,
            SWEPT_TAG: json.dumps(self.swept),
            SWEEP_FINGERPRINT_TAG: self.examples.fingerprint,
            SEARCH_TAG: json.dumps(asdict(self.settings)),
            **({JOBS_TAG: str(self.most_jobs)} if self.most_jobs is not None else {}),
        }
        experiment = self.config.tracking.experiment
        return RunIdentity(parent.name if parent else name, experiment, overrides=self.overrides, tags=tags)

    def as_text(self) -> str:
        """The content of `SEARCH_FILE`: what every machine shares."""
        shared = [word for word in self.overrides if not belongs_to_machine(word)]
        return json.dumps({"overrides": shared}, ensure_ascii=False, indent=1)

    def jobs(self, listed: Sequence[Sequence[str]]) -> SweepJobs:
        """Jobs of this search in the form of a sweep's."""
        return SweepJobs(tuple(map(tuple, listed)), self.swept, self.given.launcher, hydra=self.given.hydra)


def belongs_to_machine(word: str) -> bool:
    """Whether an override is not shared by the machines of a search: the store, and Hydra's own settings."""
    key = word.lstrip("+~").partition("=")[0]
    return key == "tracking.uri" or "hydra" in key


def read_words(store: Store, parent: RunRecord) -> list[str]:
    """The overrides of a search as its command recorded them. Raises `StoreError` if they are malformed."""
    with run_artifact(store, parent, SEARCH_FILE) as file:
        text = read_text(file, MOST_BYTES)
    try:
        found = json.loads(text)["overrides"]
        if not all(isinstance(word, str) and not belongs_to_machine(word) for word in found):
            raise ValueError("an override is no text, or belongs to a machine")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"{SEARCH_FILE} of the search {parent.name} ({parent.run_id}) is malformed: {error!r:.80}"
        ) from error
    return [bounded(word) for word in found]


def compose_search(
    overrides: Sequence[str], config_name: str, config_dir: str | None
) -> tuple[SpaceOfWords, SweepJobs, list[Config]]:
    """What the overrides ask for, and its examples. Raises `ConfigError` for what can be known to be wrong."""
    given = search_space(overrides, config_name, config_dir)
    settings = given.settings
    if own_launcher(given.launcher) is None:
        raise ConfigError(
            "hydra/launcher: a search hands out its jobs one by one, which only hydra/launcher=pool, ray and slurm can "
            "do. Use one of these."
        )
    size = combinations(given.space)
    if settings.sampler == "grid" and (size is None or size > MOST_LISTED):
        endless = ", ".join(key for key, dimension in given.space.items() if dimension.size is None)
        why = f"{endless} has no end of values" if endless else f"it has {size:,} combinations"
        raise ConfigError(f"search=grid: {why}. Use range(...) or choice(...), or another sampler such as search=tpe.")
    if settings.sampler == "nsga2" and settings.seeds and size == 1:
        raise ConfigError("search=nsga2: the space has one configuration.")
    if settings.pruner != "none" and "regime.epochs" in given.space:
        raise ConfigError(
            f"search.pruner={settings.pruner}: compares trials after the same epochs, so regime.epochs must have one "
            "value. Give one, or use search.pruner=none."
        )
    jobs = SweepJobs(tuple(_examples(given)), (*given.space, "seed"), given.launcher, hydra=given.hydra)
    configs = check_sweep(jobs, config_name, config_dir)
    for config in configs:
        if config.regime.validation.strategy == "none":
            raise ConfigError(
                "A search chooses by validation images, and regime.validation.strategy=none holds out none. Choosing "
                "by test images would make them worthless. Add regime.validation.strategy=stratified (or "
                "regime=validated, for thirty epochs)."
            )
        check_images(config.model, image_shape(config.dataset))
        if settings.pruner != "none" and not rungs(settings, config.regime.epochs):
            raise ConfigError(
                f"search.pruner={settings.pruner}: regime.epochs={config.regime.epochs} are too few to pause in "
                "between. Use at least 2, or search.pruner=none."
            )
    return given, jobs, configs


def make_request(
    store: Store, overrides: Sequence[str], given: SpaceOfWords, jobs: SweepJobs, configs: Sequence[Config],
    check: Callable[[], None], start: Callable[[Sequence[str]], None],
) -> SearchRequest:  # fmt: skip
    """The request of a composed search."""
    plan = plan_sweep(jobs, configs, store)
    own = {key: value for key, value in _differing(given.settings, SearchConfig()).items() if key in SAME_STUDY}
    space = [[key, _differing(dimension, Dimension())] for key, dimension in given.space.items()]
    study = json.dumps([space, own, given.seed])
    return SearchRequest(store, given, overrides, SearchPlan(plan.jobs, plan.swept, study=study), check, start)


def _differing(one: SearchConfig | Dimension, usual: SearchConfig | Dimension) -> dict[str, Any]:
    """The values that are not the usual ones: a setting that is added later leaves earlier searches the same."""
    return {key: value for key, value in asdict(one).items() if value != getattr(usual, key)}


def _examples(given: SpaceOfWords) -> list[tuple[str, ...]]:
    """Jobs in which each setting has each of its choices, or both its ends, and the others their first value."""
    ends = {key: _ends(dimension) for key, dimension in given.space.items()}
    first = {key: values[0] for key, values in ends.items()}
    found = [first, *({**first, key: value} for key, values in ends.items() for value in values[1:])]
    return [tuple(as_written([*given.fixed, *words(settings), f"seed={given.seed}"])) for settings in found]


def _ends(dimension: Dimension) -> list[Any]:
    if dimension.choices:
        return list(dimension.choices)
    return list(dict.fromkeys([dimension.number(dimension.low), dimension.number(dimension.high)]))
