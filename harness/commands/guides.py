"""`harness guides`: the five published guides beside our runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness import paths, terminal
from harness.analysis.guide_tables import FORMATS, print_tables, render
from harness.analysis.guides import Reproduction
from harness.errors import HarnessError, RequestError

BEGIN, END = "<!-- harness guides: begin -->", "<!-- harness guides: end -->"


@click.command(name="guides")
@click.argument("words", nargs=-1, metavar="[GUIDE | SETTING=VALUE]...")
@click.option(
    "--seeds", type=click.IntRange(2, 1000), default=10, show_default=True, help="Number of seeds, from 0 on."
)
@click.option("--no-train", is_flag=True, help="Only read the store; an error if a run is missing.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE instead."
)
@click.option(
    "--into", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the result into FILE, between the two lines that mark the place.",
)  # fmt: skip
@click.option(
    "--figure", type=click.Path(path_type=Path, dir_okay=False), metavar="PNG",
    help="Draw the published curves over the band of our runs.",
)  # fmt: skip
def command(
    words: tuple[str, ...],
    seeds: int,
    no_train: bool,
    form: str,
    output: Path | None,
    into: Path | None,
    figure: Path | None,
) -> int:
    """Train the models of the five guides, and compare.

    GUIDE is a letter (A to E) or the name of an experiment; all five by default. Runs that the store does not have
    yet are trained, with seeds 0 to N - 1; fewer than five give no verdict. SETTING=VALUE changes a setting of the
    guides, to see whether the comparison shows it. Exit code 1 if a published number is outside the 99 % prediction
    interval of one more run, or a number of parameters differs; 0 also if there is no verdict.
    """
    from harness.sweeps.guide_runs import find_guides, read_reproduction, train_missing

    guides = find_guides(word for word in words if "=" not in word)
    overrides = [word for word in words if "=" in word]
    _check_targets(output, into, figure)
    if not no_train:
        train_missing(guides, range(seeds), overrides)
    found = [read_reproduction(guide, range(seeds), overrides) for guide in guides]
    _present(found, form, output, into)
    if figure is not None:
        _draw(found, figure)
    outside = [f"{item.guide.letter} ({', '.join(item.outside)})" for item in found if item.outside]
    if outside:
        raise HarnessError(f"Not consistent with one more run of ours: {'; '.join(outside)}.")
    return 0


def _check_targets(output: Path | None, into: Path | None, figure: Path | None) -> None:
    if output is not None and into is not None:
        raise RequestError("--output and --into were given together. Use one of them.")
    if into is not None:
        if not into.is_file():
            raise RequestError(f"--into {into}: there is no such file.")
        text = into.read_text()
        if BEGIN not in text or END not in text[text.index(BEGIN) :]:
            raise RequestError(f"--into {into}: it needs the lines {BEGIN} and {END}, between which the result goes.")
    if figure is not None and figure.suffix.lower() != ".png":
        raise RequestError(f"--figure {figure}: pictures are written as .png.")
    for option, file in (("--output", output), ("--figure", figure)):
        if file is not None and not file.absolute().parent.is_dir():
            raise RequestError(f"{option} {file}: there is no folder {file.absolute().parent}.")


def _present(found: Sequence[Reproduction], form: str, output: Path | None, into: Path | None) -> None:
    console = terminal.console()
    if into is not None:
        text = into.read_text()
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        paths.write_text(into, f"{text[:start]}\n\n{render(found, 'markdown')}\n{text[end:]}")
        click.echo(f"Wrote {into}", err=True)
    elif output is not None:
        paths.write_text(output, render(found, form))
        click.echo(f"Wrote {output}", err=True)
    elif form == "table" and console.is_interactive:
        print_tables(found, console)
    else:
        click.echo(render(found, form), nl=False)


def _draw(found: Sequence[Reproduction], file: Path) -> None:
    from harness.figures.reproduction import GuideBand, draw

    bands = [
        GuideBand(
            guide=item.guide.letter,
            score=curve.metric.rpartition("/")[2],
            epochs=curve.epochs,
            published=tuple(point.published or 0.0 for point in curve.points),
            mean=tuple(point.mean for point in curve.points),
            low=tuple(point.low for point in curve.points),
            high=tuple(point.high for point in curve.points),
        )
        for item in found
        for curve in item.curves
    ]
    if not bands:
        raise RequestError("--figure: these guides printed no figures by epoch; A, B and C did.")
    with paths.atomic_path(file) as temporary:
        draw(bands, "What the guides printed, over the runs of their experiments").savefig(temporary, format="png")
    click.echo(f"Wrote {file}", err=True)
