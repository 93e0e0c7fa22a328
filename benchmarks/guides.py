"""The five guides as the benchmarks train them, and how much arithmetic an epoch of each is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUBSET = Path(__file__).resolve().parents[1] / "tests" / "data"


@dataclass(frozen=True)
class Guide:
    """A guide by its letter: in words, and as the harness's overrides."""

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
)


def prepare(guide: Guide, folder: Path, quick: bool) -> dict[str, Any]:
    """The guide as a contender's task (see `contenders/task.py`), its training images written into `folder`.

    `quick` takes the bundled subset instead of the published images.
    """
    from harness.composing import compose_config
    from harness.data import load_dataset, split_dataset

    overrides = [*guide.overrides, *quick_overrides(quick)]
    if quick and "regime=validated" in guide.overrides:
        overrides.append("regime.validation.size=200")
    config = compose_config(overrides)
    train = split_dataset(load_dataset(config.dataset), config.dataset, config.regime.validation).train
    data = folder / f"{guide.letter}.npz"
    np.savez(data, images=train.images, labels=train.labels)
    return {
        "data": str(data),
        "overrides": overrides,
        "images": len(train),
        "hidden": list(config.model.hidden),
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


def training_flop(images: int, hidden: list[int]) -> int:
    """Floating-point operations in the matrix products of one training epoch of a dense classifier of 784 pixels.

    With P weights in the kernels: 2P an image forward, 2P for the gradients of the weights, and 2P without the first
    layer for the gradients of the inputs, since nobody needs those of the pixels. Biases, activations, loss and
    optimizer are not counted.
    """
    first, every = _kernel_weights(hidden)
    return images * (2 * every + 2 * every + 2 * (every - first))


def inference_flop(images: int, hidden: list[int]) -> int:
    """The same for one pass in inference mode."""
    return images * 2 * _kernel_weights(hidden)[1]


def _kernel_weights(hidden: list[int]) -> tuple[int, int]:
    sizes = [784, *hidden, 10]
    kernels = [inputs * outputs for inputs, outputs in itertools.pairwise(sizes)]
    return kernels[0], sum(kernels)
