"""Several tracked runs in one process, as in a sweep, and what each part of a run takes.

    python -m benchmarks.contenders.runs OVERRIDES       # a JSON list

Each "go" is answered with seconds, processor seconds and calls by part. The first run is the one that imports and
compiles.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.contenders.compiled import Nobody
from benchmarks.contenders.gate import Gate

PARTS: Mapping[str, tuple[str, ...]] = {
    "training and clean passes": ("harness.run.execute.fit",),
    "writing to the store": ("harness.tracking.outbox.Outbox.put", "harness.tracking.outbox.Outbox.end"),
    "opening the run in the store": ("harness.tracking.writing.RunWriter.__init__",),
    "identity of the run": ("harness.run.execute._identifying_tags", "harness.tracking.writing.code_state"),
    "configuration, data and packages as text": (
        "harness.run.execute.log_configuration", "harness.run.execute.log_data",
        "harness.tracking.writing.installed_packages",
    ),
    "seeding, collecting garbage": ("harness.run.execute.seed_everything",),
    "reading the data": ("harness.run.execute.load_splits",),
    "building the model": ("harness.run.execute.build_model",),
    "evaluation": ("harness.run.execute.evaluate_stages",),
    "saving the model": ("harness.tracking.writing.RunWriter.log_model", "harness.run.execute.probability_model"),
    "saving the state": ("harness.run.execute.capture", "harness.run.execute.log_state"),
    "figures": ("harness.figures._drawn", "harness.tracking.writing.RunWriter.log_figure"),
}  # fmt: skip
"""Functions by the part of a run that they are; what is none of them is the rest."""
REST = "the rest"


class Clocks:
    """Time by part, what is spent in another part inside it left out."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self._parts = [REST]
        self._last = (time.perf_counter(), time.process_time())

    def _charge(self) -> None:
        now = (time.perf_counter(), time.process_time())
        spent = self.spent[self._parts[-1]]
        spent[0] += now[0] - self._last[0]
        spent[1] += now[1] - self._last[1]
        self._last = now

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            self._charge()
            self._parts.append(part)
            self.spent[part][2] += 1
            try:
                return function(*arguments, **options)
            finally:
                self._charge()
                self._parts.pop()

        return measured

    def take(self) -> dict[str, list[float]]:
        """Seconds, processor seconds and calls by part since the last time."""
        self._charge()
        spent = dict(self.spent)
        self.spent.clear()
        return spent


def main() -> None:
    overrides, gate = json.loads(sys.argv[1]), Gate()
    gate.wait()
    from harness.composing import compose_config
    from harness.run.execute import RunContext, execute, load_libraries

    clocks = Clocks()
    for part, addresses in PARTS.items():
        for address in addresses:
            owner, name = _owner(address)
            setattr(owner, name, clocks.measured(part, getattr(owner, name)))
    load_libraries(1)
    number = 0
    while True:
        config = compose_config([*overrides, "threads=1", f"seed={number}"])
        context = RunContext(f"run {number}", [f"seed={number}"], parent_id="0" * 32, job=number, group="group")
        clocks.take()
        execute(config, context, Nobody())
        gate.answer(parts=clocks.take())
        gate.wait()
        number += 1


def _owner(address: str) -> tuple[Any, str]:
    """The module or class that has the name, and the name in it."""
    import importlib

    above, _, name = address.rpartition(".")
    try:
        return importlib.import_module(above), name
    except ModuleNotFoundError:
        module, _, owner = above.rpartition(".")
        return getattr(importlib.import_module(module), owner), name


if __name__ == "__main__":
    main()
