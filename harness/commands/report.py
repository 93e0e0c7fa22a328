"""`harness report`: the report of a sweep as one HTML page and as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from harness.api.chosen_runs import Chosen, whole_experiment, whole_sweep
from harness.api.comparing import reported
from harness.commands.external_runs import NAMING_FLAGS, naming_of, naming_options
from harness.commands.store_option import finished_reads, refresh_option, store_option
from harness.errors import RequestError, StoreError
from harness.records import RunRecord
from harness.tracking.models import find_sweep
from harness.tracking.reading import latest_sweep
from harness.tracking.store import Store


@click.command(name="report")
@click.argument("sweep", required=False)
@click.option("--experiment", metavar="NAME", help="Every run of this experiment; needs --output.")
@click.option(
    "--baseline",
    metavar="ROW",
    help="Compare every other row with this one. Name it by settings (model=mlp_128,optimizer=sgd), by its cells, "
    "or by a run. By default each setting's values are compared with its first.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write FILE.html, or FILE.md with its figures in FILE_figures/.",
)
@naming_options
@click.option("--no-log", is_flag=True, help="Do not store the report with the sweep's run; needs --output.")
@refresh_option
@store_option
def command(
    sweep: str | None, experiment: str | None, baseline: str | None, output: Path | None,
    train_metric: str | None, held_out_metric: str | None, train_loss_metric: str | None,
    held_out_loss_metric: str | None, group_by: str | None, no_log: bool, refresh: bool, store: Store,
) -> None:  # fmt: skip
    """Write a sweep's report: one HTML page that needs no network, and Markdown.

    SWEEP is a sweep's run: its id, the beginning of it, its name, latest, or best (that of the best run); by default
    the latest. The report is stored with that run as report.html and report.md, and the MLflow UI shows it.
    Experiments of other programs can be reported too, as with `harness compare`.
    """
    from harness.reports import saving  # Jinja2

    if sweep and experiment:
        raise RequestError("SWEEP and --experiment were given together. Each says what to report: use one of them.")
    if output is None and (no_log or experiment):
        given = "--no-log" if no_log else f"--experiment {experiment}: there is no sweep to store the report with, and"
        raise RequestError(f"{given} leaves nowhere for the report to go. Add --output FILE.html or FILE.md.")
    if output is not None:
        saving.check_target(output)
    with finished_reads(store, refresh):
        parent, chosen = _choose(store, sweep, experiment)
    named = (train_metric, held_out_metric, train_loss_metric, held_out_loss_metric, group_by)
    words = ["--experiment", experiment] if experiment else [parent.run_id] if parent else []
    words += [word for flag, value in zip(NAMING_FLAGS, named, strict=True) if value for word in (flag, value)]
    words += ["--baseline", baseline] if baseline else []
    words += ["--output", str(output)] if output is not None and parent is None else []
    report = reported(
        store, chosen, parent, lambda line: click.echo(line, err=True), naming_of(*named), baseline or None, words
    )
    if output is not None:
        for place in saving.write(report, output):
            click.echo(f"Wrote {place}", err=True)
    if parent is not None and not no_log:
        try:
            saving.save(store, parent.run_id, report)
            click.echo(f"Stored as {saving.PAGE} and {saving.TEXT} with the run {parent.run_id}: harness ui", err=True)
        except StoreError as error:
            if output is None:
                raise
            why = str(error).partition("\n")[0]
            click.echo(f"warning: not stored with the run {parent.run_id} (--no-log leaves this out). {why}", err=True)
    click.echo(report.answer)


def _choose(store: Store, sweep: str | None, experiment: str | None) -> tuple[RunRecord | None, Chosen]:
    if experiment:
        return None, whole_experiment(store, experiment)
    if sweep:
        parent = find_sweep(store, sweep)
        return parent, whole_sweep(store, parent)
    latest = latest_sweep(store)
    if latest is None:
        raise RequestError(
            "There is no sweep to report yet. Make one with `harness sweep`, or report an experiment's single runs "
            "with --experiment NAME --output FILE.html."
        )
    return latest, whole_sweep(store, latest)
