"""Reads what the studies of experiments/ state, trains them (only runs that the store does not have), and reads their
runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from harness import paths
from harness.analysis.studies import (
    REACHES,
    REPEATED,
    Study,
    StudyOutcome,
    StudyRow,
    find_row,
    in_words,
    outcome,
    study_of,
)
from harness.composing import EXPERIMENTS, STUDY
from harness.config.schema import Config, flatten
from harness.errors import ConfigError, HarnessError, RequestError, suggestion
from harness.records import RunRecord
from harness.sweeps.launch import PLAN, launch
from harness.sweeps.plan import SweepPlan
from harness.sweeps.runner import Outlook
from harness.tracking.reading import read_series
from harness.tracking.store import Store, open_store

QUICK = "quick"
"""The MLflow experiment of quick forms, in which no report of a study looks."""


def read_studies() -> dict[str, Study]:
    """The studies of experiments/ by name. Raises `ConfigError` where one is stated wrongly."""
    found = {}
    for file in sorted(paths.experiments_directory().glob("*.yaml")):
        stated = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(stated, dict) and STUDY in stated:
            found[file.stem] = study_of(file.stem, stated[STUDY])
    return found


def find_studies(names: Iterable[str]) -> tuple[Study, ...]:
    """The studies with these names; without names all. Raises `RequestError` for an unknown name."""
    known = read_studies()
    for name in (names := list(names)):
        if name not in known:
            raise RequestError(
                f"{name}: there is no such study. The studies are {', '.join(known)}.{suggestion(name, known)}"
            )
    return tuple(known[name] for name in dict.fromkeys(names or known))


def words_of(study: Study, overrides: Sequence[str] = (), quick: bool = False) -> list[str]:
    """The overrides that train the study, as `harness sweep` takes them."""
    fast = "measures=[spectral_norm,margin]"  # sharpness takes half a minute with a million weights
    cut = (*study.quick, f"tracking.experiment={QUICK}", fast) if quick else ()
    return [f"{EXPERIMENTS}={study.name}", *cut, *overrides]


def train(words: Sequence[str]) -> None:
    """Train, as a sweep, every run that the store does not have yet. Raises as `launch.launch` does."""
    launch(list(words), lambda comparison: None, multirun=True)


def look_up(words: Sequence[str]) -> SweepPlan:
    """The jobs of the study, with the runs that the store has. Nothing is trained."""
    found: list[Outlook] = []
    launch([*words, PLAN], lambda comparison: None, multirun=True, show_plan=found.append)
    return found[0].plan


def check_rows(study: Study, plan: SweepPlan) -> None:
    """Raise `ConfigError` if the statement names a row that no job has."""
    rows = _rows((job.config, {}) for job in plan.jobs)
    named = [(of.row, of.baseline) for of in study.criteria] + [(of.row, of.baseline) for of in study.remedies]
    for settings in itertools.chain(*named, (of.row for of in study.published)):
        if settings is not None and find_row(rows, settings) is None:
            raise ConfigError(f"{study.name}: no run has {in_words(settings)}, which its statement names.")


def read_outcome(study: Study, plan: SweepPlan, whole: bool = True) -> StudyOutcome:
    """Compare the study with the runs of its jobs; `whole`: every job must have one.

    Raises `HarnessError` if a run is missing.
    """
    if whole and (missing := sum(not job.finished for job in plan.jobs)):
        raise HarnessError(
            f"{study.name}: {missing} of {len(plan.jobs)} runs are missing. `harness studies {study.name}` trains them."
        )
    store = open_store(plan.jobs[0].config.tracking.uri)
    done = [(job.config, job.run) for job in plan.jobs if job.finished and job.run is not None]
    reached = _epochs_reached(study, store, [run for _, run in done])
    return outcome(study, _rows((config, {**run.metrics, **reached.get(run.run_id, {})}) for config, run in done))


def _rows(done: Iterable[tuple[Config, Mapping[str, float]]]) -> list[StudyRow]:
    """Rows of configurations that differ only in seeds, with the metrics of each."""
    found: dict[str, tuple[dict[str, Any], dict[str, Mapping[str, float]]]] = {}
    for config, metrics in done:
        settings = {
            key: value
            for key, value in flatten(config).items()
            if key not in REPEATED and not key.startswith("tracking.")
        }
        found.setdefault(repr(settings), (settings, {}))[1][str(config.seed)] = metrics
    return [StudyRow(settings, runs) for settings, runs in found.values()]


def _epochs_reached(study: Study, store: Store, runs: Sequence[RunRecord]) -> dict[str, dict[str, float]]:
    """The measures `SERIES reaches VALUE` of each run."""
    wanted = {of.measure: matched for of in study.criteria if (matched := REACHES.fullmatch(of.measure))}
    if not wanted:
        return {}
    series = read_series(store, [run.run_id for run in runs], sorted({found["series"] for found in wanted.values()}))
    return {
        run_id: {
            measure: min(
                (float(epoch) for epoch, value in by_metric[found["series"]].items() if value >= float(found["value"])),
                default=math.nan,
            )
            for measure, found in wanted.items()
        }
        for run_id, by_metric in series.items()
    }
