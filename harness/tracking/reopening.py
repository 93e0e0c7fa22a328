"""A run that ended before its work was done, opened again: the same run, another try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.tracking.access import taken_retried
from harness.tracking.selection import EPOCH_METRIC, ERROR_TAG, ERROR_TYPE_TAG, TRIES_TAG
from harness.tracking.store import Store


@dataclass(frozen=True)
class Recorded:
    """What the store has of a run from earlier tries: its parameters, how many epochs were logged, how many tries there
    were, and whether it has its model."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    epochs: int = 0
    tries: int = 0
    has_model: bool = False


def reopen(store: Store, run_id: str, tags: Mapping[str, str]) -> Recorded:
    """Set a run to RUNNING once more and say what it has; why its last try failed is kept as `harness.try.1.error`.

    Raises `StoreError`.
    """
    client = store.client
    with store.explained():
        run = client.get_run(run_id)
        points = client.get_metric_history(run_id, EPOCH_METRIC)
        tries = int(run.data.tags.get(TRIES_TAG, "1"))
        for tag in (ERROR_TAG, ERROR_TYPE_TAG):
            if tag in run.data.tags:
                client.set_tag(run_id, f"harness.try.{tries}.{tag.rpartition('.')[2]}", run.data.tags[tag])
                client.delete_tag(run_id, tag)
        for key, value in {**tags, TRIES_TAG: str(tries + 1)}.items():
            taken_retried(partial(client.set_tag, run_id, key, value))
        client.update_run(run_id, status="RUNNING")
    return Recorded(
        parameters=run.data.params,
        epochs=max((point.step for point in points), default=0),
        tries=tries,
        has_model=bool(run.outputs and run.outputs.model_outputs),
    )
