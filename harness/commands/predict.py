"""`harness predict`: predicts test images, or your own pictures, with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.commands.chosen_images import Choice, ChosenImage, choose, load, told
from harness.commands.store_option import import_option, store_option
from harness.config.schema import PALETTES
from harness.data.fitting import FITS
from harness.errors import DataError, RequestError
from harness.figures.files import png_path, write_figure
from harness.figures.view import PredictedImage, check_picture
from harness.records import RunRecord
from harness.run.load import TrainedRun, open_model, read_config, recorded_shape
from harness.tabular import json_text, text_table
from harness.tracking.models import find_trained
from harness.tracking.store import Store

FIRST = 25
LAYOUTS = ("single", "grid", "sheet", "line")
CAPTIONS = ("percent", "names", "indices")
COLUMNS = 3
DEFAULT_FILE = "predictions.png"
GRID_AT_MOST = 15
"""Above it a sheet is drawn unless something else is asked for."""
DRAWN_AT_MOST = 400


@dataclass(frozen=True)
class SheetRequest:
    """The picture that was asked for; what is None was not said."""

    file: Path
    layout: str | None
    palette: str | None
    columns: int | None
    captions: str | None

    def layout_for(self, count: int) -> str:
        """The layout of a picture of `count` images. Raises `RequestError` for one that does not go with the rest."""
        layout = self.layout or ("single" if count == 1 else "grid" if count <= GRID_AT_MOST else "sheet")
        if layout in ("single", "line") and count != 1:
            raise RequestError(f"--layout {layout} shows one image, and there are {count:,}. Choose grid or sheet.")
        if count > DRAWN_AT_MOST:
            raise RequestError(
                f"--output: {count:,} images are too many for one picture, which shows up to {DRAWN_AT_MOST}. Choose "
                "fewer, or leave --output out."
            )
        for name, value, owner in (("columns", self.columns, "grid"), ("captions", self.captions, "sheet")):
            if value is not None and layout != owner:
                raise RequestError(
                    f"--{name} {value}: only a {owner} has {name}, and {count} "
                    f"image{' is' if count == 1 else 's are'} drawn as {layout}. Add --layout {owner}, or leave "
                    f"--{name} out."
                )
        if self.palette is not None and layout == "line":
            raise RequestError(f"--palette {self.palette}: a line has no colours of right and wrong. Leave it out.")
        return layout


@click.command("predict")
@click.argument("run", metavar="RUN")
@click.argument("more", nargs=-1, metavar="")
@click.option(
    "--index", "indices", multiple=True, metavar="I ...",
    help="Test images, counted from 0: 8, 0-14 or 0,3,7-9.  [default: 0-24]",
)  # fmt: skip
@click.option(
    "--image", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE ...",
    help="Image files of any size; they are scaled to the run's images, and made grey if these are.",
)  # fmt: skip
@click.option(
    "--npy", "array", type=click.Path(path_type=Path), metavar="FILE",
    help="A NumPy file with arrays of the shape and type of the run's data, or one of them.",
)  # fmt: skip
@click.option("--fit", type=click.Choice(list(FITS)), help="How files are scaled; by default as RUN's dataset was.")
@click.option("--invert", is_flag=True, help="Negate files or array: models expect light objects on a dark background.")
@click.option("--top", type=click.IntRange(1), metavar="K", help="Show the K most probable classes.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="Draw the images and probabilities.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Layout of PNG; by default single for one image, grid for up to 15, else sheet.",
)
@click.option("--columns", type=click.IntRange(1, 10), metavar="N", help="Columns of a grid.  [default: 3]")
@click.option("--captions", type=click.Choice(CAPTIONS), help="Captions of a sheet.  [default: percent]")
@click.option(
    "--palette", type=click.Choice(PALETTES), help="Colours of right and wrong predictions.  [default: the run's]"
)
@import_option
@store_option
def command(
    run: str,
    more: tuple[str, ...],
    indices: tuple[str, ...],
    files: tuple[Path, ...],
    array: Path | None,
    fit: str | None,
    invert: bool,
    top: int | None,
    form: str,
    output: Path | None,
    layout: str | None,
    columns: int | None,
    captions: str | None,
    palette: str | None,
    store: Store,
) -> None:
    """Predict images with the model of RUN: the first 25 test images, or those that you name.

    RUN is a run's id, the beginning of it, or its name; `latest`; `best` (of the latest experiment, by held-out
    accuracy); or a registered model (NAME, NAME/3, NAME@alias).
    """
    choice = choose(indices, files, array, more, fit, invert, FIRST)
    drawing = _drawing(choice, output, layout, palette, columns, captions)
    record = find_trained(store, run)
    config = read_config(store, record)
    click.echo(_headline(record, config.dataset.name), err=True)
    _, classes = recorded_shape(record, config)
    if top is not None and top > classes:
        raise RequestError(f"--top {top}: the model of {record.name} knows {classes} classes. Choose 1 to {classes}.")
    images, faults = load(choice, record, config)
    if drawing is not None and drawing.layout_for(len(images)) != "line":
        check_picture(images[0].image)
    trained = open_model(store, record, config)  # imports TensorFlow: everything that can be refused has been
    predicted = predict(trained, images)
    if form == "json":
        click.echo(json_text(_document(trained, images, predicted, top)), nl=False)
    else:
        click.echo("\n".join(_table(images, predicted, trained.class_names, top)))
    if drawing is not None:
        _draw(drawing, predicted, trained)
    if faults:
        raise DataError(told(faults, len(images) + len(faults)))


def predict(trained: TrainedRun, images: Sequence[ChosenImage]) -> list[PredictedImage]:
    """Each image with its probabilities; a file goes by its name without the folders."""
    import numpy as np

    probabilities = trained.probabilities(np.stack([each.image for each in images]))
    return [
        PredictedImage(each.image, row, each.true, each.label.rpartition("/")[2], each.index)
        for each, row in zip(images, probabilities, strict=True)
    ]


def _drawing(
    choice: Choice,
    output: Path | None,
    layout: str | None,
    palette: str | None,
    columns: int | None,
    captions: str | None,
) -> SheetRequest | None:
    """The picture asked for, with all that can be said against it before anything is read."""
    if output is None:
        options = {"layout": layout, "palette": palette, "columns": columns, "captions": captions}
        if useless := [f"--{name}" for name, value in options.items() if value is not None]:
            raise RequestError(f"{' and '.join(useless)}: there is no picture to draw. Add --output FILE.png.")
        return None
    drawing = SheetRequest(png_path(output, DEFAULT_FILE), layout, palette, columns, captions)
    if choice.count is not None:
        drawing.layout_for(choice.count)
    return drawing


def _headline(run: RunRecord, dataset: str) -> str:
    scores = [
        f"{split} accuracy {run.metrics[name]:.1%}"
        for split, name in (("validation", "final/val_accuracy"), ("test", "final/test_accuracy"))
        if name in run.metrics
    ]
    return f"Run {run.name} ({run.run_id}) of experiment {run.experiment}: {', '.join([dataset, *scores])}"


def _ranked(predicted: PredictedImage, top: int) -> list[int]:
    """The `top` most probable classes, the most probable first, the lower class first of equals."""
    return [int(each) for each in (-predicted.probabilities).argsort(kind="stable")[:top]]


def _table(
    images: Sequence[ChosenImage], predicted: Sequence[PredictedImage], names: Sequence[str], top: int | None
) -> list[str]:
    """Lines of a table, and how many are right where the classes are known."""
    known = [each for each in predicted if each.true is not None]
    header = ["image", "predicted", "probability"] + (["true", "right?"] if known else [])
    header += ["most probable"] if top is not None else []
    rows = []
    for image, each in zip(images, predicted, strict=True):
        row = [image.label, names[each.predicted], f"{each.confidence:.1%}"]
        if each.true is not None:
            row += [names[each.true], "yes" if each.right else "no"]
        if top is not None:
            row.append(", ".join(f"{names[index]} {each.probabilities[index]:.1%}" for index in _ranked(each, top)))
        rows.append(row)
    lines = text_table(header, rows, {"probability"})
    if known:
        lines += ["", f"{sum(each.right is True for each in known):,} of {len(known):,} right"]
    return lines


def _document(
    trained: TrainedRun, images: Sequence[ChosenImage], predicted: Sequence[PredictedImage], top: int | None
) -> dict[str, Any]:
    """All of it for programs: probabilities are fractions, in the order of the classes, or of rank with `top`."""
    names = trained.class_names
    rows = []
    for image, each in zip(images, predicted, strict=True):
        order = range(len(names)) if top is None else _ranked(each, top)
        rows.append({
            "image": image.label,
            "index": image.index,
            "predicted": each.predicted,
            "predicted_name": names[each.predicted],
            "probability": each.confidence,
            "probabilities": {names[index]: float(each.probabilities[index]) for index in order},
            "true": each.true,
            "true_name": None if each.true is None else names[each.true],
            "right": each.right,
        })  # fmt: skip
    record = trained.record
    return {
        "run_id": record.run_id,
        "run_name": record.name,
        "dataset": trained.config.dataset.name,
        "predictions": rows,
    }


def _draw(drawing: SheetRequest, predicted: Sequence[PredictedImage], trained: TrainedRun) -> None:
    from harness.figures import predictions as figures

    names, title = trained.class_names, trained.record.name
    palette = drawing.palette or trained.config.palette
    layout = drawing.layout_for(len(predicted))
    if layout == "single":
        figure = figures.draw_prediction(predicted[0], names, palette, title)
    elif layout == "line":
        figure = figures.draw_probability_line(predicted[0], names, title)
    elif layout == "grid":
        figure = figures.draw_prediction_grid(predicted, names, drawing.columns or COLUMNS, palette, title)
    else:
        figure = figures.draw_sheet(predicted, names, drawing.captions or CAPTIONS[0], palette, title)
    write_figure(figure, drawing.file)
    click.echo(f"Wrote {drawing.file}", err=True)
