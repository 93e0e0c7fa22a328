"""The runs to compare or report: a sweep, an experiment, or runs by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.csv_runs import read_csv
from harness.analysis.metric_names import Naming
from harness.analysis.rows import IntervalOver, Stage
from harness.errors import RequestError
from harness.records import RunRecord
from harness.text import clean
from harness.tracking.models import find_run, find_sweep
from harness.tracking.reading import cached_reads, latest_run, latest_sweep, read_runs, sweep_runs
from harness.tracking.reused_tags import reused_runs
from harness.tracking.selection import CONFIRMS_TAG, REPRODUCES_TAG, is_sweep, recorded_settings
from harness.tracking.store import Store

_OVERRIDDEN = re.compile(r"(?:^|\s)([+~]*[\w./@]+)=")


@dataclass(frozen=True)
class Chosen:
    """What to compare: its name in words, the runs, and the keys that their sweeps varied."""

    title: str
    runs: list[RunRecord]
    swept: tuple[str, ...] = ()


def choose(store: Store, named: Sequence[str], experiment: str | None, sweep: str | None) -> Chosen:
    """The runs that are named, those of an experiment or of a sweep; without any name the latest sweep or experiment.

    Raises `RequestError` where several ways are used together, or there is nothing.
    """
    ways = {"RUNS": named, "--experiment": experiment, "--sweep": sweep}
    if len(given := [way for way, value in ways.items() if value]) > 1:
        raise RequestError(f"{' and '.join(given)} were given together. Each says what to compare: use one of them.")
    if named:
        return _named_runs(store, named)
    if experiment:
        return whole_experiment(store, experiment)
    if sweep:
        return whole_sweep(store, find_sweep(store, sweep))
    if (latest := latest_sweep(store)) is not None:
        return whole_sweep(store, latest)
    if (newest := latest_run(store)) is None:
        raise RequestError("There are no runs to compare yet. Make some with `harness sweep` or `harness train`.")
    return whole_experiment(store, newest.experiment)


def check_csv(interval: IntervalOver, by_image: bool = False, confirm: bool = False) -> None:
    """Raise `RequestError` for what a CSV file has nothing for."""
    for flag, given, why in (
        ("--by-image", by_image, "has no predictions for single images"),
        (f"--interval {interval}", interval != "seeds", "has no predictions for single images"),
        ("--confirm", confirm, "does not say how to train a run again"),
    ):
        if given:
            raise RequestError(f"{flag} cannot be used with --csv: a CSV file {why}. Leave one of them out.")


def with_csv(
    store: Store, named: Sequence[str], experiment: str | None, sweep: str | None, files: Sequence[Path],
    naming: Naming, stage: Stage,
) -> Chosen:  # fmt: skip
    """The runs of CSV files, and those of the store that are named; the store is not read if none are.

    Raises `RequestError` as `choose` and `read_csv` do.
    """
    runs = read_csv(files, naming, stage)
    title = "Runs of " + ", ".join(clean(file.name) for file in files)
    if not (named or experiment or sweep):
        return Chosen(title, runs)
    if stage != "final":
        raise RequestError(f"--at {stage}: with --csv only without runs of the store, which have no row an epoch.")
    with cached_reads(store):
        chosen = choose(store, named, experiment, sweep)
    return replace(chosen, title=f"{title}; {chosen.title}", runs=[*chosen.runs, *runs])


def whole_sweep(store: Store, parent: RunRecord) -> Chosen:
    """The runs of a sweep. Raises `RequestError` where it has none."""
    runs = sweep_runs(store, parent.run_id)
    if not runs:
        raise RequestError(f"The sweep {parent.name} ({parent.run_id}) has no runs. Name another with --sweep.")
    reused = sum(run.parent_id != parent.run_id for run in runs)
    words = f"; {reused} of {parent.tags.get('harness.jobs', len(runs))} jobs reused" if reused else ""
    return Chosen(f"{parent.name} (experiment {parent.experiment}{words})", runs, _swept([parent, *runs]))


def whole_experiment(store: Store, name: str) -> Chosen:
    """The runs of an experiment, but for those that stand for sweeps, repeat a run or confirm a row.

    Raises `RequestError` where it has none.
    """
    every = read_runs(store, experiment=name, include_parents=True)
    confirming = {run.run_id for run in every if CONFIRMS_TAG in run.tags}
    every = [run for run in every if run.run_id not in confirming]
    reused_by = {run_id: parent.run_id for parent in every for run_id in reused_runs(parent.tags, parent.run_id)}
    runs = [
        replace(run, reused_by=reused_by[run.run_id]) if run.run_id in reused_by else run
        for run in every
        if not is_sweep(run)
        and REPRODUCES_TAG not in run.tags
        and (run.parent_id not in confirming or run.run_id in reused_by)
    ]
    if not runs:
        raise RequestError(f"The experiment {name} has no runs. Name another with --experiment.")
    return Chosen(f"Experiment {runs[0].experiment}", runs, _swept([run for run in every if is_sweep(run)] + runs))


def _named_runs(store: Store, named: Iterable[str]) -> Chosen:
    found: dict[str, RunRecord] = {}
    parents = []
    for text in named:
        run = find_run(store, text)
        if is_sweep(run):
            parents.append(run)
            found.update((child.run_id, child) for child in whole_sweep(store, run).runs)
        else:
            found[run.run_id] = run
    experiments = ", ".join(sorted({run.experiment for run in found.values()}))
    return Chosen(f"Runs of {experiments}", list(found.values()), _swept([*parents, *found.values()]))


def _swept(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    """What was set on purpose: the keys that sweeps varied, and those that were overridden for single runs."""
    keys: dict[str, None] = {}
    for run in runs:
        keys.update(dict.fromkeys(recorded_settings(run)))
        keys.update(dict.fromkeys(_OVERRIDDEN.findall(run.tags.get("harness.overrides", ""))))
    return tuple(keys)
