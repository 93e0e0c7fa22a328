"""`harness studies`: what the studies of experiments/ stated beforehand, beside their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness import paths, terminal
from harness.analysis import remedies
from harness.analysis.remedies import Tried, tried
from harness.analysis.studies import Outcome
from harness.analysis.study_tables import FORMATS, print_tables, render, section
from harness.errors import HarnessError, RequestError
from harness.tabular import json_text, wrapped

RANKING = "ranking.md"


@click.command(name="studies")
@click.argument("words", nargs=-1, metavar="[STUDY | SETTING=VALUE]...")
@click.option("--quick", is_flag=True, help="Minutes, not hours: show that everything runs. No verdict counts.")
@click.option("--no-train", is_flag=True, help="Only read the store; an error if a run is missing.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.option("--ranking", "ranked", is_flag=True, help="Show instead what was tried against overfitting, ranked.")
@click.option(
    "--pages", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write each study's report, with the verdict, into FOLDER/STUDY.md; of all studies the ranking too.",
)  # fmt: skip
def command(words: tuple[str, ...], quick: bool, no_train: bool, ranked: bool, form: str, pages: Path | None) -> int:
    """Train studies of known results, and say which claims were found.

    STUDY is the name of an experiment with the key `study`, which states claims with their bounds; all by default.
    Runs that the store does not have yet are trained. SETTING=VALUE changes a setting of the studies, to see whether
    the verdict shows it. Each claim is found, not found or undecided. Exit code 1 if one is not found.
    """
    from harness.sweeps.study_runs import check_rows, find_studies, look_up, read_outcome, train, words_of

    overrides = [word for word in words if "=" in word]
    studies = find_studies(word for word in words if "=" not in word)
    if pages is not None and (quick or overrides):
        raise RequestError("--pages is for studies as they are stated. Leave out --quick and SETTING=VALUE.")
    if pages is not None and not pages.is_dir():
        raise RequestError(f"--pages {pages}: there is no such folder.")
    whole, outcomes = not (quick or overrides), []
    for study in studies:
        asked = words_of(study, overrides, quick)
        plan = look_up(asked)
        if whole:
            check_rows(study, plan)
        if not no_train:
            click.echo(f"{study.name}: {study.source}", err=True)
            train(asked)
            plan = look_up(asked)
        found = read_outcome(study, plan, whole)
        outcomes.append(found)
        if pages is not None and plan.parent is not None:
            _write_page(found, plan.jobs[0].config.tracking.uri, plan.parent.run_id, pages / f"{study.name}.md")
    ranking = tried(outcomes)
    if pages is not None and len(studies) == len(find_studies(())):
        paths.write_text(pages / RANKING, remedies.page(ranking))
        click.echo(f"Wrote {pages / RANKING}", err=True)
    if ranked:
        _present_ranking(ranking, form)
    else:
        _present(outcomes, form)
    failed = [f"{of.study.name} ({'; '.join(of.failed)})" for of in outcomes if of.failed]
    if quick:
        click.echo("Quick forms were trained: these verdicts say nothing about the studies.", err=True)
    elif failed:
        raise HarnessError(f"Not found, the contrary is shown: {'; '.join(failed)}.")
    return 0


def _present(outcomes: Sequence[Outcome], form: str) -> None:
    console = terminal.console()
    if form == "table" and console.is_interactive:
        print_tables(outcomes, console)
    else:
        click.echo(render(outcomes, form), nl=False)


def _present_ranking(found: Sequence[Tried], form: str) -> None:
    if form == "json":
        click.echo(json_text({"remedies": remedies.as_data(found)}), nl=False)
    elif form == "markdown":
        click.echo(remedies.page(found), nl=False)
    else:
        click.echo("\n".join([*remedies.table(found).lines(), "", *wrapped([remedies.LEGEND])]))


def _write_page(found: Outcome, uri: str | None, parent_id: str, page: Path) -> None:
    """The report of the study's sweep, with the verdict before its question."""
    from harness.api.chosen_runs import whole_sweep
    from harness.api.comparing import reported
    from harness.reports import saving
    from harness.tracking.models import find_sweep
    from harness.tracking.store import open_store

    store = open_store(uri)
    parent = find_sweep(store, parent_id)
    say = lambda line: click.echo(line, err=True)  # noqa: E731
    report = reported(store, whole_sweep(store, parent), parent, say, words=[parent_id])
    for place in saving.write(report, page):
        click.echo(f"Wrote {place}", err=True)
    head, question, rest = page.read_text(encoding="utf-8").partition("\n## Question\n")
    paths.write_text(page, f"{head}\n{section(found)}\n{question}{rest}")
