"""`harness data`: which datasets there are, fetching, checking, drawing and describing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from harness import data
from harness.commands.describing import Description, describe_dataset, description_lines
from harness.config.schema import (
    PREPROCESSING,
    PUBLISHED_SOURCE,
    SOURCES,
    Config,
    DatasetConfig,
    flatten,
)
from harness.errors import DataError, RequestError
from harness.figures.files import png_path, write_figure
from harness.records import WHITE, Dataset, Split
from harness.tabular import json_text, text_table, wrapped
from harness.terminal import doing

OWN = tuple(name for name in SOURCES if name != PUBLISHED_SOURCE)
"""The options of the group `dataset` for data of one's own."""

COLOUR_MAPS = ("viridis", "binary", "gray", "gray_r")
"""matplotlib's names; `binary` and `gray_r` are dark on white."""
LARGEST_GRID = 20
_ONE, _GRID = "viridis", "binary"


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    settings = [f"{key}=" for key in flatten(Config()) if key.startswith("dataset.")]
    return [word for word in (*data.PUBLICATIONS, *OWN, *settings) if word.startswith(incomplete)]


_named_dataset = click.argument(
    "words", metavar="DATASET [SETTING=VALUE]...", nargs=-1, required=True, shell_complete=_complete
)


@click.group(name="data")
def command() -> None:
    """List, fetch, verify, show and describe the datasets."""


@command.command(name="list", short_help="Show the datasets and whether the cache has them.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_datasets(form: str) -> None:
    """Show the published datasets and whether the cache has them, and the loaders that installed packages offer.

    It looks only at the sizes of the files; `harness data verify` reads them.
    """
    rows: list[dict[str, object]] = []
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
    loaders = data.offered()
    if form == "json":
        offers = [{"name": name, "state": "offered", "loader": found.value} for name, found in loaders.items()]
        click.echo(json_text([*rows, *offers]), nl=False)
        return
    cells = [
        (published.name, f"{published.train_size:,} + {published.test_size:,}", str(len(published.class_names)),
         str(row["state"]), str(row["folder"]))
        for row, published in zip(rows, data.PUBLICATIONS.values(), strict=True)
    ]  # fmt: skip
    cells += [(name, "", "", "offered", found.value) for name, found in loaders.items()]
    _print(text_table(("name", "images", "classes", "state", "where"), cells, {"images", "classes"}))
    if loaders:
        _print(["", "offered: dataset=python dataset.loader=NAME calls the function of an installed package."])
    _print(["", *wrapped([f"Data of your own: {', '.join(f'dataset={name}' for name in OWN)} (docs/datasets.md)."])])


@command.command(short_help="Download datasets into the cache and check them.")
@click.argument("names", nargs=-1)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write them to FOLDER/NAME instead of the cache, for use with dataset.directory=FOLDER.",
)  # fmt: skip
def fetch(names: tuple[str, ...], directory: Path | None) -> None:
    """Download the datasets NAMES (by default all) into the cache, and check them.

    Files that are there and undamaged are not downloaded again.
    """
    failures = []
    for published in _chosen(names):
        try:
            obtained = data.obtain(published, None if directory is None else directory.expanduser().resolve())
        except DataError as error:
            failures.append(str(error))
            continue
        how = "was there already" if obtained.fetched_from is None else f"fetched from {obtained.fetched_from}"
        click.echo(f"{published.name}: {how}; all four files are undamaged, in {obtained.folder}")
    if failures:
        raise DataError("\n\n".join(failures))


@command.command(short_help="Compare every file with its SHA-256.")
@click.argument("names", nargs=-1)
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="A folder as for dataset.directory, instead of the cache.",
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
    help="A folder as for dataset.directory, instead of the cache.",
)  # fmt: skip


@command.command(short_help="Draw one image, or the first ones.")
@_named_dataset
@click.option("--index", type=int, metavar="I", help="Draw image I, counted from 0; by default the first.")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="Draw the first images with the names of their classes (5x5).")
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option("--cmap", type=click.Choice(COLOUR_MAPS), help=f"Colours; by default {_ONE}, with --grid {_GRID}.")
@click.option("--bar/--no-bar", default=True, help="Draw a colour bar beside one image (the default), or do not.")
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="By default NAME_SPLIT_I.png.")
@_from_folder
def show(
    words: tuple[str, ...],
    index: int | None,
    grid: str | None,
    split: str,
    cmap: str | None,
    bar: bool,
    output: Path | None,
    directory: Path | None,
) -> None:
    """Draw an image of a dataset with a colour bar, or with --grid the first ones with their classes.

    DATASET is the name of a published one, which is downloaded if the cache lacks it, or npz, image_folder, idx or
    python with their settings, as in dataset.file=F.npz.
    """
    if index is not None and grid is not None:
        raise RequestError("--index and --grid were given together. Draw one image with --index, or many with --grid.")
    config = _configured(words, directory)
    name = _in_file_names(config.name)
    rows, columns = (1, 1) if grid is None else _rows_and_columns(grid)
    which = f"{rows}x{columns}" if grid is not None else str(index or 0)
    target = png_path(output, f"{name}_{split}_{which}.png")
    dataset = data.load_dataset(config)
    if len(dataset.spec.image_shape) == 1:
        raise RequestError(
            f"{config.name} has vectors of {dataset.spec.image_shape[0]} values, which are no images to draw."
        )
    images, bar = _as_drawn(dataset.train if split == "train" else dataset.test), bar and _is_grey(dataset)
    kind = "training" if split == "train" else "test"
    held = f"{config.name} has {len(images):,} {kind} images"
    if not 0 <= (index or 0) < len(images):
        raise RequestError(f"--index {index}: {held}. Give a number from 0 to {len(images) - 1}.")
    if rows * columns > len(images):
        raise RequestError(f"--grid {grid}: needs {rows * columns}, and {held}. Ask for fewer.")

    from harness.figures.image_sheets import draw_image, draw_images

    title = _title(config)
    if grid is None:
        chosen = index or 0
        note = f"{kind} image {chosen}: {dataset.class_names[images.labels[chosen]]}"
        write_figure(draw_image(images.images[chosen], note, title, cmap or _ONE, bar), target)
    else:
        first = Split(images.images[: rows * columns], images.labels[: rows * columns])
        note = f"The first {len(first)} of {len(images):,} {kind} images."
        write_figure(draw_images(first, dataset.class_names, note, title, columns, cmap or _GRID), target)
    click.echo(f"Wrote {target}")


