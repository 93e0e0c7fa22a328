"""PyTorch: the loop that one writes manually when the images fit into memory, without a DataLoader.

Batches this small can be slower with more threads, so it takes one or all, whichever is faster for one epoch. The
optimizer is the fused one. The accuracy is measured after the clock has stopped.
"""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import CLASSES, Task


def build(task: Task) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model that puts out logits (a guide's softmax is part of the loss here), and its optimizer."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in task.layers():
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizers = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return model, optimizers[task.optimizer](model.parameters(), lr=task.learning_rate, fused=True)


def train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
    batch_size: int,
) -> float:
    """One epoch in a new order; returns its seconds."""
    started = time.perf_counter()
    total = torch.zeros(())
    for batch in torch.randperm(len(images)).split(batch_size):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    float(total)
    return time.perf_counter() - started


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    arrays = task.arrays()
    images, labels = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]).long()
    targets = functional.one_hot(labels, CLASSES).float() if task.one_hot else labels

    seconds = {}
    for threads in {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        seconds[threads] = train_epoch(*build(task), images, targets, task.batch_size)
    torch.set_num_threads(min(seconds, key=lambda threads: seconds[threads]))
    model, optimizer = build(task)
    gate.answer(setting={"torch": torch.__version__, "threads": torch.get_num_threads()})

    for _ in range(task.epochs):
        gate.wait()
        taken = train_epoch(model, optimizer, images, targets, task.batch_size)
        with torch.no_grad():
            accuracy = (model(images).argmax(1) == labels).float().mean()
        gate.answer(seconds=taken, accuracy=float(accuracy))


if __name__ == "__main__":
    main()
