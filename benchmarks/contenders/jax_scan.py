"""JAX: a whole epoch as one jitted `lax.scan` over images on the device, its weights donated, Adam and SGD manually.

The accuracy is measured after the clock has stopped.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import CLASSES, Task


def initial_weights(task: Task) -> list[tuple[jax.Array, jax.Array]]:
    """Keras's: Glorot uniform kernels, biases of zero."""
    generator = np.random.default_rng(0)
    weights = []
    for inputs, outputs in task.layers():
        limit = np.sqrt(6 / (inputs + outputs))
        kernel = generator.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
        weights.append((jnp.asarray(kernel), jnp.zeros(outputs)))
    return weights


def logits(weights: Any, images: jax.Array) -> jax.Array:
    for kernel, bias in weights[:-1]:
        images = jax.nn.relu(images @ kernel + bias)
    kernel, bias = weights[-1]
    return images @ kernel + bias


def cross_entropy(weights: Any, images: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean over the batch; `targets` are integers (n,) or one-hot (n, classes)."""
    scores = jax.nn.log_softmax(logits(weights, images))
    if targets.ndim == 2:
        return -(scores * targets).sum(1).mean()
    return -jnp.take_along_axis(scores, targets[:, None], axis=1).mean()


def adam(rate: float, weights: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
    """Kingma and Ba, 2015, in the form of Keras (the bias correction is part of the step)."""
    count, first, second = state
    count = count + 1
    first = jax.tree.map(lambda mean, gradient: 0.9 * mean + 0.1 * gradient, first, gradients)
    second = jax.tree.map(lambda mean, gradient: 0.999 * mean + 0.001 * gradient**2, second, gradients)
    step = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    weights = jax.tree.map(lambda w, m, v: w - step * m / (jnp.sqrt(v) + 1e-7), weights, first, second)
    return weights, (count, first, second)


def sgd(rate: float, weights: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
    return jax.tree.map(lambda w, gradient: w - rate * gradient, weights, gradients), state


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    arrays = task.arrays()
    images, labels = jnp.asarray(arrays[0]), jnp.asarray(arrays[1])
    targets = jax.nn.one_hot(labels, CLASSES) if task.one_hot else labels
    weights = initial_weights(task)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state: Any = (jnp.zeros(()), zeros(weights), zeros(weights)) if task.optimizer == "adam" else ()
    update = partial({"adam": adam, "sgd": sgd}[task.optimizer], task.learning_rate)
    steps, rest = divmod(len(images), task.batch_size)

    @partial(jax.jit, donate_argnums=(0, 1))
    def epoch(weights: Any, state: Any, images: Any, targets: Any, order: Any) -> tuple[Any, Any, Any]:
        def step(carry: Any, batch: Any) -> tuple[Any, Any]:
            weights, state = carry
            loss, gradients = jax.value_and_grad(cross_entropy)(weights, images[batch], targets[batch])
            return update(weights, gradients, state), loss

        batches = order[: steps * task.batch_size].reshape(steps, task.batch_size)
        carry, losses = jax.lax.scan(step, (weights, state), batches)
        total = losses.sum()
        if rest:
            carry, loss = step(carry, order[-rest:])
            total = total + loss
        return *carry, total

    @jax.jit
    def score(weights: Any, images: Any, labels: Any) -> Any:
        return (logits(weights, images).argmax(1) == labels).mean()

    generator = np.random.default_rng(0)
    gate.answer(setting={"jax": jax.__version__})
    for _ in range(task.epochs):
        gate.wait()
        started = time.perf_counter()
        order = generator.permutation(len(images)).astype(np.int32)
        weights, state, total = epoch(weights, state, images, targets, order)
        float(total)
        seconds = time.perf_counter() - started
        gate.answer(seconds=seconds, accuracy=float(score(weights, images, labels)))


if __name__ == "__main__":
    main()
