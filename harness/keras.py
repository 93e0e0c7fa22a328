"""`OverfittingGap`: a Keras callback that measures the overfitting gap in your own `model.fit`.

Keras's training metrics are averages over an epoch, while the weights change and dropout is on. The callback evaluates
the training data again at the end of the epoch, so that the gap is between two scores of the same weights.
"""

from __future__ import annotations

import logging
import random
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from harness.errors import RequestError

log = logging.getLogger(__name__)

TAG = "harness.overfitting_gap"
"""The MLflow tag of a run whose `train/*` metrics were measured by the callback; its value says how."""
_RESERVED = ("train", "gap", "fit")


class OverfittingGap(keras.callbacks.Callback):  # type: ignore[misc]
    """Evaluates the training and held-out data after each epoch, in inference mode, with the same weights.

    `train/NAME`, `val/NAME` and `gap/NAME` for the loss and each compiled metric go into the `logs` of the epoch (so
    that `EarlyStopping(monitor="gap/loss", mode="min")` can watch them), into `History` and, if an MLflow run is
    active, into that run. A gap is positive if the model overfits: train - held-out for what is better when larger,
    held-out - train for losses and errors. Losses are without the penalties of weights (`kernel_regularizer`).

    The weights after `fit` are the same, bit for bit, as without the callback.

    Args:
        train: the training data, `(x, y)` or `(x, y, sample_weight)` with arrays of n examples, or a finite
            `tf.data.Dataset` or `keras.utils.PyDataset` of batches. Give a dataset as it is before `.shuffle(...)`.
        held_out: the same by split, such as `{"val": (x_val, y_val), "test": test_dataset}`. The gap of the first split
            is `gap/NAME`, that of another one `gap_SPLIT/NAME`. None takes the figures of fit's own `validation_data`,
            which cost nothing more.
        every: measure after the first epoch, then after every so many, and after the last one.
        samples: at most so many training examples, the same in each epoch.
        seed: of the choice of the samples.
        batch_size: of arrays.
        modes: `"max"` or `"min"` for metrics of which Keras does not know which is better: `{"my_score": "max"}`.

    Raises:
        RequestError: an argument is wrong.

    Example:
        >>> import numpy as np, keras
        >>> from harness.keras import OverfittingGap
        >>> x, y = np.random.default_rng(0).random((60, 4)), np.arange(60) % 3
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> gap = OverfittingGap(train=(x[:40], y[:40]), held_out={"val": (x[40:], y[40:])})
        >>> history = model.fit(x[:40], y[:40], epochs=2, callbacks=[gap], verbose=0).history
        >>> sorted(name for name in history if "/" in name)
        ['gap/accuracy', 'gap/loss', 'train/accuracy', 'train/loss', 'val/accuracy', 'val/loss']
    """

    def __init__(
        self,
        train: Any,
        held_out: Mapping[str, Any] | None = None,
        *,
        every: int = 1,
        samples: int | None = None,
        seed: int = 0,
        batch_size: int = 256,
        modes: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        _check_counts(every=every, samples=samples, batch_size=batch_size)
        if held_out is not None and (not isinstance(held_out, Mapping) or not held_out):
            raise RequestError(
                f"OverfittingGap(held_out=...): give data by split, such as {{'val': (x, y)}}, not "
                f"{type(held_out).__name__ if held_out else held_out}. Leave it out to use fit's validation_data."
            )
        for name in held_out or ():
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name) or name in _RESERVED:
                raise RequestError(
                    f"OverfittingGap(held_out=...): {name!r} cannot name a split. Use letters, digits and _ (val, "
                    f"test), but none of {', '.join(_RESERVED)}."
                )
        for name, mode in (modes or {}).items():
            if mode not in ("min", "max"):
                raise RequestError(f"OverfittingGap(modes=...): {name!r} is {mode!r}. Say min or max.")
        self.every, self.samples, self.seed, self.batch_size = every, samples, seed, batch_size
        self.modes = dict(modes or {})
        self._train = _data("train", train)
        self._held_out = None if held_out is None else {name: _data(name, data) for name, data in held_out.items()}
        self._chosen: Any = None
        self._logged_by_others = False
        self._without_mode: set[str] = set()
        self._measured = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Choose the samples, and say in the MLflow run how the gap is measured."""
        self._logged_by_others, self._measured = self._first_of_all(), False
        if self._chosen is None:
            with _undisturbed(self.model):
                self._chosen = self._train if self.samples is None else _sampled(self._train, self.samples, self.seed)
        how = f"every={self.every}"
        if self.samples is not None:
            how += f" samples={self.samples} seed={self.seed}"
        log.info("the gap is measured with %s", how)
        if (mlflow := _mlflow()) is not None:
            mlflow.set_tag(TAG, how)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add `train/*`, the held-out scores and `gap/*` to `logs`."""
        logs = {} if logs is None else logs
        last = epoch + 1 == (self.params or {}).get("epochs") or self.model.stop_training
        if epoch % self.every and not last and self._measured:
            return
        held_out = self._held_out_scores(logs)
        if not held_out:
            return
        train = self._evaluated(self._chosen)
        found = {f"train/{name}": value for name, value in train.items()}
        for number, (split, scores) in enumerate(held_out.items()):
            found |= {f"{split}/{name}": value for name, value in scores.items()}
            prefix = "gap" if number == 0 else f"gap_{split}"
            for name in scores:
                if name in train and (sign := self._sign(name)):
                    found[f"{prefix}/{name}"] = sign * (train[name] - scores[name])
        self._measured = True
        logs.update(found)
        if not self._logged_by_others and (mlflow := _mlflow()) is not None:
            mlflow.log_metrics(found, step=epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Say so if there was nothing to measure the gap with."""
        if not self._measured:
            log.warning(
                "no gap was measured, because fit had no validation data: give fit(validation_data=...), or "
                "OverfittingGap(held_out={'val': (x, y)})"
            )

    def _held_out_scores(self, logs: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """The scores by split; empty after an epoch without validation (`validation_freq`)."""
        if self._held_out is not None:
            return {split: self._evaluated(data) for split, data in self._held_out.items()}
        own = {name.removeprefix("val_"): float(value) for name, value in logs.items() if name.startswith("val_")}
        if "loss" in own:
            own["loss"] -= _penalties(self.model)
        return {"val": own} if own else {}

    def _evaluated(self, data: Any) -> dict[str, float]:
        arrays = isinstance(data, tuple)
        given = dict(zip(("x", "y", "sample_weight"), data, strict=False)) if arrays else {"x": _still(data)}
        if arrays:
            given["batch_size"] = self.batch_size
        with _undisturbed(self.model):
            scores = self.model.evaluate(**given, verbose=0, return_dict=True)
        found = {name: float(value) for name, value in scores.items() if np.ndim(value) == 0}
        if "loss" in found:
            found["loss"] -= _penalties(self.model)
        return found

    def _sign(self, name: str) -> int:
        """1 if a larger value is better, -1 if a smaller one is, 0 if that is not known."""
        mode = self.modes.get(name) or _mode(self.model, name)
        if mode is None and name not in self._without_mode:
            self._without_mode.add(name)
            log.warning(
                "no gap of %s: Keras does not know whether more of it is better. Say so with "
                "OverfittingGap(modes={%r: 'max'}), or 'min'.", name, name,
            )  # fmt: skip
        return {"max": 1, "min": -1, None: 0}[mode]

    def _first_of_all(self) -> bool:
        """Move this callback before the others, so that they find its figures in `logs` whatever the order of the list.

        Keras hands its list of callbacks to none of them; it is the caller of `on_train_begin`. Elsewhere the order
        stays. Returns whether a callback of MLflow (autologging has one) logs `logs` after each epoch.
        """
        caller = sys._getframe(2).f_locals.get("self")
        if not isinstance(caller, keras.callbacks.CallbackList):
            return False
        others = [callback for callback in caller.callbacks if callback is not self]
        caller.callbacks = [self, *others]
        return _mlflow() is not None and any(map(_logs_every_epoch, others))


def _logs_every_epoch(callback: Any) -> bool:
    """Whether it is MLflow's callback, and logs by epoch."""
    from_mlflow = any(base.__module__.startswith("mlflow.") for base in type(callback).__mro__)
    return from_mlflow and bool(getattr(callback, "log_every_epoch", False))


def _mlflow() -> Any:
    """MLflow, if a run is active. If nobody has imported it, none is."""
    mlflow = sys.modules.get("mlflow")
    return mlflow if mlflow is not None and mlflow.active_run() is not None else None


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (whole and value >= 1) and not (name == "samples" and value is None):
            raise RequestError(f"OverfittingGap({name}={value!r}): give a whole number from 1.")


def _data(split: str, data: Any) -> Any:
    """The data of a split, if it can be read again and again: a tuple of arrays, or a dataset."""
    if isinstance(data, list | tuple):
        if len(data) not in (2, 3):
            raise RequestError(f"OverfittingGap: {split} has {len(data)} parts. Give (x, y) or (x, y, sample_weight).")
        lengths = sorted({len(array) for array in keras.tree.flatten(tuple(data)) if array is not None})
        if len(lengths) != 1 or lengths[0] == 0:
            raise RequestError(
                f"OverfittingGap: the arrays of {split} have {' and '.join(map(str, lengths))} examples. "
                "They must have the same number, at least 1."
            )
        return tuple(data)
    if hasattr(data, "__next__"):
        raise RequestError(
            f"OverfittingGap: {split} is a generator, which can be read only once. Give arrays, a tf.data.Dataset or a "
            "keras.utils.PyDataset."
        )
    if isinstance(data, keras.utils.PyDataset):
        infinite = data.num_batches is None
    elif hasattr(data, "cardinality") and hasattr(data, "element_spec"):
        infinite = int(data.cardinality()) == -1
    else:
        raise RequestError(
            f"OverfittingGap: {split} is {type(data).__name__}. Give arrays as (x, y), a tf.data.Dataset or a "
            "keras.utils.PyDataset."
        )
    if infinite:
        raise RequestError(f"OverfittingGap: {split} has no end. Give the dataset before .repeat(), or .take(N).")
    if _shuffles(data):
        log.warning(
            "%s shuffles: reading it once more gives the later epochs of fit another order, if fit has the same "
            "dataset. Give the dataset as it is before .shuffle(...).", split,
        )  # fmt: skip
    return data


def _shuffles(data: Any) -> bool:
    """Whether a `tf.data.Dataset` has a `shuffle`: all that read it draw from the same random numbers."""
    if isinstance(data, keras.utils.PyDataset):
        return False
    return "Shuffle" in type(data).__name__ or any(map(_shuffles, data._inputs()))


class _Still(keras.utils.PyDataset):  # type: ignore[misc]
    """A `PyDataset` without its `on_epoch_begin` and `on_epoch_end`, which commonly shuffle it."""

    def __init__(self, data: Any) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data = data

    def __len__(self) -> int:
        return int(self.data.num_batches)

    def __getitem__(self, number: int) -> Any:
        return self.data[number]


def _still(data: Any) -> Any:
    return _Still(data) if isinstance(data, keras.utils.PyDataset) else data


def _sampled(data: Any, samples: int, seed: int) -> Any:
    """`samples` examples of the data, drawn without replacement, as arrays; all if there are not more.

    A dataset is read once. Each example gets a random number, and those with the smallest ones are kept.
    """
    generator = np.random.default_rng(seed)
    if isinstance(data, tuple):
        size = len(next(array for array in keras.tree.flatten(data) if array is not None))
        chosen = np.sort(generator.permutation(size)[:samples])
        return _rows(data, chosen)
    kept: Any = None
    for batch in _batches(data):
        arrays = keras.tree.map_structure(np.asarray, tuple(batch))
        lots = generator.random(len(keras.tree.flatten(arrays)[0]))
        more = (arrays, lots)
        kept = more if kept is None else keras.tree.map_structure(lambda a, b: np.concatenate([a, b]), kept, more)
        if len(kept[1]) > samples:
            kept = _rows(kept, np.sort(np.argsort(kept[1], kind="stable")[:samples]))
    if kept is None:
        raise RequestError("OverfittingGap: train has no batches.")
    return kept[0]


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        yield from (data[number] for number in range(int(data.num_batches)))
    else:
        yield from data


def _rows(arrays: Any, chosen: Any) -> Any:
    return keras.tree.map_structure(lambda array: None if array is None else np.asarray(array)[chosen], arrays)


def _penalties(model: Any) -> float:
    """The penalties of the weights, which Keras adds to the loss of each batch."""
    weights = [weight for weight in model.trainable_weights if getattr(weight, "regularizer", None) is not None]
    return sum(float(weight.regularizer(weight)) for weight in weights)


def _mode(model: Any, name: str) -> str | None:
    """Whether more (`max`) or less (`min`) of a score is better, as Keras's EarlyStopping decides it."""
    if name == "loss" or name.endswith("_loss"):
        return "min"
    metrics = [inner for metric in model.metrics for inner in getattr(metric, "metrics", [metric])]
    for metric in metrics:
        if name == metric.name or name.endswith(f"_{metric.name}"):
            direction = getattr(metric, "_direction", None)
            return {"up": "max", "down": "min"}.get(str(direction))
    return None


@contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Afterwards the model's metrics, its layers' state and seeds, and the random numbers of Python and NumPy are as
    before."""
    variables = [*model.metrics_variables, *model.non_trainable_variables]
    values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    before, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        random.setstate(before)
        np.random.set_state(of_numpy)
