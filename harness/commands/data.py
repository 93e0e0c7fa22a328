"""`harness data`: which datasets there are, fetching, checking, drawing and describing them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import click

from harness import data
from harness.analysis.pages import wrapped
from harness.commands.describing import Description, describe_dataset
from harness.commands.tables import text_table
from harness.config.schema import PREPROCESSING, DatasetConfig
from harness.errors import DataError, RequestError
from harness.figures.files import png_path, write_png
from harness.records import Dataset, Split

COLOUR_MAPS = ("viridis", "binary", "gray", "gray_r")
"""matplotlib's names; `binary` and `gray_r` are dark on white."""
LARGEST_GRID = 20
_ONE, _GRID = "viridis", "binary"


@click.group(name="data")
def command() -> None:
    """List, fetch, verify, show and describe the datasets."""


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
    cells = [
        (published.name, f"{published.train_size:,} + {published.test_size:,}", str(len(published.class_names)),
         str(row["state"]), str(row["folder"]))
        for row, published in zip(rows, data.PUBLICATIONS.values(), strict=True)
    ]  # fmt: skip
    _print(text_table(("name", "images", "classes", "state", "where"), cells, {"images", "classes"}))


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
    cells, faulty = [], []
    for published in _chosen(names):
        if directory is None:
            folder, sums = data.default_root() / published.name, published.sums
        else:
            folder = data.locate(directory.expanduser().resolve(), published)
            sums = data.demanded_sums(folder, published)
        for file in data.examine(folder, sums):
            detail = file.problem if file.state is data.FileState.DAMAGED else ""
            cells.append((published.name, file.name, str(file.state), detail))
            if file.state is not data.FileState.OK:
                faulty.append(f"{folder / file.name} {file.problem}")
    _print(text_table(("dataset", "file", "state", "problem"), cells))
    if faulty:
        remedy = "Repair the folder." if directory else "`harness data fetch` fetches what is missing or damaged."
        raise DataError("\n".join([*faulty, remedy]))


_from_folder = click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="A folder as dataset.directory takes it, instead of the cache.",
)  # fmt: skip


@command.command(short_help="Draw one image, or the first ones.")
@click.argument("name")
@click.option("--index", type=int, metavar="I", help="Draw image I, counted from 0; by default the first.")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="Draw the first images with the names of their classes (5x5).")
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option("--cmap", type=click.Choice(COLOUR_MAPS), help=f"Colours; by default {_ONE}, with --grid {_GRID}.")
@click.option("--bar/--no-bar", default=True, help="Draw the colours' bar beside one image (the default), or do not.")
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="By default NAME_SPLIT_I.png.")
@_from_folder
def show(
    name: str,
    index: int | None,
    grid: str | None,
    split: str,
    cmap: str | None,
    bar: bool,
    output: Path | None,
    directory: Path | None,
) -> None:
    """Draw an image of the dataset NAME with a colour bar, or with --grid the first ones with their classes.

    What the cache lacks is fetched.
    """
    if index is not None and grid is not None:
        raise RequestError("--index and --grid were given together. Draw one image with --index, or many with --grid.")
    data.publication(name)
    rows, columns = (1, 1) if grid is None else _rows_and_columns(grid)
    which = f"{rows}x{columns}" if grid is not None else str(index or 0)
    target = png_path(output, f"{name}_{split}_{which}.png")
    dataset = _loaded(name, directory)
    images = dataset.train if split == "train" else dataset.test
    kind = "training" if split == "train" else "test"
    held = f"{name} has {len(images):,} {kind} images"
    if not 0 <= (index or 0) < len(images):
        raise RequestError(f"--index {index}: {held}. Give a number from 0 to {len(images) - 1}.")
    if rows * columns > len(images):
        raise RequestError(f"--grid {grid}: needs {rows * columns}, and {held}. Ask for fewer.")

    from harness.figures.training_images import draw_image, draw_images

    title = data.publication(name).title
    if grid is None:
        chosen = index or 0
        note = f"{kind} image {chosen}: {dataset.class_names[images.labels[chosen]]}"
        write_png(draw_image(images.images[chosen], note, title, cmap or _ONE, bar), target)
    else:
        first = Split(images.images[: rows * columns], images.labels[: rows * columns])
        note = f"The first {len(first)} of {len(images):,} {kind} images."
        write_png(draw_images(first, dataset.class_names, note, title, columns, cmap or _GRID), target)
    click.echo(f"Wrote {target}")


