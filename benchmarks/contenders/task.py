"""What every contender of a guide is given: the same images and the same settings, as plain files."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSES = 10
SIDE = 28
KERNEL = 3


@dataclass(frozen=True)
class Task:
    """A guide's training. `data` is an .npz of `images` (n, 28, 28) uint8 and `labels` (n,) uint8, already split;
    `overrides` say the same to the harness; `threads` is null for as many as the library takes by itself.

    For each of `filters` there is a convolution (3 x 3, "same") and a max pooling (2 x 2) before the dense layers of
    `hidden`. `batch_norm` comes before each activation, `dropout` (a rate) after each dense one; `shift` moves every
    training image by up to so many pixels each way, at random."""

    data: str
    overrides: list[str]
    filters: list[int]
    hidden: list[int]
    dropout: float
    batch_norm: bool
    shift: int
    head: str
    optimizer: str
    learning_rate: float
    batch_size: int
    one_hot: bool
    standardize: bool
    epochs: int
    threads: int | None = None
    tuned: bool = False

    @classmethod
    def from_arguments(cls) -> Task:
        """Read the file that the command line names."""
        settings = json.loads(Path(sys.argv[1]).read_text())
        return cls(**{item.name: settings[item.name] for item in fields(cls) if item.name in settings})

    def arrays(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Images (n, 784) prepared as the guide does it, and integer labels (n,)."""
        with np.load(self.data) as stored:
            pixels, labels = stored["images"].reshape(-1, SIDE * SIDE), stored["labels"].astype(np.int32)
        images = (pixels - pixels.mean()) / (pixels.std() + 1e-10) if self.standardize else pixels / 255
        return images.astype(np.float32), labels

    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each dense layer."""
        features = (SIDE // 2 ** len(self.filters)) ** 2 * self.filters[-1] if self.filters else SIDE * SIDE
        return list(itertools.pairwise([features, *self.hidden, CLASSES]))

    def convolutions(self) -> list[tuple[int, int]]:
        """(channels, filters) of each convolution."""
        return list(itertools.pairwise([1, *self.filters]))
