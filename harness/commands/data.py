"""`harness data`: which datasets there are, fetching them, and checking what lies in the cache."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from harness import data
from harness.errors import DataError

STYLES = {data.FileState.OK: "green", data.FileState.DAMAGED: "bold red", data.FileState.MISSING: "yellow"}


@click.group(name="data")
def command() -> None:
    """List, fetch and verify the datasets."""


@command.command(name="list", short_help="Show the datasets and what the cache holds of them.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_datasets(form: str) -> None:
    """Show the datasets and what the cache seems to hold of them.

    Files are judged by their size here; `harness data verify` reads them.
    """
    rows = []
    for published in data.PUBLICATIONS.values():
        state, folder = data.summary(published)
        rows.append({
            "name": published.name,
            "title": published.title,
            "train_images": published.train_size,
            "test_images": published.test_size,
            "classes": list(published.class_names),
            "licence": published.licence,
            "state": state,
            "folder": str(folder),
        })  # fmt: skip
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "images", "classes", "state", "where")
    table.columns[-1].overflow = "fold"
    for row, published in zip(rows, data.PUBLICATIONS.values(), strict=True):
        images = f"{published.train_size:,} + {published.test_size:,}"
        table.add_row(published.name, images, str(len(published.class_names)), str(row["state"]), str(row["folder"]))
    Console().print(table)


@command.command(short_help="Fetch datasets into the cache and check them.")
@click.argument("names", nargs=-1)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Place them in FOLDER/NAME instead of the cache, to be used with dataset.directory=FOLDER.",
)  # fmt: skip
def fetch(names: tuple[str, ...], directory: Path | None) -> None:
    """Fetch the datasets NAMES (by default all) into the cache, and check them.

    What is there and sound is left alone.
    """
    failures = []
    for published in _chosen(names):
        try:
            obtained = data.obtain(published, None if directory is None else directory.expanduser().resolve())
        except DataError as error:
            failures.append(str(error))
            continue
        how = "was there already" if obtained.fetched_from is None else f"fetched from {obtained.fetched_from}"
        click.echo(f"{published.name}: {how}; all four files are sound, in {obtained.folder}")
    if failures:
        raise DataError("\n\n".join(failures))


@command.command(short_help="Compare every file with its SHA-256.")
@click.argument("names", nargs=-1)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="A folder as dataset.directory takes it, instead of the cache.",
)  # fmt: skip
def verify(names: tuple[str, ...], directory: Path | None) -> None:
    """Read every file of the datasets NAMES (by default all) and compare it with its SHA-256."""
    table = Table("dataset", "file", "state", "problem")
    table.columns[-1].overflow = "fold"
    faulty = []
    for published in _chosen(names):
        if directory is None:
            folder, sums = data.default_root() / published.name, published.sums
        else:
            folder = data.locate(directory.expanduser().resolve(), published)
            sums = data.demanded_sums(folder, published)
        for file in data.examine(folder, sums):
            state = f"[{STYLES[file.state]}]{file.state}[/]"
            detail = file.problem if file.state is data.FileState.DAMAGED else ""
            table.add_row(published.name, file.name, state, detail)
            if file.state is not data.FileState.OK:
                faulty.append(f"{folder / file.name} {file.problem}")
    Console().print(table)
    if faulty:
        remedy = "Repair the folder." if directory else "`harness data fetch` fetches what is missing or damaged."
        raise DataError("\n".join([*faulty, remedy]))


def _chosen(names: tuple[str, ...]) -> list[data.Publication]:
    """The datasets asked for, each once; every name is looked up before any work begins."""
    return [data.publication(name) for name in dict.fromkeys(names or data.PUBLICATIONS)]
