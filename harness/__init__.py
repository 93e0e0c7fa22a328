"""Train small classifiers, track the runs in MLflow, and compare them by how much they overfit.

From Python or a notebook:

    import harness

    run = harness.train("model=mlp_128", "regime.epochs=5", seed=1)
    run.metrics, run.history, run.figure("learning_curves"), run.model
    sweep = harness.sweep("model=mlp_128,mlp_300_100", seed=range(5))
    table = harness.compare(sweep)
    table.to_frame(), table.effect("model"), table.figure("gap_bars")
    harness.runs(experiment="harness"), harness.load("best"), harness.report(sweep)

docs/python.md has the whole interface. TensorFlow, MLflow and the rest are imported when they are first needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        ComparisonTable,
        Run,
        Search,
        Sweep,
        SweepReport,
        compare,
        load,
        report,
        runs,
        search,
        sweep,
        train,
    )

__all__ = [
    "ComparisonTable", "Run", "Search", "Sweep", "SweepReport", "compare", "load", "report", "runs", "search", "sweep",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module("harness.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
