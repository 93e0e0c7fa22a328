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
from benchmarks.contenders.task import CLASSES, KERNEL, SIDE, Task

Layers = list[dict[str, jax.Array]]
"""Arrays by name for each layer; those with a kernel of four axes are convolutions."""


def initial_weights(task: Task) -> tuple[Layers, Layers]:
    """Keras's: Glorot uniform kernels, biases of zero; and moving mean and variance of each layer before the last."""
    generator = np.random.default_rng(0)
    shapes: list[tuple[int, ...]] = [(KERNEL, KERNEL, *sizes) for sizes in task.convolutions()]
    weights, moving = list[dict[str, jax.Array]](), list[dict[str, jax.Array]]()
    for shape in [*shapes, *task.layers()]:
        field, outputs = int(np.prod(shape[:-2])), shape[-1]
        limit = np.sqrt(6 / (field * (shape[-2] + outputs)))
        kernel = generator.uniform(-limit, limit, shape).astype(np.float32)
        weights.append({"kernel": jnp.asarray(kernel), "bias": jnp.zeros(outputs)})
        if task.batch_norm:
            weights[-1] |= {"scale": jnp.ones(outputs), "offset": jnp.zeros(outputs)}
            moving.append({"mean": jnp.zeros(outputs), "variance": jnp.ones(outputs)})
    if task.batch_norm:
        moving.pop()
        del weights[-1]["scale"], weights[-1]["offset"]
    return weights, moving


def logits(task: Task, weights: Layers, moving: Layers, images: jax.Array, key: Any) -> tuple[jax.Array, Layers]:
    """Logits (n, classes) and the moving statistics after them; without a `key`, in inference mode."""
    values = images.reshape(-1, SIDE, SIDE, 1) if task.filters else images
    new = []
    for place, layer in enumerate(weights[:-1]):
        convolution = layer["kernel"].ndim == 4
        if convolution:
            axes = ("NHWC", "HWIO", "NHWC")
            values = jax.lax.conv_general_dilated(values, layer["kernel"], (1, 1), "SAME", dimension_numbers=axes)
        else:
            values = values.reshape(len(values), -1) @ layer["kernel"]
        values = values + layer["bias"]
        if task.batch_norm:
            values, statistics = normalized(layer, moving[place], values, key is not None)
            new.append(statistics)
        values = jax.nn.relu(values)
        if convolution:
            values = jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        elif task.dropout and key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - task.dropout, values.shape)
            values = jnp.where(kept, values / (1 - task.dropout), 0)
    return values @ weights[-1]["kernel"] + weights[-1]["bias"], new


def normalized(layer: Any, moving: Any, values: jax.Array, training: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Batch normalization with Keras's momentum and epsilon."""
    if training:
        axes = tuple(range(values.ndim - 1))
        now = {"mean": values.mean(axes), "variance": values.var(axes)}
        moving = jax.tree.map(lambda old, new: 0.99 * old + 0.01 * new, moving, now)
    else:
        now = moving
    scale = layer["scale"] * jax.lax.rsqrt(now["variance"] + 1e-3)
    return (values - now["mean"]) * scale + layer["offset"], moving


def shifted(images: jax.Array, most: int, key: Any) -> jax.Array:
    """Each of the images (n, 784) moved by up to `most` pixels each way; 0 comes in behind."""
    padded = jnp.pad(images.reshape(-1, SIDE, SIDE), ((0, 0), (most, most), (most, most)))
    rows, columns = jax.random.randint(key, (2, len(images), 1), 0, 2 * most + 1) + jnp.arange(SIDE)
    each = jnp.arange(len(images))[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].reshape(len(images), -1)


def cross_entropy(
    task: Task, weights: Layers, moving: Layers, images: jax.Array, targets: jax.Array, key: Any
) -> tuple[jax.Array, Layers]:
    """Mean over the batch, with the moving statistics; `targets` are integers (n,) or one-hot (n, classes)."""
    outputs, moving = logits(task, weights, moving, images, key)
    scores = jax.nn.log_softmax(outputs)
    if targets.ndim == 2:
        return -(scores * targets).sum(1).mean(), moving
    return -jnp.take_along_axis(scores, targets[:, None], axis=1).mean(), moving


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
    weights, moving = initial_weights(task)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state: Any = (jnp.zeros(()), zeros(weights), zeros(weights)) if task.optimizer == "adam" else ()
    update = partial({"adam": adam, "sgd": sgd}[task.optimizer], task.learning_rate)
    steps, rest = divmod(len(images), task.batch_size)

    @partial(jax.jit, donate_argnums=0)
    def epoch(carry: Any, images: Any, targets: Any, order: Any) -> tuple[Any, Any]:
        def step(carry: Any, batch: Any) -> tuple[Any, Any]:
            weights, moving, state, key = carry
            key, moving_key, dropout_key = jax.random.split(key, 3) if task.dropout or task.shift else (key, key, key)
            inputs = shifted(images[batch], task.shift, moving_key) if task.shift else images[batch]
            loss = partial(cross_entropy, task)
            (value, moving), gradients = jax.value_and_grad(loss, has_aux=True)(
                weights, moving, inputs, targets[batch], dropout_key
            )
            weights, state = update(weights, gradients, state)
            return (weights, moving, state, key), value

        batches = order[: steps * task.batch_size].reshape(steps, task.batch_size)
        carry, losses = jax.lax.scan(step, carry, batches)
        total = losses.sum()
        if rest:
            carry, loss = step(carry, order[-rest:])
            total = total + loss
        return carry, total

    @jax.jit
    def predicted(weights: Any, moving: Any, images: Any) -> Any:
        return logits(task, weights, moving, images, None)[0].argmax(1)

    generator, carry = np.random.default_rng(0), (weights, moving, state, jax.random.key(0))
    gate.answer(setting={"jax": jax.__version__})
    for _ in range(task.epochs):
        gate.wait()
        started = time.perf_counter()
        order = generator.permutation(len(images)).astype(np.int32)
        carry, total = epoch(carry, images, targets, order)
        float(total)
        seconds = time.perf_counter() - started
        parts = [predicted(*carry[:2], some) for some in jnp.split(images, list(range(1000, len(images), 1000)))]
        gate.answer(seconds=seconds, accuracy=float((jnp.concatenate(parts) == labels).mean()))


if __name__ == "__main__":
    main()
