"""PyTorch Lightning as its tutorial has it: a module, a shuffling DataLoader over tensors in memory, a Trainer.

No progress bar, logger or checkpoints, which only helps it. Model, optimizer and number of threads are those of the
manual loop (`torch_loop.py`). An epoch is timed from `on_train_epoch_start` to `on_train_epoch_end`.
"""

from __future__ import annotations

import time
from typing import Any

import lightning
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import Task
from benchmarks.contenders.torch_loop import accuracy, build, shifted, take_threads, tensors


class Classifier(lightning.LightningModule):
    """The model of the manual loop."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self.model, self._optimizer = build(task)

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        images, targets = batch
        return functional.cross_entropy(self.model(shifted(images, self._task.shift)), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer


class Clock(lightning.Callback):
    """Starts each epoch when told to and reports how long it took."""

    def __init__(self, gate: Gate, images: torch.Tensor, labels: torch.Tensor) -> None:
        self._gate, self._images, self._labels = gate, images, labels

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._gate.wait()
        module.train()
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        seconds = time.perf_counter() - self._started
        self._gate.answer(seconds=seconds, accuracy=accuracy(module.model, self._images, self._labels))


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    images, labels, targets = tensors(task)
    threads = take_threads(task, images, targets)
    module = Classifier(task)
    loader = DataLoader(TensorDataset(images, targets), batch_size=task.batch_size, shuffle=True)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=task.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Clock(gate, images, labels)],
    )
    gate.answer(setting={"lightning": lightning.__version__, "threads": threads})
    trainer.fit(module, loader)


if __name__ == "__main__":
    main()
