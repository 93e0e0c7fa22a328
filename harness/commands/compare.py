"""`harness compare`: runs side by side, ranked by how much they overfit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from harness import paths, terminal
from harness.analysis import by_image_tables, confirmation, difference_tables, foretelling_tables, power_tables
from harness.analysis.by_image import ByImage, by_image
from harness.analysis.comparison import Comparison
from harness.analysis.comparison_table import print_table, render
from harness.analysis.confirmation import Confirmation
from harness.analysis.difference_tables import Shown as OnRequest
from harness.analysis.differences import Findings, find_row
from harness.analysis.foretelling import Foretelling, foretelling
from harness.analysis.power import Power, power
from harness.analysis.ranking import WITHIN
from harness.analysis.rows import INTERVALS, STAGES, IntervalOver, Stage
from harness.api.chosen_runs import check_csv, choose, with_csv
from harness.api.comparing import baseline_row, compared, demanded, tested
from harness.commands.confirming import check_request, confirmed
from harness.commands.external_runs import naming_of, naming_options
from harness.commands.store_option import finished_reads, import_option, refresh_option, store_option
from harness.errors import RequestError
from harness.records import RunRecord
from harness.tabular import FORMATS
from harness.tracking.predictions_file import read_predictions
from harness.tracking.store import Store

_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex", ".html": "html", ".txt": "table",
             "": "table"}  # fmt: skip


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


Shown = Comparison | Findings | Confirmation | ByImage | Power | Foretelling


@click.command(name="compare")
@click.argument("runs", nargs=-1)
@click.option("--experiment", metavar="NAME", help="Every run of this experiment.")
@click.option(
    "--csv", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Runs in a CSV file, with a row a run or a row an epoch. Give it several times for several files.",
)  # fmt: skip
@click.option(
    "--sweep", metavar="RUN", help="Every run of this sweep: its id, the beginning of it, its name, latest, or best."
)
@click.option(
    "--baseline",
    metavar="ROW",
    help="Compare every other row with this one, with tests. Name it by settings (model=mlp_128,optimizer=sgd), by "
    "its cells, or by a run (see RUNS). With --effect: the value to compare the others with.",
)
@click.option("--effect", metavar="SETTING", help="The effect of one setting on the gap, all other settings equal.")
@click.option(
    "--by-image", "images", is_flag=True, help="Which held-out images all runs get wrong; with --baseline, on "
    "which images each row is right more often.",
)  # fmt: skip
@click.option(
    "--power", "points", type=click.FloatRange(0, 100, min_open=True), metavar="POINTS",
    help="How many seeds would show a difference of POINTS in the gap of accuracy, by the spread so far.",
)  # fmt: skip
@click.option(
    "--foretell", is_flag=True, help="Which measure of the weights (measures=...) foretells the gap: rank correlations."
)
@click.option(
    "--min-accuracy", metavar="SHARE", help="Rank only rows with at least this held-out accuracy: 0.88 or 88%."
)
@click.option(
    "--within",
    metavar="POINTS",
    help="Rank only rows within POINTS of the best held-out accuracy; 'all' for every row.  "
    f"[default: {100 * WITHIN:g}, or all with --min-accuracy]",
)
@click.option(
    "--at",
    "stage",
    type=click.Choice(list(STAGES)),
    default="final",
    show_default=True,
    help="Score each run with its final weights, those after the last epoch, or those of the smallest validation loss.",
)
@click.option(
    "--interval",
    type=click.Choice(INTERVALS),
    default="seeds",
    show_default=True,
    help="What intervals and tests cover: other seeds on these held-out images, or other images too.",
)
@click.option(
    "--replicates",
    metavar="SETTINGS",
    help="Settings that only repeat a run: seed, or seed,dataset.seed,validation.seed.  [default: those of the "
    "three that have several values within a configuration]",
)
@click.option("--simultaneous", is_flag=True, help="With --baseline or --effect: simultaneous intervals.")
@click.option(
    "--effect-size", is_flag=True, help="With --baseline or --effect: also show differences in standard deviations."
)
@click.option(
    "--confirm",
    type=int,
    metavar="N",
    help="Train the first row, and the --baseline, again with N new seeds, and show both results.",
)
@click.option(
    "--pareto", is_flag=True, help="Only the Pareto front: rows that no other row beats in both accuracy and gap."
)
@click.option("--sort", "sort_by", metavar="COLUMN", help="Sort by a setting, n or a score; ignore the accuracy.")
@click.option("--descending", is_flag=True, help="Sort the largest first.")
@naming_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="By default the format of FILE's suffix, else table."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE instead."
)
@import_option
@refresh_option
@store_option
def command(
    runs: tuple[str, ...],
    experiment: str | None,
    files: tuple[Path, ...],
    sweep: str | None,
    baseline: str | None,
    effect: str | None,
    images: bool,
    points: float | None,
    foretell: bool,
    min_accuracy: str | None,
    within: str | None,
    stage: Stage,
    interval: IntervalOver,
    replicates: str | None,
    simultaneous: bool,
    effect_size: bool,
    confirm: int | None,
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
    refresh: bool,
    store: Store,
) -> None:
    """Show runs side by side, ranked by overfitting gap.

    RUNS are run ids, beginnings of ids, names, latest (the latest sweep or run), best, or registered models. A sweep
    means all of its runs. By default the latest sweep is shown, or the latest experiment if there is no sweep.
    Runs that differ only in the seed form one row. Rows that are much less accurate than the best come last, because
    a model that has learnt nothing has no gap. Rows with different held-out images are not ranked against each other.

    External runs, which the harness did not write, are compared too. The metric names of Keras and Lightning are
    known; name others with the options below. Rows are formed by all parameters that differ, except seeds, or by
    those of --group-by. Those of --csv need no store; with --experiment, --sweep or RUNS both are compared.
    """
    naming = naming_of(train_metric, held_out_metric, train_loss_metric, held_out_loss_metric, group_by)
    demand = demanded(min_accuracy, within)
    form = form or _form_of(output)
    if pareto and (baseline or effect):
        raise RequestError(
            "--pareto picks rows by the figures that --baseline and --effect would test. Use one of them."
        )
    has_tests = baseline is not None or effect is not None
    if (simultaneous or effect_size) and not has_tests:
        flag = "--simultaneous" if simultaneous else "--effect-size"
        raise RequestError(f"{flag} is about differences. Add --baseline ROW or --effect SETTING.")
    if confirm is not None:
        check_request(confirm, effect, pareto, output)
    if images and effect:
        raise RequestError("--by-image compares rows, and --effect the values of a setting. Use one of them.")
    if points is not None and (images or baseline or effect):
        raise RequestError("--power is about all rows together. Leave out --baseline, --effect and --by-image.")
    if foretell and (images or baseline or effect or points is not None):
        raise RequestError("--foretell is about all runs together. Leave out the options that show something else.")
    if files:
        check_csv(interval, by_image=images, confirm=confirm is not None)
        chosen = with_csv(store, runs, experiment, sweep, files, naming, stage)
    else:
        with finished_reads(store, refresh):
            chosen = choose(store, runs, experiment, sweep)
    comparison = compared(
        store, chosen, lambda line: click.echo(line, err=True), not files and (has_tests or points is not None),
        naming=naming, stage=stage, interval=interval, replicates=replicates, sort_by=sort_by, ascending=not descending,
        demand=demand, only_front=pareto,
    )  # fmt: skip
    if effect is None and baseline is not None and not files:
        baseline = baseline_row(store, comparison, baseline)
    how = OnRequest(simultaneous, effect_size)
    if confirm is not None:
        confirmed(store, comparison, confirm, baseline, naming, lambda found: _show(found, form, output, how))
        return
    shown: Shown
    if images:
        row = None if baseline is None else find_row(comparison, baseline)
        shown = by_image(comparison, read_predictions(store, chosen.runs), row, partial(_class_names, store))
    elif points is not None:
        shown = power(comparison, points / 100)
    elif foretell:
        shown = foretelling(comparison)
    else:
        shown = tested(comparison, baseline, effect)
    _show(shown, form, output, how)


def _show(shown: Shown, form: str, output: Path | None, how: OnRequest) -> None:
    console = terminal.console()
    if output is not None:
        try:
            paths.write_text(output, _rendered(shown, form, how))
        except OSError as error:
            raise RequestError(
                f"--output {output}: cannot be written ({error.strerror}). Name another file."
            ) from error
        click.echo(f"Wrote {output}", err=True)
    elif form == "table" and console.is_interactive and isinstance(shown, Comparison):
        print_table(shown, console)
    else:
        click.echo(_rendered(shown, form, how), nl=False)


def _class_names(store: Store, run: RunRecord) -> tuple[str, ...]:
    """Those that the run's model has; none for an external run, or a run that kept no model."""
    from harness.run.load import class_names_of

    try:
        return class_names_of(store, run)
    except RequestError:
        return ()


def _rendered(shown: Shown, form: str, how: OnRequest) -> str:
    if isinstance(shown, Confirmation):
        return confirmation.render(shown, form)
    if isinstance(shown, ByImage):
        return by_image_tables.render(shown, form)
    if isinstance(shown, Power):
        return power_tables.render(shown, form)
    if isinstance(shown, Foretelling):
        return foretelling_tables.render(shown, form)
    return render(shown, form) if isinstance(shown, Comparison) else difference_tables.render(shown, form, how)
