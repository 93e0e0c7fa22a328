"""`harness inspect`: the layers of a trained model, and their outputs for an image."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import click

from harness.commands.chosen_images import Choice, choose, load
from harness.commands.layer_views import (
    Observation,
    draw_outputs,
    draw_weights,
    output_document,
    output_table,
    summary_document,
    summary_table,
    weights_document,
    weights_table,
)
from harness.commands.store_option import import_option, store_option
from harness.config.schema import Config
from harness.data.fitting import FITS
from harness.errors import RequestError
from harness.figures.files import png_path
from harness.models.inspection import (
    ALL,
    Layer,
    LayerOutput,
    describe_layers,
    observe_layers,
    read_kernels,
    select_layers,
)
from harness.records import RunRecord
from harness.run.load import TrainedRun, open_model, read_config, test_images
from harness.tracking.models import find_trained
from harness.tracking.store import Store


@click.command("inspect")
@click.argument("run", metavar="RUN")
@click.option("--layer", metavar="NAME", help="Show the output of this layer for an image; all: of every layer.")
@click.option("--index", type=click.IntRange(0), metavar="I", help="The test image, counted from 0.  [default: 0]")
@click.option("--image", type=click.Path(path_type=Path), metavar="FILE", help="An image file instead, of any size.")
@click.option(
    "--npy", type=click.Path(path_type=Path), metavar="FILE",
    help="A NumPy file instead, with one array of the shape and type of the run's data.",
)  # fmt: skip
@click.option("--fit", type=click.Choice(list(FITS)), help="How FILE is scaled; by default as RUN's dataset was.")
@click.option("--invert", is_flag=True, help="Negate FILE: models expect light objects on a dark background.")
@click.option("--weights", is_flag=True, help="Show the weights; the picture has those of the first layer.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="PNG", help="Draw outputs or weights.")
@import_option
@store_option
def command(
    run: str,
    layer: str | None,
    index: int | None,
    image: Path | None,
    npy: Path | None,
    fit: str | None,
    invert: bool,
    weights: bool,
    form: str,
    output: Path | None,
    store: Store,
) -> None:
    """Show the layers of RUN's model, or their outputs for one image.

    RUN is a run's id, the beginning of it, or its name; `latest`; `best` (of the latest experiment, by held-out
    accuracy); or a registered model (NAME, NAME/3, NAME@alias).

    Without options it lists the layers. With an image or --output, and no --layer, it shows every layer. A unit of a
    ReLU is off if it is 0 for the image, and dead if it is 0 for every test image of the dataset. A channel of a
    convolution is one unit: it is 0 if it is 0 at every position.
    """
    indices = () if index is None else (str(index),)
    files = () if image is None else (image,)
    choice = choose(indices, files, npy, (), fit, invert, first=1)
    named = bool(indices or files or npy)
    if weights and (named or layer is not None):
        raise RequestError("--weights: weights belong to no image, and all layers are listed. Use it by itself.")
    if output is not None:
        output = png_path(output, "layers.png")
    record = find_trained(store, run)
    _remark(f"Run {record.name} ({record.run_id}) of experiment {record.experiment}")
    config = read_config(store, record)
    if weights:
        _show_weights(open_model(store, record, config), form, output)
    elif layer is None and not named and output is None:
        _show_summary(open_model(store, record, config), form)
    else:
        _show_outputs(store, record, config, choice, layer or ALL, form, output)


def _show_summary(trained: TrainedRun, form: str) -> None:
    layers = describe_layers(trained.model)
    _print(trained, form, summary_table(layers), summary_document(layers))
    if form == "table":
        _remark(f"Their outputs for a test image: harness inspect {trained.record.run_id[:8]} --layer all")


def _show_weights(trained: TrainedRun, form: str, output: Path | None) -> None:
    kernels = read_kernels(trained.model)
    _print(trained, form, weights_table(kernels), weights_document(kernels))
    if output is not None:
        draw_weights(kernels[0], trained.spec.image_shape, trained.record.name, output)
        _remark(f"Wrote {output}")
    elif form == "table":
        _remark(f"Those of {kernels[0].layer} as pictures: add --output FILE.png")


def _show_outputs(
    store: Store, record: RunRecord, config: Config, choice: Choice, name: str, form: str, output: Path | None
) -> None:
    images, _ = load(choice, record, config)
    if len(images) != 1:
        raise RequestError(f"--npy {choice.array}: it holds {len(images):,} images. Save one of them: array[0].")
    seen_by_all = test_images(record, config).images
    trained = open_model(store, record, config)  # imports TensorFlow: what can be refused without it has been
    layers = describe_layers(trained.model)
    chosen = select_layers(layers, name)
    outputs = observe_layers(trained.model, chosen, images[0].image, seen_by_all)
    probabilities = trained.probabilities(images[0].image[None])[0]
    seen = Observation(images[0], probabilities, outputs, trained.class_names)
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf
    lines = [seen.headline, "", *output_table(outputs, room)]
    if len(outputs) == 1:
        lines += _said_of_one(outputs[0], layers)
    _print(trained, form, lines, output_document(seen))
    if output is not None:
        draw_outputs(seen, trained.record.name, output)
        _remark(f"Wrote {output}")
    elif form == "table":
        _remark("As a picture: add --output FILE.png" + ("" if name == ALL else "; its values: --format json"))


def _said_of_one(output: LayerOutput, layers: Sequence[Layer]) -> list[str]:
    """Which units are dead, and where to look for what the activation makes of a linear layer's output."""
    lines = []
    if output.dead is not None and output.dead.any():
        dead = ", ".join(str(unit) for unit in output.dead.nonzero()[0])
        lines.append(fill(f"dead: {dead}", 100, subsequent_indent="  "))
    followers = [layer.name for layer in layers if layer.name.startswith(f"{output.layer.name}_") and layer.activation]
    if followers and output.layer.activation is None:
        lines.append(f"These are the sums before the activation; after it: --layer {followers[0]}")
    return lines


def _print(trained: TrainedRun, form: str, lines: Sequence[str], document: Mapping[str, Any]) -> None:
    if form == "table":
        click.echo("\n".join(lines))
        return
    run = {
        "run_id": trained.record.run_id,
        "run_name": trained.record.name,
        "model": trained.config.model.name,
        "dataset": trained.config.dataset.name,
    }
    has_values = any("values" in layer for layer in document.get("layers", ()))
    click.echo(json.dumps(run | dict(document), indent=None if has_values else 2))


def _remark(text: str) -> None:
    """On standard error: the result alone goes to standard output."""
    click.echo(text, err=True)
