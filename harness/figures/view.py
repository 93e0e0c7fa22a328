"""What the figures of one run are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Evaluation, FloatArray, History, Split


@dataclass(frozen=True)
class RunView:
    """A run after training: its epochs, its data and what its final weights say.

    `evaluation` judges `split`, the test images; `train` is what it was trained on. `pixel_scale` (LEVELS,) is what the
    model's preprocessing makes of each grey value; `palette` is the setting of that name; so many labels of `train` as
    `noisy_labels` says are wrong on purpose.
    """

    history: History
    evaluation: Evaluation
    split: Split
    train: Split
    pixel_scale: FloatArray
    class_names: Sequence[str]
    title: str
    palette: str = "safe"
    noisy_labels: int = 0
