"""`harness figures`: the figures of a run or of a sweep, drawn again from the store, for the screen or for paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.commands.store_option import import_option, store_option
from harness.errors import NoPicture, RequestError, suggestion
from harness.figures import SELECTIONS
from harness.figures.files import FORMATS, figure_folder, write_figure
from harness.records import RunRecord
from harness.text import clean
from harness.tracking.models import find_run
from harness.tracking.reading import cached_reads
from harness.tracking.selection import is_sweep
from harness.tracking.store import Store

SWEEP_FEW = ("gap_bars", "train_against_held_out", "curves")
"""What is drawn of a sweep that no figure is named of."""


@click.command("figures")
@click.argument("run", metavar="RUN|SWEEP")
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@click.option("--all", "every", is_flag=True, help="Draw every figure.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("figures"), show_default=True, metavar="FOLDER",
    help="Folder for the files NAME.png; existing files of these names are replaced.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="png", show_default=True)
@click.option(
    "--width", type=click.FloatRange(2.0, 40.0), metavar="INCHES",
    help="Width of each figure: 3.3 for a column of a paper.  [default: what it needs]",
)  # fmt: skip
@click.option(
    "--font-size",
    type=click.FloatRange(4.0, 40.0),
    default=10.0,
    show_default=True,
    metavar="POINTS",
    help="Size of labels.",
)
@click.option("--dpi", type=click.IntRange(30, 1200), default=120, show_default=True, help="Dots per inch.")
@click.option("--title", metavar="TEXT", help="Title of each figure; '' for none.  [default: the name of RUN]")
@import_option
@store_option
def command(
    run: str, names: tuple[str, ...], every: bool, output: Path, form: str, width: float | None, font_size: float,
    dpi: int, title: str | None, store: Store,
) -> None:  # fmt: skip
    """Draw figures of RUN or SWEEP: the NAMEs that you give, or the three main ones.

    RUN is a run's id, the beginning of it, or its name; `latest`; `best` (of the latest experiment, by held-out
    accuracy); or a registered model. A SWEEP is named in the same ways. In PDF and SVG the text can be
    searched and edited.

    \b
    harness figures best learning_curves --format pdf --width 3.3 --font-size 8
    harness figures latest --all --output pictures
    """
    if names and every:
        raise RequestError(f"{' '.join(names)} and --all were given together. Name figures, or ask for all.")
    folder = figure_folder(output)
    with cached_reads(store):
        record = find_run(store, run)
    drawings = _of_sweep(store, record, title) if is_sweep(record) else _of_run(store, record, title)
    few = SWEEP_FEW if is_sweep(record) else tuple(Path(name).stem for name in SELECTIONS["few"])
    chosen = _chosen(names, every, drawings, few)

    from harness.figures.style import PaperSize, on_paper

    drawn = {}
    with on_paper(PaperSize(width, font_size, dpi)):
        for name in chosen:  # all that are asked for can be drawn, or none is written
            try:
                drawn[folder / f"{name}.{form}"] = drawings[name]()
            except NoPicture as reason:
                if names:
                    raise
                click.echo(f"Left out: {name}. {reason}", err=True)
    for target, figure in drawn.items():
        write_figure(figure, target)
        click.echo(f"Wrote {target}")


def _chosen(names: Sequence[str], every: bool, known: Mapping[str, object], few: Sequence[str]) -> list[str]:
    """The figures to draw. Raises `RequestError` for a name that is none of `known`."""
    if not names:
        return [name for name in known if every or name in few]
    wanted = list(dict.fromkeys(name.removesuffix(".png") for name in names))
    for name in wanted:
        if name not in known:
            raise RequestError(
                f"{clean(name)} is no figure of it; there are {', '.join(known)}.{suggestion(name, known)}"
            )
    return wanted


def _of_run(store: Store, record: RunRecord, title: str | None) -> dict[str, Callable[[], Any]]:
    from functools import partial

    from harness.figures.builders import BUILDERS
    from harness.run.stored_view import StoredView

    view = StoredView(store, record, title)
    return {Path(name).stem: partial(build, view) for name, build in BUILDERS.items()}


def _of_sweep(store: Store, record: RunRecord, title: str | None) -> dict[str, Callable[[], Any]]:
    """The figures that a report of the sweep has."""
    from functools import partial

    from harness.api.chosen_runs import whole_sweep
    from harness.api.comparing import compared, comparison_figures

    with cached_reads(store):
        chosen = whole_sweep(store, record)
    comparison = compared(store, chosen, lambda line: click.echo(line, err=True))
    words = record.name if title is None else title
    found: dict[str, Callable[[], Any]] = {
        name: partial(each.draw, words) for name, each in comparison_figures(store, comparison).items()
    }
    if not found:
        raise RequestError(f"The sweep {record.name} ({record.run_id}) has no finished run: there is nothing to draw.")
    return found
