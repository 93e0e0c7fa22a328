"""`harness compare`: runs side by side, ranked by how much they overfit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from harness import paths
from harness.analysis import difference_tables
from harness.analysis.comparison import Comparison, compare
from harness.analysis.differences import Findings, differences, find_row
from harness.analysis.effects import effects
from harness.analysis.foreign import adapt
from harness.analysis.held_out import HeldOutPredictions
from harness.analysis.presenting import FORMATS, render
from harness.analysis.ranking import WITHIN, Demand
from harness.analysis.replicates import named_replicates
from harness.analysis.rows import INTERVALS, STAGES, IntervalOver, Stage
from harness.analysis.table import print_table
from harness.commands.runs_of_others import naming_of, naming_options
from harness.commands.store_option import store_option
from harness.errors import RequestError, StoreError
from harness.records import RunRecord
from harness.tracking.models import find_run, find_sweep, find_trained
from harness.tracking.predictions import read_predictions
from harness.tracking.reading import cached_reads, latest_run, latest_sweep, read_runs, sweep_runs
from harness.tracking.reuse import reused_runs
from harness.tracking.selection import REPRODUCES_TAG, is_sweep
from harness.tracking.store import Store

_OVERRIDDEN = re.compile(r"(?:^|\s)([+~]*[\w./@]+)=")
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".txt": "table", "": "table"}


def _form_of(output: Path | None) -> str:
    """The form that the suffix of `--output` names. Raises `RequestError` for one that names none."""
    suffix = "" if output is None else output.suffix.lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(name for name in _SUFFIXES if name)
        raise RequestError(
            f"--output {output}: a table is written as {known}. Name such a file, or say with --format what goes into "
            f"this one ({', '.join(FORMATS)}); `harness report` draws figures."
        )
    return _SUFFIXES[suffix]


@dataclass(frozen=True)
class Chosen:
    """What to compare: its name in words, the runs, and the keys that their sweeps varied."""

    title: str
    runs: list[RunRecord]
    swept: tuple[str, ...] = ()


@click.command(name="compare")
@click.argument("runs", nargs=-1)
@click.option("--experiment", metavar="NAME", help="Every run of this experiment.")
@click.option(
    "--sweep", metavar="RUN", help="Every run of this sweep: its id, the beginning of it, its name, latest, or best."
)
@click.option(
    "--baseline",
    metavar="ROW",
    help="Hold every other row to this one, with tests: settings (model=mlp_128,optimizer=sgd), a row as its cells "
    "read, or a run (see RUNS). With --effect, the value to hold the others to.",
)
@click.option("--effect", metavar="SETTING", help="The effect of one setting on the gap, all else matched.")
@click.option(
    "--min-accuracy", metavar="SHARE", help="Rank by gap only rows of this held-out accuracy at least: 0.88 or 88%."
)
@click.option(
    "--within",
    metavar="POINTS",
    help="Rank by gap only rows so near to the best held-out accuracy; 'all' for every row.  "
    f"[default: {100 * WITHIN:g}, or all with --min-accuracy]",
)
@click.option(
    "--at",
    "stage",
    type=click.Choice(list(STAGES)),
    default="final",
    show_default=True,
    help="Judge each run with its final weights, those after its last epoch, or those of its least validation loss.",
)
@click.option(
    "--interval",
    type=click.Choice(INTERVALS),
    default="seeds",
    show_default=True,
    help="What intervals and tests are over: what another seed changes on these held-out images, or other images too.",
)
@click.option(
    "--replicates",
    metavar="SETTINGS",
    help="What was varied to repeat: seed, or seed,dataset.seed,validation.seed.  [default: those of the three that "
    "have several values within a configuration]",
)
@click.option("--simultaneous", is_flag=True, help="With --baseline or --effect: intervals that hold all at once.")
@click.option("--effect-size", is_flag=True, help="With --baseline or --effect: in standard deviations, too.")
@click.option("--pareto", is_flag=True, help="Only rows that none beats in accuracy and gap.")
@click.option("--sort", "sort_by", metavar="COLUMN", help="A setting, n or a score, whatever the accuracy.")
@click.option("--descending", is_flag=True, help="The largest first.")
@naming_options
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), help="By default that of FILE's suffix, else table."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE instead."
)
@store_option
def command(
    runs: tuple[str, ...],
    experiment: str | None,
    sweep: str | None,
    baseline: str | None,
    effect: str | None,
    min_accuracy: str | None,
    within: str | None,
    stage: Stage,
    interval: IntervalOver,
    replicates: str | None,
    simultaneous: bool,
    effect_size: bool,
    pareto: bool,
    sort_by: str | None,
    descending: bool,
    train_metric: str | None,
    held_out_metric: str | None,
    train_loss_metric: str | None,
    held_out_loss_metric: str | None,
    group_by: str | None,
    form: str | None,
    output: Path | None,
    store: Store,
) -> None:
    """Show runs side by side, ranked by overfitting gap.

    RUNS are run ids, beginnings of ids, names, latest (the latest sweep or run), best, or registered models; a sweep
    stands for all of its runs. By default the latest sweep is shown, or the latest experiment where there has been no
    sweep. Runs that differ only in seed share a row. Rows whose held-out accuracy is far below the best come last: a
    model that learnt nothing has no gap either. Rows that are judged on different images are not ranked against each
    other.

    Runs that the harness did not write are compared too: the metrics of Keras and of Lightning are known, others are
    named, and runs are told apart by every parameter that differs, seeds aside, or by those of --group-by.
    """
    naming = naming_of(train_metric, held_out_metric, train_loss_metric, held_out_loss_metric, group_by)
    demand = _demand(min_accuracy, within)
    form = form or _form_of(output)
    if pareto and (baseline or effect):
        raise RequestError(
            "--pareto picks rows by the figures that --baseline and --effect would test. Use one of them."
        )
    tested = baseline is not None or effect is not None
    if (simultaneous or effect_size) and not tested:
        flag = "--simultaneous" if simultaneous else "--effect-size"
        raise RequestError(f"{flag} is about differences. Add --baseline ROW or --effect SETTING.")
    draws = None if replicates is None else named_replicates(replicates)
    with cached_reads(store):
        chosen = _choose(store, runs, experiment, sweep)
    runs_read, reading = adapt(chosen.runs, naming)
    predictions = _predictions(store, runs_read, interval) if tested or interval != "seeds" else {}
    comparison = compare(
        runs_read, sort_by=sort_by, ascending=not descending, swept=chosen.swept, title=chosen.title, demand=demand,
        only_front=pareto, stage=stage, reading=reading, replicates=draws, predictions=predictions, interval=interval,
    )  # fmt: skip
    if not comparison.scores and stage != "final" and comparison.finished:
        raise RequestError(
            f"--at {stage}: no run here has such figures. Only a run with a validation split (regime.validation) has "
            "an epoch of least validation loss, and runs of earlier versions of the harness have neither."
        )
    if effect is None and baseline is not None:
        baseline = baseline_row(store, comparison, baseline)
    shown = _tested(comparison, baseline, effect)
    how = difference_tables.Shown(simultaneous, effect_size)
    console = Console()
    if output is not None:
        try:
            paths.write_text(output, _rendered(shown, form, how))
        except OSError as error:
            raise RequestError(
                f"--output {output}: cannot be written ({error.strerror}). Name another file."
            ) from error
        click.echo(f"Wrote {output}", err=True)
    elif form == "table" and console.is_terminal and isinstance(shown, Comparison):
        print_table(shown, console)
    else:
        click.echo(_rendered(shown, form, how), nl=False)


def _tested(comparison: Comparison, baseline: str | None, effect: str | None) -> Comparison | Findings:
    if effect is not None:
        return effects(comparison, effect, baseline)
    if baseline is None:
        return comparison
    if len(comparison.rows) == 1:
        raise RequestError(f"--baseline {baseline}: there is no other row to hold to it. Compare more runs.")
    return differences(comparison, find_row(comparison, baseline))


def baseline_row(store: Store, comparison: Comparison, text: str) -> str:
    """A `--baseline` as `find_row` takes it: a run that only the store can tell (`best`) by its id.

    Raises `RequestError` where no row answers to it.
    """
    try:
        find_row(comparison, text)
    except RequestError as unknown:
        try:
            run = find_trained(store, text)
        except RequestError:
            raise unknown from None
        if not any(run.run_id == one.run_id for row in comparison.rows for one in row.runs):
            raise RequestError(
                f"--baseline {text}: the run {run.name} ({run.run_id}) of the experiment {run.experiment} is not among "
                "those compared here. Name a row, or compare that run too."
            ) from unknown
        return run.run_id
    return text


def _rendered(shown: Comparison | Findings, form: str, how: difference_tables.Shown) -> str:
    return render(shown, form) if isinstance(shown, Comparison) else difference_tables.render(shown, form, how)


def _predictions(store: Store, runs: Sequence[RunRecord], interval: IntervalOver) -> HeldOutPredictions:
    """What runs answered for each held-out image. Raises `StoreError` where they are asked for and cannot be read."""
    try:
        return read_predictions(store, runs)
    except StoreError as error:
        if interval != "seeds":
            raise
        click.echo(f"Intervals over images rest on the formula p (1 - p) / N: {error}", err=True)
        return {}


def _demand(minimum: str | None, within: str | None) -> Demand:
    least = None if minimum is None else _fraction(minimum)
    if within is None:
        return Demand(least, None if least is not None else WITHIN)
    if within == "all":
        return Demand(least, None)
    points = _number(within.removesuffix("%"))
    if not 0 <= points <= 100:
        raise RequestError(f"--within {within}: give points of accuracy, from 0 to 100 (2.0), or all.")
    return Demand(least, points / 100)


def _fraction(text: str) -> float:
    share = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise RequestError(f"--min-accuracy {text}: give a fraction from 0 to 1 (0.88), or per cent (88%).")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _choose(store: Store, named: Sequence[str], experiment: str | None, sweep: str | None) -> Chosen:
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


def whole_sweep(store: Store, parent: RunRecord) -> Chosen:
    """The runs of a sweep. Raises `RequestError` where it has none."""
    runs = sweep_runs(store, parent.run_id)
    if not runs:
        raise RequestError(f"The sweep {parent.name} ({parent.run_id}) has no runs. Name another with --sweep.")
    reused = sum(run.parent_id != parent.run_id for run in runs)
    words = f"; {reused} of {parent.tags.get('harness.jobs', len(runs))} jobs reused" if reused else ""
    return Chosen(f"{parent.name} (experiment {parent.experiment}{words})", runs, _swept([parent, *runs]))


def whole_experiment(store: Store, name: str) -> Chosen:
    """The runs of an experiment, sweeps' own runs left out. Raises `RequestError` where it has none."""
    every = read_runs(store, experiment=name, include_parents=True)
    reused_by = {run_id: parent.run_id for parent in every for run_id in reused_runs(parent.tags)}
    runs = [
        replace(run, reused_by=reused_by[run.run_id]) if run.run_id in reused_by else run
        for run in every
        if not is_sweep(run) and REPRODUCES_TAG not in run.tags
    ]
    if not runs:
        raise RequestError(f"The experiment {name} has no runs. Name another with --experiment.")
    return Chosen(f"Experiment {runs[0].experiment}", runs, _swept(every))


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
        keys.update(dict.fromkeys(map(str, json.loads(run.tags.get("harness.swept", "[]")))))
        keys.update(dict.fromkeys(_OVERRIDDEN.findall(run.tags.get("harness.overrides", ""))))
    return tuple(keys)
