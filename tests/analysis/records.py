"""Run records for tests of comparisons."""

from __future__ import annotations

import itertools

from harness.records import RunRecord, RunState, from_milliseconds
from tests.tracking.stores import scores

_numbers = itertools.count()


def run(
    train: float = 0.9,
    test: float = 0.8,
    val: float | None = None,
    *,
    state: RunState = RunState.FINISHED,
    seed: int = 0,
    metrics: dict[str, float] | None = None,
    sweep: str | None = None,
    **settings: object,
) -> RunRecord:
    """A run of `settings` (`model__name="a"` is `model.name`) with these accuracies, of the `sweep` with that id."""
    number = next(_numbers)
    parameters = {key.replace("__", "."): str(value) for key, value in settings.items()}
    return RunRecord(
        run_id=f"{number:032x}",
        name=f"run {number}",
        experiment_id="1",
        experiment="main",
        state=state,
        started=from_milliseconds(number),
        ended=None,
        parameters={**parameters, "seed": str(seed)},
        metrics=scores(train, test, val) if metrics is None else metrics,
        tags={"harness.kind": "run", **({} if sweep is None else {"mlflow.parentRunId": sweep})},
    )


def data(train: str, test: str, val: str = "None", variant: str = "published") -> dict[str, str]:
    """Arguments for `run`: the parameters that identify a run's images."""
    return {
        "data__train_digest": train, "data__val_digest": val, "data__test_digest": test, "data__variant": variant,
    }  # fmt: skip
