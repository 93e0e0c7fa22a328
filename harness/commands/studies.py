"""`harness studies`: what the studies of experiments/ stated beforehand, beside their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import paths, terminal
from harness.analysis import remedies
from harness.analysis.remedies import Tried, tried
from harness.analysis.studies import Study, StudyOutcome
from harness.analysis.study_tables import FORMATS, print_tables, render, section
from harness.errors import HarnessError, RequestError
from harness.tabular import json_text, wrapped

if TYPE_CHECKING:
    from harness.sweeps.plan import SweepPlan

RANKING, FORETELLING = "ranking.md", "foretelling.md"


@click.command(name="studies")
@click.argument("words", nargs=-1, metavar="[STUDY | SETTING=VALUE]...")
@click.option("--quick", is_flag=True, help="Minutes, not hours: show that everything runs. No verdict counts.")
@click.option("--no-train", is_flag=True, help="Only read the store; an error if a run is missing.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.option("--ranking", "ranked", is_flag=True, help="Show instead what was tried against overfitting, ranked.")
@click.option(
    "--pages", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write each study's report, with the verdict, into FOLDER/STUDY.md; of all, also two pages on all.",
)  # fmt: skip
def command(words: tuple[str, ...], quick: bool, no_train: bool, ranked: bool, form: str, pages: Path | None) -> int:
    """Train studies of known results, and say which claims were found.

    STUDY is the name of an experiment with the key `study`, which states claims with their bounds; all by default.
    Runs that the store does not have yet are trained. SETTING=VALUE changes a setting of the studies, to see whether
    the verdict shows it. Each claim is found, not found or undecided. Exit code 1 if one is not found.
    """
    from harness.sweeps.study_runs import find_studies

    overrides = [word for word in words if "=" in word]
    studies = find_studies(word for word in words if "=" not in word)
    whole = not (quick or overrides)
    if pages is not None and not whole:
        raise RequestError("--pages is for studies as they are stated. Leave out --quick and SETTING=VALUE.")
    if pages is not None and not pages.is_dir():
        raise RequestError(f"--pages {pages}: there is no such folder.")
    found = []
    for study in studies:
        found.append(_carried_out(study, overrides, quick, no_train))
        if pages is not None:
            _write_page(*found[-1], pages / f"{study.name}.md")
    outcomes = [outcome for outcome, _ in found]
    if pages is not None and len(studies) == len(find_studies(())):
        _write(pages / RANKING, remedies.page(tried(outcomes)))
        _write(pages / FORETELLING, _foretelling([plan for _, plan in found]))
    if ranked:
        _present_ranking(tried(outcomes), form)
    else:
        _present(outcomes, form)
    failed = [f"{of.study.name} ({'; '.join(of.failed)})" for of in outcomes if of.failed]
    if quick:
        click.echo("Quick forms were trained: these verdicts say nothing about the studies.", err=True)
    elif failed:
        raise HarnessError(f"Not found, the contrary is shown: {'; '.join(failed)}.")
    return 0


def _carried_out(study: Study, overrides: Sequence[str], quick: bool, no_train: bool) -> tuple[StudyOutcome, SweepPlan]:
    from harness.sweeps.study_runs import check_rows, look_up, read_outcome, train, words_of

    asked, whole = words_of(study, overrides, quick), not (quick or overrides)
    plan = look_up(asked)
    if whole:
        check_rows(study, plan)
    if not no_train:
        click.echo(f"{study.name}: {study.source}", err=True)
        train(asked)
        plan = look_up(asked)
    return read_outcome(study, plan, whole), plan


def _present(outcomes: Sequence[StudyOutcome], form: str) -> None:
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


def _foretelling(plans: Sequence[SweepPlan]) -> str:
    """The rank correlations of measures with the gap over the runs of every study, as a page."""
    from harness.analysis import foretelling_tables
    from harness.analysis.foretelling import foretelling
    from harness.api.chosen_runs import Chosen
    from harness.api.comparing import compared
    from harness.tracking.store import open_store

    swept = tuple(dict.fromkeys(key for plan in plans for key in plan.swept))
    chosen = Chosen("All studies", [run for plan in plans for run in plan.runs], swept)
    store = open_store(plans[0].jobs[0].config.tracking.uri)
    found = foretelling(compared(store, chosen, _say, some_predictions=False))
    return f"# Which number foretells the gap\n\n{foretelling_tables.render(found, 'markdown')}"


def _write_page(found: StudyOutcome, plan: SweepPlan, page: Path) -> None:
    """The report of the study's sweep, with the verdict before its question."""
    from harness.api.chosen_runs import whole_sweep
    from harness.api.comparing import reported
    from harness.reports import saving
    from harness.tracking.models import find_sweep
    from harness.tracking.store import open_store

    if plan.parent is None:
        raise HarnessError(f"{found.study.name}: its runs belong to no sweep of their own. Leave out --no-train.")
    store = open_store(plan.jobs[0].config.tracking.uri)
    parent = find_sweep(store, plan.parent.run_id)
    report = reported(store, whole_sweep(store, parent), parent, _say, words=[parent.run_id])
    for place in saving.write(report, page)[1:]:
        _say(f"Wrote {place}")
    head, question, rest = page.read_text(encoding="utf-8").partition("\n## Question\n")
    _write(page, f"{head}\n{section(found)}\n{question}{rest}")


def _write(page: Path, text: str) -> None:
    paths.write_text(page, text)
    _say(f"Wrote {page}")


def _say(line: str) -> None:
    click.echo(line, err=True)
