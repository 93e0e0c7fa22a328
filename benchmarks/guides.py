"""The five guides as the benchmarks train them, four more models, and how much arithmetic an epoch of each is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders.task import CLASSES, KERNEL, SIDE

SUBSET = Path(__file__).resolve().parents[1] / "tests" / "data"


@dataclass(frozen=True)
class Guide:
    """A guide (A to E), or a model that regularises, augments or convolves (F to I): in words, and as overrides."""

    letter: str
    title: str
    overrides: tuple[str, ...]


GUIDES = (
    Guide("A", "Fashion-MNIST, 128, logits, Adam, batch 32", ("model=mlp_128", "optimizer=adam")),
    Guide(
        "B",
        "MNIST standardized, 128-128, softmax, one-hot, SGD, batch 32",
        (
            *("dataset=mnist", "dataset.preprocessing=standardize", "model=mlp_128_128", "model.head=softmax"),
            *("optimizer=sgd", "regime.labels=one_hot"),
        ),
    ),
    Guide(
        "C",
        "Fashion-MNIST, 128, logits, Adam, batch 200",
        ("model=mlp_128", "optimizer=adam", "regime.batch_size=200"),
    ),
    Guide(
        "D",
        "Fashion-MNIST, 55,000 images, 300-100, softmax, SGD, batch 32",
        ("model=mlp_300_100", "model.head=softmax", "optimizer=sgd", "regime=validated"),
    ),
    Guide(
        "E",
        "Fashion-MNIST, 128, softmax, Adam, batch 32",
        ("model=mlp_128", "model.head=softmax", "optimizer=adam"),
    ),
    Guide(
        "F",
        "Fashion-MNIST, 300-100 with dropout 0.2, Adam, batch 32",
        ("model=mlp_300_100", "model.dropout=0.2", "optimizer=adam"),
    ),
    Guide(
        "G",
        "Fashion-MNIST, 300-100 with batch norm, Adam, batch 32",
        ("model=mlp_300_100", "model.batch_norm=true", "optimizer=adam"),
    ),
    Guide(
        "H",
        "Fashion-MNIST shifted by up to 2 pixels, 300-100, Adam, batch 32",
        ("model=mlp_300_100", "model.shift=2", "optimizer=adam"),
    ),
    Guide("I", "Fashion-MNIST, 2,000 images, CNN of 32-64 and 128, Adam, batch 32", ("model=cnn", "optimizer=adam")),
)
FEW_IMAGES = {"I": 2_000}
"""Convolutions are many times the arithmetic, and JAX's scan takes many times as long for them as `fit`."""


def prepare(guide: Guide, folder: Path, quick: bool) -> dict[str, Any]:
    """The guide as a contender's task (see `contenders/task.py`), its training images written into `folder`.

    `quick` takes the bundled subset instead of the published images.
    """
    from harness.composing import compose_config
    from harness.data import load_dataset, split_dataset

    overrides = [*guide.overrides, *quick_overrides(quick)]
    if quick and "regime=validated" in guide.overrides:
        overrides.append("regime.validation.size=200")
    if not quick and guide.letter in FEW_IMAGES:
        overrides.append(f"dataset.train_size={FEW_IMAGES[guide.letter]}")
    config = compose_config(overrides)
    train = split_dataset(load_dataset(config.dataset), config.dataset, config.regime.validation).train
    data = folder / f"{guide.letter}.npz"
    np.savez(data, images=train.images, labels=train.labels)
    return {
        "data": str(data),
        "overrides": overrides,
        "images": len(train),
        "filters": list(config.model.filters) if config.model.architecture == "cnn" else [],
        "hidden": list(config.model.hidden),
        "dropout": config.model.dropout,
        "batch_norm": config.model.batch_norm,
        "shift": config.model.shift,
        "head": config.model.head,
        "optimizer": config.optimizer.name,
        "learning_rate": config.optimizer.learning_rate,
        "batch_size": config.regime.batch_size,
        "one_hot": config.regime.labels == "one_hot",
        "standardize": config.dataset.preprocessing == "standardize",
    }


def quick_overrides(quick: bool) -> list[str]:
    """What makes a run of the harness read the bundled subset."""
    return [f"dataset.directory={SUBSET}"] if quick else []


def training_flop(images: int, hidden: list[int], filters: Sequence[int] = ()) -> int:
    """Floating-point operations in the matrix products of one training epoch of a classifier of 28 x 28 pixels.

    With P weights in the kernels: 2P an image forward, 2P for the gradients of the weights, and 2P without the first
    layer for the gradients of the inputs, since nobody needs those of the pixels. A weight of a convolution counts once
    for each place of the image. Biases, activations, loss and optimizer are not counted.
    """
    first, every = _products(hidden, filters)
    return images * (2 * every + 2 * every + 2 * (every - first))


def inference_flop(images: int, hidden: list[int], filters: Sequence[int] = ()) -> int:
    """The same for one pass in inference mode."""
    return images * 2 * _products(hidden, filters)[1]


def _products(hidden: list[int], filters: Sequence[int]) -> tuple[int, int]:
    """Multiplications an image, of the first layer and of all."""
    products, side = [], SIDE
    for channels, outputs in itertools.pairwise([1, *filters]):
        products.append(side**2 * KERNEL**2 * channels * outputs)
        side //= 2
    sizes = [side**2 * [1, *filters][-1], *hidden, CLASSES]
    products += [inputs * outputs for inputs, outputs in itertools.pairwise(sizes)]
    return products[0], sum(products)