def _rows_and_columns(grid: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})[xX](\d{1,3})", grid.strip())
    rows, columns = map(int, found.groups()) if found else (0, 0)
    if not (1 <= rows <= LARGEST_GRID and 1 <= columns <= LARGEST_GRID):
        raise RequestError(f"--grid {grid}: must be ROWSxCOLUMNS, such as 5x5, each from 1 to {LARGEST_GRID}.")
    return rows, columns


@command.command(short_help="Show shapes, classes, labels and pixel values.")
@click.argument("name")
@click.option(
    "--preprocessing", type=click.Choice(PREPROCESSING), default=PREPROCESSING[0], show_default=True,
    help="What is done to the pixel values.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="Draw the pixel values, too.")
@_from_folder
def describe(name: str, preprocessing: str, form: str, output: Path | None, directory: Path | None) -> None:
    """Show the arrays of the dataset NAME, its classes and first labels, the one-hot encoding of the first one, and
    the pixel values of the first training image before and after normalisation.

    Normalisation is computed in float64, as by hand in a notebook; a model computes it in float32.
    """
    data.publication(name)
    target = None if output is None else png_path(output, f"{name}_pixel_values.png")
    dataset = _loaded(name, directory)
    description = describe_dataset(dataset, preprocessing)
    if form == "json":
        click.echo(json.dumps(description.as_json(), indent=2))
    else:
        _print_description(dataset, description)
    if target is not None:
        from harness.figures import pixel_values

        label = dataset.class_names[dataset.train.labels[0]]
        values = pixel_values.compute(dataset.train.images[0], description.pixel_scale)
        title = f"{data.publication(name).title}, {preprocessing}"
        write_png(pixel_values.draw(values, f"First training image ({label})", title), target)
        click.echo(f"Wrote {target}", err=form == "json")


def _print_description(dataset: Dataset, description: Description) -> None:
    cells = [(array.name, str(array.shape), array.dtype, f"{array.length:,}") for array in description.arrays]
    names = dataset.class_names
    numbered = [name if name == str(number) else f"{number} {name}" for number, name in enumerate(names)]
    lines = [
        f"Classes: {', '.join(numbered)}",
        f"First training labels: {_words(description.first_labels)}",
        f"First training label {description.first_labels[0]} as one-hot: {_words(description.one_hot)}",
        f"Pixel values of the first training image: {len(description.before)}",
        f"  before: {_words(description.before)}",
        f"  after {description.preprocessing}: {' '.join(f'{value:.5f}' for value in description.after)}",
        f"  first pixel (background): {description.background[0]} becomes {description.background[1]!r}",
        f"  brightest pixel: {description.brightest[0]} becomes {description.brightest[1]!r}",
    ]
    table = text_table(("array", "shape", "type", "length"), cells, {"length"})
    _print([f"{dataset.name}, from {dataset.source}", "", *table, "", *wrapped(lines)])


def _print(lines: Iterable[str]) -> None:
    click.echo("\n".join(lines))


def _words(values: Iterable[float]) -> str:
    return " ".join(map(str, values))


def _loaded(name: str, directory: Path | None) -> Dataset:
    return data.load_dataset(DatasetConfig(name=name, directory=None if directory is None else str(directory)))


def _chosen(names: tuple[str, ...]) -> list[data.Publication]:
    """The datasets asked for, each once; every name is looked up before any work begins."""
    return [data.publication(name) for name in dict.fromkeys(names or data.PUBLICATIONS)]
