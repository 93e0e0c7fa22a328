"""The harness's two engines on one setting after another, in turns, through its public functions.

    python -m benchmarks.contenders.engines OVERRIDES       # a JSON list, with a list of overrides for each setting

Each "go" is answered with an epoch's processor seconds by engine, the least of its epochs and turns. An epoch includes
the clean pass; the first one of a training, which compiles, is left out.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contenders.gate import Gate

ENGINES = ("compiled", "keras")
EPOCHS, TURNS = 4, 2


class Clock:
    """The processor's time at the start of training and after each epoch."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def training_started(self, epochs: range) -> None:
        self.times.append(time.process_time())

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def epoch_completed(self, epoch: int, state: Any) -> None:
        self.times.append(time.process_time())

    def training_ended(self, reason: str) -> None: ...


def main() -> None:
    settings, gate = json.loads(sys.argv[1]), Gate()
    for overrides in settings:
        gate.wait()
        seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
        for _ in range(TURNS):
            for name in ENGINES:
                seconds[name].append(_seconds(name, overrides))
        gate.answer(**{name: min(turns) for name, turns in seconds.items()})


def _seconds(engine: str, overrides: Sequence[str]) -> float:
    from harness.composing import compose_config
    from harness.data import load_dataset, split_dataset
    from harness.models import build_model
    from harness.training import fit, seed_everything

    config = compose_config([*overrides, f"regime.epochs={EPOCHS}", "threads=1"])
    seed_everything(config.seed, config.threads)
    splits = split_dataset(load_dataset(config.dataset), config.dataset, config.regime.validation)
    model = build_model(
        config.model, config.dataset.preprocessing, splits.spec, splits.train.images, config.mixed_precision
    )
    clock = Clock()
    fit(engine, model, config, splits.train, splits.validation, clock)
    epochs = [after - before for before, after in itertools.pairwise(clock.times)]
    return min(epochs[1:])


if __name__ == "__main__":
    main()