def _rows_and_columns(grid: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})[xX](\d{1,3})", grid.strip())
    rows, columns = map(int, found.groups()) if found else (0, 0)
    if not (1 <= rows <= LARGEST_GRID and 1 <= columns <= LARGEST_GRID):
        raise RequestError(f"--grid {grid}: must be ROWSxCOLUMNS, such as 5x5, each from 1 to {LARGEST_GRID}.")
    return rows, columns


@command.command(short_help="Show shapes, classes, labels, values and duplicates.")
@_named_dataset
@click.option(
    "--preprocessing", type=click.Choice(PREPROCESSING), default=PREPROCESSING[0], show_default=True,
    help="How pixel values are normalised.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="Also draw what was found.")
@_from_folder
def describe(
    words: tuple[str, ...], preprocessing: str, form: str, output: Path | None, directory: Path | None
) -> None:
    """Show the arrays of a dataset, how many images each class has, the range of their values, images that are there
    twice, and of grey images the pixel values before and after normalisation.

    DATASET is the name of a published one, or npz, image_folder, idx or python with their settings, as on the command
    line of harness train:

    \b
      harness data describe mnist
      harness data describe npz dataset.file=digits.npz
      harness data describe image_folder dataset.directory=pictures dataset.image_size=[32,32] --output pictures.png

    Normalisation is computed in float64, as in a notebook; a model computes it in float32.
    """
    config = _configured(words, directory)
    target = None if output is None else png_path(output, f"{_in_file_names(config.name)}_pixel_values.png")
    dataset = data.load_dataset(config)
    with doing(f"Looking at {config.name}"):
        description = describe_dataset(dataset, preprocessing)
    if form == "json":
        click.echo(json_text(description.as_json()), nl=False)
    else:
        _print(description_lines(description))
    if target is not None:
        write_figure(_drawn(config, dataset, description), target)
        click.echo(f"Wrote {target}", err=form == "json")


def _drawn(config: DatasetConfig, dataset: Dataset, description: Description) -> Any:
    """The figure of what was found."""
    if config.source != PUBLISHED_SOURCE or description.pixel_scale is None:
        from harness.figures import dataset_overview

        return dataset_overview.draw(dataset_overview.compute(dataset), _title(config))
    from harness.figures import image_sheets

    label = dataset.class_names[dataset.train.labels[0]]
    values = image_sheets.compute_pixel_values(dataset.train.images[0], description.pixel_scale)
    title = f"{_title(config)}, {description.preprocessing}"
    return image_sheets.draw_pixel_values(values, f"First training image ({label})", title)


def _print(lines: Iterable[str]) -> None:
    click.echo("\n".join(lines))


def _configured(words: Sequence[str], directory: Path | None) -> DatasetConfig:
    """The dataset that the words of a command line name: `mnist`, `dataset=mnist`, or `npz dataset.file=F.npz`."""
    first = words[0].removeprefix("dataset=")
    folder = None if directory is None else str(directory)
    if len(words) == 1 and "=" not in first and first not in OWN:
        return DatasetConfig(name=data.publication(first).name, directory=folder)
    from harness.composing import compose_config
    from harness.config.schema import references
    from harness.user_code import allow

    chosen = [] if "=" in first else [f"dataset={first}"]
    named = [] if folder is None else [f"dataset.directory={folder}"]
    config = compose_config([*chosen, *words[len(chosen) :], *named])
    allow(references(config).values())
    return config.dataset


def _is_grey(dataset: Dataset) -> bool:
    """Whether its images have the 8-bit grey values that a colour bar shows."""
    return dataset.train.images.dtype == np.uint8 and len(dataset.spec.image_shape) == 2


def _as_drawn(split: Split) -> Split:
    """Images of numbers that are no bytes from black, the least value of all, to white, the greatest."""
    images = split.images
    if images.dtype == np.uint8:
        return split
    low, high = float(images.min()), float(images.max())
    return Split(((images - low) * (WHITE / ((high - low) or 1))).astype(np.uint8), split.labels)


def _title(config: DatasetConfig) -> str:
    return data.publication(config.name).title if config.source == PUBLISHED_SOURCE else config.name


def _in_file_names(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _chosen(names: tuple[str, ...]) -> list[data.Publication]:
    """The datasets asked for, each once; every name is looked up before any work begins."""
    return [data.publication(name) for name in dict.fromkeys(names or data.PUBLICATIONS)]
