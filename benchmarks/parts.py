"""(7) What a run of a sweep costs besides training, by part: several runs in one process, one thread, few figures."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.guides import quick_overrides
from benchmarks.rounds import Contender
from benchmarks.surroundings import Places

ROUNDS = 8
SETTINGS = ("model=mlp_128", "regime.epochs=5", "figures=few", "dataset.train_size=10000")
QUICKLY = ("model=mlp_128", "regime.epochs=2", "figures=few")
TRAINING = "training and clean passes"


def measure(places: Places, quick: bool, rounds: int | None) -> None:
    """Measure runs after a first one, which imports and compiles; of each part the least of all runs is kept."""
    rounds = rounds or (2 if quick else ROUNDS)
    settings = QUICKLY if quick else SETTINGS
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HARNESS_ROOT": folder}
        contender = Contender(
            Path(sys.executable), "runs", json.dumps([*settings, *quick_overrides(quick)]), environment=environment
        )
        try:
            contender.go()
            runs = [contender.go()[0]["parts"] for _ in range(rounds)]
        finally:
            contender.close()
    names = sorted({name for parts in runs for name in parts})
    parts: dict[str, Any] = {}
    for name in names:
        found = [part[name] for part in runs if name in part]
        parts[name] = {
            "seconds": min(clock for clock, _, _ in found),
            "processor": min(processor for _, processor, _ in found),
            "calls": int(found[-1][2]),
        }
        print(f"{name}: {parts[name]}", flush=True)
    places.write("parts", quick, {"rounds": rounds, "settings": list(settings), "parts": parts})
