"""Groups of runs for tests of comparison figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.figures.groups import Group, Scores

LONG = "model=mlp_300_100 optimizer=schedule_free_adamw $x$ regime.batch_size=128 a.word.that." + "never.ends." * 9


def scores(values: Sequence[float], half: float | None = 0.01) -> Scores:
    """Values for the seeds 0, 1, ..., their mean, and the interval mean +- `half`."""
    finite = [value for value in values if math.isfinite(value)]
    mean = math.fsum(finite) / len(finite) if finite else math.nan
    interval = (mean - half, mean + half) if half is not None and len(finite) > 1 else None
    return Scores(dict(zip(map(str, range(len(values))), values, strict=True)), mean, interval)


def group(label: str, gaps: Sequence[float], held_out: float = 0.8, runs: int = 0, **settings: str | float) -> Group:
    """A group of runs with these gaps (fractions), and the same held-out accuracy for all."""
    return Group(label, settings, scores(gaps), scores([held_out + gap for gap in gaps]),
                 scores([held_out] * len(gaps)), runs)  # fmt: skip


def many(count: int, seeds: int = 3, label: str = "group") -> list[Group]:
    """Groups over two settings; the third has no run, the fourth diverged, the fifth is incomplete."""
    optimizers = ("adam", "sgd", "rmsprop", "adamw", "nadam")
    found = []
    for index in range(count):
        gaps = [0.004 * (index % 13) - 0.01 + 0.001 * seed for seed in range(seeds)]
        gaps = {2: [], 3: [math.nan, math.inf], 4: gaps[:1]}.get(index, gaps)
        name, width = optimizers[index % 5], str(2 ** (3 + index // 5))
        held_out = 0.7 + 0.002 * index
        found.append(group(f"{label} {index}", gaps, held_out, runs=seeds, optimizer=name, width=width))
    return found
