"""The figures' view of a recorded run. Each part is read from the store when a figure first needs it."""

from __future__ import annotations

import math
from functools import cached_property

from harness.config.schema import Config
from harness.errors import RequestError
from harness.models import log_probabilities, pixel_scale
from harness.records import Dataset, Evaluation, FloatArray, History, RunRecord, Score, Split, Splits, is_grey
from harness.run.evaluate import evaluate
from harness.run.load import TrainedRun, open_model, read_config
from harness.tracking.reading import read_series
from harness.tracking.store import Store

_SERIES = tuple(f"{split}/{score}" for split in ("fit", "train", "val") for score in ("loss", "accuracy"))


class StoredView:
    """The `figures.Drawable` of a recorded run; `title` is the run's name by default.

    Learning curves need the metrics by epoch; every other figure needs the run's model and data. Reading them raises
    `RequestError` if the run has none, `DataError` if the data cannot be loaded, and `StoreError`.
    """

    def __init__(self, store: Store, record: RunRecord, title: str | None = None) -> None:
        self.title = record.name if title is None else title
        self._store = store
        self._record = record

    @cached_property
    def history(self) -> History:
        series = read_series(self._store, [self._record.run_id], _SERIES).get(self._record.run_id, {})
        missing = [
            name for name in ("fit/loss", "fit/accuracy", "train/loss", "train/accuracy") if not series.get(name)
        ]
        if missing:
            raise RequestError(
                f"The run {self._record.name} ({self._record.run_id}) has recorded no {missing[0]} by epoch, so there "
                "are no curves to draw. Name a run that `harness train` or `harness sweep` has finished."
            )
        epochs = sorted(set().union(*series.values()))
        history = History(before=epochs[0] - 1)
        for epoch in range(epochs[0], epochs[-1] + 1):
            history.append({name: values.get(epoch, math.nan) for name, values in series.items()})
        return history

    @property
    def test(self) -> Score:
        final = (self._record.metrics.get(f"final/test_{name}", math.nan) for name in ("loss", "accuracy"))
        return Score(*final)

    @cached_property
    def evaluation(self) -> Evaluation:
        return evaluate(log_probabilities(self._trained.model), self.split, self.class_names)

    @property
    def split(self) -> Split:
        return self._data[1].test

    @property
    def train(self) -> Split:
        return self._data[1].train

    @cached_property
    def pixel_scale(self) -> FloatArray | None:
        return pixel_scale(self._trained.model) if is_grey(self.train.images) else None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._trained.class_names

    @property
    def palette(self) -> str:
        return self._config.palette

    @property
    def noisy_labels(self) -> int:
        return self._data[1].noisy_labels

    @cached_property
    def _config(self) -> Config:
        return read_config(self._store, self._record)

    @cached_property
    def _trained(self) -> TrainedRun:
        return open_model(self._store, self._record, self._config)

    @cached_property
    def _data(self) -> tuple[Dataset, Splits]:
        return self._trained.load_data()
