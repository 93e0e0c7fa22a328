"""The harness's compiled engine, through its public functions.

Two times an epoch: until the training program has returned its loss (`seconds`: the permutation is drawn, the epoch is
trained, running loss and accuracy are fetched), and until the epoch is over (`whole_seconds`), which includes the
harness's second pass over the training images in inference mode.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import Task


class Nobody:
    """Watches nothing."""

    def training_started(self, epochs: range) -> None: ...

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def epoch_completed(self, epoch: int, state: Any) -> None: ...

    def training_ended(self, reason: str) -> None: ...


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    if task.threads is not None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)

    from harness.composing import compose_config
    from harness.data import load_dataset, split_dataset
    from harness.models import build_model
    from harness.training import fit, seed_everything

    config = compose_config([*task.overrides, f"regime.epochs={task.epochs}"])
    seed_everything(config.seed)
    dataset = load_dataset(config.dataset)
    splits = split_dataset(dataset, config.dataset, config.regime.validation)
    train = splits.train
    model = build_model(config.model, config.dataset.preprocessing, splits.spec, train.images)

    import keras

    class Clock(keras.callbacks.Callback):
        """Starts each epoch when told to; the engine calls `on_train_batch_end` once, when the epoch is trained."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            gate.wait()
            self._started = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            self._trained = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            whole = time.perf_counter() - self._started
            accuracy = float((logs or {})["accuracy"])
            gate.answer(seconds=self._trained - self._started, whole_seconds=whole, accuracy=accuracy)

    gate.answer(setting={} if task.threads is None else {"threads": task.threads})
    # No validation split: what is timed is training, for every contender.
    fit("compiled", model, config, train, None, Nobody(), [Clock()])


if __name__ == "__main__":
    main()
