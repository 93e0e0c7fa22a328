"""PyTorch: the loop that one writes manually when the images fit into memory, without a DataLoader.

Batches this small can be slower with more threads, so it takes one or all, whichever is faster for one epoch. The
optimizer is the fused one. The accuracy is measured after the clock has stopped.
"""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import CLASSES, KERNEL, SIDE, Task

PREDICTED_AT_ONCE = 1000


def build(task: Task) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model that puts out logits (a guide's softmax is part of the loss here), and its optimizer."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [torch.nn.Unflatten(1, (1, SIDE, SIDE))] if task.filters else []
    for channels, filters in task.convolutions():
        layers.append(torch.nn.Conv2d(channels, filters, KERNEL, padding="same"))
        layers += [torch.nn.BatchNorm2d(filters)] if task.batch_norm else []
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Flatten()] if task.filters else []
    *hidden, (features, classes) = task.layers()
    for inputs, outputs in hidden:
        layers.append(torch.nn.Linear(inputs, outputs))
        layers += [torch.nn.BatchNorm1d(outputs)] if task.batch_norm else []
        layers.append(torch.nn.ReLU())
        layers += [torch.nn.Dropout(task.dropout)] if task.dropout else []
    model = torch.nn.Sequential(*layers, torch.nn.Linear(features, classes))
    optimizers = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return model, optimizers[task.optimizer](model.parameters(), lr=task.learning_rate, fused=True)


def shifted(images: torch.Tensor, most: int) -> torch.Tensor:
    """Each of the images (n, 784) moved by up to `most` pixels each way; 0 comes in behind."""
    if not most:
        return images
    padded = functional.pad(images.view(-1, SIDE, SIDE), (most, most, most, most))
    moves = torch.randint(0, 2 * most + 1, (2, len(images), 1))
    rows, columns = moves + torch.arange(SIDE)
    each = torch.arange(len(images))[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].flatten(1)


def train_epoch(
    task: Task,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
) -> float:
    """One epoch in a new order; returns its seconds."""
    model.train()
    started = time.perf_counter()
    total = torch.zeros(())
    for batch in torch.randperm(len(images)).split(task.batch_size):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(shifted(images[batch], task.shift)), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    float(total)
    return time.perf_counter() - started


def tensors(task: Task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (n, 784), labels (n,) and what the loss compares with."""
    arrays = task.arrays()
    images, labels = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]).long()
    return images, labels, functional.one_hot(labels, CLASSES).float() if task.one_hot else labels


def take_threads(task: Task, images: torch.Tensor, targets: torch.Tensor) -> int:
    """One or all, whichever trains an epoch faster."""
    seconds = {}
    for threads in {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        seconds[threads] = train_epoch(task, *build(task), images, targets)
    torch.set_num_threads(min(seconds, key=lambda threads: seconds[threads]))
    return torch.get_num_threads()


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """In inference mode."""
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(some).argmax(1) for some in images.split(PREDICTED_AT_ONCE)])
    return float((predicted == labels).float().mean())


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    images, labels, targets = tensors(task)
    threads = take_threads(task, images, targets)
    model, optimizer = build(task)
    gate.answer(setting={"torch": torch.__version__, "threads": threads})
    for _ in range(task.epochs):
        gate.wait()
        taken = train_epoch(task, model, optimizer, images, targets)
        gate.answer(seconds=taken, accuracy=accuracy(model, images, labels))


if __name__ == "__main__":
    main()
