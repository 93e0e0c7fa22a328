"""`python -m benchmarks.gap_callback`: what `harness.keras.OverfittingGap` costs, as a ratio of the time of `fit`.

With and without the callback take turns in one process. The page of benchmarks is not touched: it prints a table.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

ROUNDS, EPOCHS, IMAGES = 5, 4, 20_000


def main() -> None:
    """Measure a small network and a convolutional one on made images of 28 x 28."""
    import keras
    import numpy as np

    from harness.keras import OverfittingGap

    draws = np.random.default_rng(0)
    x, y = draws.random((IMAGES, 28, 28, 1), dtype=np.float32), draws.integers(0, 10, IMAGES)
    held_out = {"val": (x[:2_000], y[:2_000])}
    callbacks: dict[str, Any] = {
        "without": list,
        "each epoch": lambda: [OverfittingGap((x, y), held_out)],
        "every=2": lambda: [OverfittingGap((x, y), held_out, every=2)],
        "samples=2000": lambda: [OverfittingGap((x, y), held_out, samples=2_000)],
    }
    layers = {
        "dense": lambda: [keras.layers.Flatten(), keras.layers.Dense(128, activation="relu")],
        "convolutions": lambda: [
            keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.MaxPooling2D(), keras.layers.Flatten(),
        ],
    }  # fmt: skip
    print(f"{IMAGES:,} images, {EPOCHS} epochs, batches of 64, {ROUNDS} rounds: median time of fit, without = 1")
    for name, inner in layers.items():
        model = keras.Sequential([keras.Input((28, 28, 1)), *inner(), keras.layers.Dense(10, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        for make in callbacks.values():  # compiled once, not measured
            model.fit(x[:640], y[:640], batch_size=64, verbose=0, callbacks=make())
        taken: dict[str, list[float]] = {way: [] for way in callbacks}
        for _ in range(ROUNDS):
            for way, make in callbacks.items():
                start = time.perf_counter()
                model.fit(x, y, batch_size=64, epochs=EPOCHS, verbose=0, callbacks=make())
                taken[way].append(time.perf_counter() - start)
        base = statistics.median(taken["without"])
        ratios = ", ".join(f"{way} {statistics.median(times) / base:.2f}" for way, times in taken.items())
        print(f"{name}: {ratios} (without: {base:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
