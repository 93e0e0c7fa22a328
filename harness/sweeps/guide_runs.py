"""Trains the five guides under several seeds (only runs that the store does not have), and reads their runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.guides import GUIDES, PARAMETERS, SHOWN, Guide, Reproduction, compare_curve, compare_figure
from harness.analysis.settings import SEED, deciding, settings_digest
from harness.composing import compose_config
from harness.config.schema import Config, flatten
from harness.data import dataset_digest, load_splits, variant
from harness.errors import HarnessError, RequestError, suggestion
from harness.records import VARIANT_PARAMETER, RunRecord, RunState
from harness.run.warm_start import with_variant
from harness.sweeps.launch import launch
from harness.tracking.reading import read_series, runs_of_experiment
from harness.tracking.selection import CONTINUED_EPOCHS, CONTINUED_SETTINGS, Selection, is_sweep
from harness.tracking.store import open_store


@dataclass(frozen=True)
class Stage:
    """One training of a guide, as overrides of its experiment; `before` is the stage that it continues."""

    guide: Guide
    overrides: tuple[str, ...]
    before: Stage | None = None

    def config(self) -> Config:
        return compose_config([f"experiments={self.guide.experiment}", *self.overrides])


def stages(guide: Guide, overrides: Sequence[str] = ()) -> list[Stage]:
    """The trainings of a guide, in order."""
    if not guide.before:
        return [Stage(guide, tuple(overrides))]
    fresh = (f"regime.epochs={guide.before}", "regime.continue_from=null")
    first = Stage(guide, (*overrides, *fresh))
    return [first, Stage(guide, tuple(overrides), first)]


def find_guides(names: Iterable[str]) -> tuple[Guide, ...]:
    """The guides with these letters or experiments; without names all. Raises `RequestError` for an unknown name."""
    known = {name: guide for guide in GUIDES for name in (guide.letter, guide.experiment)}
    chosen = []
    for name in names:
        guide = known.get(name) or known.get(name.upper())
        if guide is None:
            listed = ", ".join(f"{guide.letter} ({guide.experiment})" for guide in GUIDES)
            raise RequestError(f"{name}: there is no such guide. The guides are {listed}.{suggestion(name, known)}")
        chosen.append(guide)
    return tuple(dict.fromkeys(chosen)) or GUIDES


def train_missing(guides: Sequence[Guide], seeds: Sequence[int], overrides: Sequence[str] = ()) -> None:
    """Train, as sweeps, every run that the store does not have yet.

    Raises as `launch.launch` does.
    """
    plans = [stages(guide, overrides) for guide in guides]
    due = {plan[-1].guide.letter: _missing(plan[-1], seeds) for plan in plans}
    for number in range(max(map(len, plans))):
        together: dict[tuple[tuple[str, ...], tuple[int, ...]], list[str]] = {}
        for stage in (plan[number] for plan in plans if number < len(plan)):
            if missing := _missing(stage, due[stage.guide.letter]):
                together.setdefault((stage.overrides, missing), []).append(stage.guide.experiment)
        for (given, missing), experiments in together.items():
            words = [f"experiments={','.join(experiments)}", *given, f"seed={','.join(map(str, missing))}"]
            launch(words, lambda comparison: None, multirun=True)


def _missing(stage: Stage, seeds: Sequence[int]) -> tuple[int, ...]:
    have = find_runs(stage, seeds) if seeds else {}
    return tuple(seed for seed in seeds if seed not in have)


def find_runs(stage: Stage, seeds: Sequence[int]) -> dict[int, RunRecord]:
    """The finished run of the stage by seed; if several have equal settings and data, the first."""
    config = stage.config()
    every = runs_of_experiment(open_store(config.tracking.uri), config.tracking.experiment, Selection())
    runs = [run for run in every if run.state is RunState.FINISHED and not is_sweep(run)]
    if not runs:
        return {}
    digest = load_splits(config.dataset, config.regime.validation)[0].digest
    settings = _settings(stage)
    found: dict[int, RunRecord] = {}
    for run in runs:
        given = deciding(with_variant(run))
        seed = int(given.pop(SEED, -1))
        if given == settings and seed in seeds and run.tags.get("harness.dataset_digest") == digest:
            found.setdefault(seed, run)
    return found


def _settings(stage: Stage) -> dict[str, str]:
    """The parameters that decide the numbers of the stage's runs, without the seed."""
    config = stage.config()
    files = variant(config.dataset.name, dataset_digest(config.dataset))
    parameters: dict[str, object] = {**flatten(config), VARIANT_PARAMETER: files}
    if stage.before is not None:
        parameters[CONTINUED_EPOCHS] = str(stage.guide.before)
        parameters[CONTINUED_SETTINGS] = settings_digest(_settings(stage.before))
    settings = deciding(parameters)
    del settings[SEED]
    return settings


def read_reproduction(guide: Guide, seeds: Sequence[int], overrides: Sequence[str] = ()) -> Reproduction:
    """Compare the guide with the store's runs of its experiment under `seeds`.

    Raises `HarnessError` if a run is missing, `RequestError` for fewer than two seeds.
    """
    stage = stages(guide, overrides)[-1]
    runs = find_runs(stage, seeds)
    if missing := [seed for seed in seeds if seed not in runs]:
        raise HarnessError(
            f"{guide.name}: the store has no finished run with seed {', '.join(map(str, missing))}. "
            f"`harness guides {guide.letter}` trains them."
        )
    records = [runs[seed] for seed in seeds]
    config = stage.config()
    series = read_series(open_store(config.tracking.uri), [run.run_id for run in records], list(guide.series))
    return Reproduction(
        guide=guide,
        seeds=tuple(seeds),
        run_ids=tuple(run.run_id for run in records),
        parameters=int(records[0].metrics[PARAMETERS]),
        figures=tuple(
            compare_figure(metric, guide.scalars.get(metric), [run.metrics[metric] for run in records])
            for metric in [*SHOWN, *(name for name in guide.scalars if name not in SHOWN)]
        ),
        curves=tuple(
            compare_curve(metric, guide.before, published, [series[run.run_id][metric] for run in records])
            for metric, published in guide.series.items()
        ),
    )
