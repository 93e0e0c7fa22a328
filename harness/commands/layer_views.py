"""The output of `harness inspect`: a table, JSON, and a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.commands.chosen_images import ChosenImage
from harness.figures.files import write_figure
from harness.figures.layers import compute_kernel, compute_output
from harness.models.inspection import BoolArray, Kernel, Layer, LayerOutput
from harness.records import FloatArray
from harness.tabular import Table, text_table

CLASS_LAYERS = ("output", "probabilities", "custom_logits", "custom_probabilities")
"""The layers whose units are the classes: the head, and the softmax that a head of logits is saved with."""

_NUMBERS = ("parameters", "min", "mean", "max", "deviation")
_EXPENDABLE = ("kind", "parameters", "output shape")
"""What a narrow table goes without, in this order: the summary has it too."""

_COUNTED = "Units count from 0; the number beside a row is that of its first unit."


@dataclass(frozen=True)
class Observation:
    """What was looked at: an image, the probabilities (classes,) that the model gives it, and what layers put out."""

    image: ChosenImage
    probabilities: FloatArray
    outputs: tuple[LayerOutput, ...]
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def headline(self) -> str:
        """`test image 0 (Ankle boot): predicted Ankle boot, 98.1%`."""
        true = "" if self.image.true is None else f" ({self.class_names[self.image.true]})"
        share = self.probabilities[self.predicted]
        name = self.image.label.rpartition("/")[2]  # of a file without its folders
        return f"{name}{true}: predicted {self.class_names[self.predicted]}, {share:.1%}"


def summary_table(layers: Sequence[Layer]) -> list[str]:
    """The lines of a model's summary, as Keras's `model.summary()` has it."""
    rows = [[layer.name, _kind(layer), _keras_shape(layer), f"{layer.parameters:,}"] for layer in layers]
    count = _totals(layers)
    return [
        *text_table(["layer", "kind", "output shape", "parameters"], rows, _NUMBERS),
        "",
        f"{count['total']:,} parameters: {count['trainable']:,} trainable, {count['not_trainable']:,} not trainable",
    ]


def output_table(outputs: Sequence[LayerOutput], room: float = math.inf) -> list[str]:
    """The lines of a table with a row for each layer, and what its words mean.

    While it is wider than `room` characters, columns are left out that the summary has too.
    """
    header = ["layer", "kind", "output shape", "parameters", "min", "mean", "max", "off", "dead"]
    rows = [_row(output) for output in outputs]
    while not any(row[-1] for row in rows):
        for cells in (header, *rows):
            del cells[-1]
    kinds = "".join("r" if heading in _NUMBERS else "l" for heading in header)
    table, left_out = Table("", header, rows, kinds).fitted(room, [*map(header.index, _EXPENDABLE)])
    lines = [*table.lines(), ""]
    if any(output.dead is not None for output in outputs):
        lines.append(f"off: units that are 0 for this image; dead: 0 for each of the {outputs[0].images:,} test images")
    if left_out:
        lines.append(f"Left out for want of room: {', '.join(header[place] for place in left_out)}")
    return lines if lines[-1] else lines[:-1]


def _row(output: LayerOutput) -> list[str]:
    layer, values = output.layer, output.values
    statistics = [f"{value:.4g}" for value in (values.min(), values.mean(), values.max())]
    units = [_of(output.off), _of(output.dead)]
    if layer.activation is not None and not layer.is_relu:
        units = ["", "not a ReLU"]
    return [layer.name, _kind(layer), _keras_shape(layer), f"{layer.parameters:,}", *statistics, *units]


def weights_table(kernels: Sequence[Kernel]) -> list[str]:
    """The lines of a table with a row for the weights of each layer that has some."""
    rows = []
    for kernel in kernels:
        values = kernel.values
        statistics = [f"{value:.4g}" for value in (values.min(), values.mean(), values.max(), values.std())]
        rows.append([kernel.layer, str(values.shape), *statistics])
    return text_table(["layer", "weights", "min", "mean", "max", "deviation"], rows, _NUMBERS)


def summary_document(layers: Sequence[Layer]) -> dict[str, Any]:
    """The summary for programs; shapes are those of one image."""
    return {"parameters": _totals(layers), "layers": [_layer(layer) for layer in layers]}


def output_document(seen: Observation) -> dict[str, Any]:
    """The outputs for programs: shares are fractions, units count from 0; a single layer has its values too."""
    return {
        "image": {
            "image": seen.image.label,
            "index": seen.image.index,
            "true": seen.image.true,
            "true_name": None if seen.image.true is None else seen.class_names[seen.image.true],
            "predicted": seen.predicted,
            "predicted_name": seen.class_names[seen.predicted],
            "probability": float(seen.probabilities[seen.predicted]),
        },
        "test_images": seen.outputs[0].images,
        "layers": [_output(output, with_values=len(seen.outputs) == 1) for output in seen.outputs],
    }


def _output(output: LayerOutput, with_values: bool) -> dict[str, Any]:
    document = _layer(output.layer) | _statistics(output.values)
    document |= {"zeros": output.zeros, "off": _units(output.off), "dead": _units(output.dead)}
    return document | ({"values": output.values.tolist()} if with_values else {})


def weights_document(kernels: Sequence[Kernel]) -> dict[str, Any]:
    """The statistics of the weights for programs."""
    return {
        "weights": [
            {"layer": kernel.layer, "shape": list(kernel.values.shape)}
            | _statistics(kernel.values)
            | {"deviation": float(kernel.values.std())}
            for kernel in kernels
        ]
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "activation": layer.activation,
        "output_shape": list(layer.shape),
        "parameters": layer.parameters,
        "trainable": layer.trainable,
    }


def _totals(layers: Iterable[Layer]) -> dict[str, int]:
    every = list(layers)
    total, trainable = sum(layer.parameters for layer in every), sum(layer.trainable for layer in every)
    return {"total": total, "trainable": trainable, "not_trainable": total - trainable}


def _statistics(values: FloatArray) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


def _units(which: BoolArray | None) -> dict[str, Any] | None:
    if which is None:
        return None
    return {"units": np.flatnonzero(which).tolist(), "count": int(which.sum()), "share": float(which.mean())}


def draw_outputs(seen: Observation, run_name: str, file: Path) -> None:
    """Write the figure with a panel for each layer. Raises `RequestError` where it cannot be written."""
    from harness.figures.layer_panels import draw

    panels = []
    for output in seen.outputs:
        classes = seen.class_names if output.layer.name in CLASS_LAYERS else ()
        lines = [f"{_kind(output.layer)}, {' × '.join(map(str, output.layer.shape))}"]
        if output.off is not None and output.dead is not None:
            zeros = f", {output.zeros:.0%} of values 0" if output.values.ndim > 1 else ""
            lines.append(f"off {_of(output.off)}, dead {output.dead.sum():,}{zeros}")
        marked = seen.image.true if classes else None
        panels.append(compute_output(output.layer.name, lines, output.values, output.dead, classes, marked))
    sheets = any(panel.sheet is not None for panel in panels)
    write_figure(draw(panels, f"{run_name}: {seen.headline}", _note(seen, sheets)), file)


def _note(seen: Observation, sheets: bool) -> str:
    """What a reader of the figure must be told."""
    sentences = []
    if sheets:
        sentences.append(_COUNTED)
    if any(output.dead is not None for output in seen.outputs):
        images = f"{seen.outputs[0].images:,}"
        sentences.append(f"Of a ReLU: grey is 0, × is dead (0 for each of the {images} test images).")
    if any(output.layer.name in CLASS_LAYERS for output in seen.outputs):
        sentences.append(
            "Blue: the predicted class." if seen.image.true is None else "Blue: predicted; bold: true class."
        )
    return " ".join(sentences)


def draw_weights(kernel: Kernel, image_shape: tuple[int, ...], run_name: str, file: Path) -> None:
    """Write the figure of the weights that see the pixels. Raises `RequestError` where it cannot be written."""
    from harness.figures.layer_panels import draw

    what = "an image for each unit" if kernel.values.ndim == 2 else "a tile for each channel"
    if (len(image_shape) == 3 and kernel.values.ndim == 2) or (kernel.values.ndim == 4 and kernel.values.shape[2] > 1):
        what += ", mean over the channels"
    lines = [f"Weights {' × '.join(map(str, kernel.values.shape))}, {what}"]
    write_figure(draw([compute_kernel(kernel.layer, lines, kernel.values, image_shape)], run_name, _COUNTED), file)


def _kind(layer: Layer) -> str:
    named = layer.activation is not None and layer.activation != layer.kind.lower()
    return f"{layer.kind} ({layer.activation})" if named else layer.kind


def _keras_shape(layer: Layer) -> str:
    return str((None, *layer.shape))


def _of(which: BoolArray | None) -> str:
    return "" if which is None else f"{which.sum():,} of {which.size:,} ({which.mean():.0%})"
