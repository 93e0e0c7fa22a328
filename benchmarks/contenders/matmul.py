"""What the machine can do: the rate of a square float32 matrix product, on every core, by three libraries.

    python -m benchmarks.contenders.matmul SIZE

Each "go" is answered with GFLOP/s by library, the better of two products.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks.contenders.gate import Gate


def main() -> None:
    size, gate = int(sys.argv[1]), Gate()
    gate.wait()
    generator = np.random.default_rng(0)
    one, other = (generator.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    on_device = tf.constant(one), tf.constant(other)
    xla = tf.function(tf.matmul, jit_compile=True, autograph=False)
    products = {
        "numpy": lambda: one @ other,
        "tensorflow": lambda: tf.matmul(*on_device).numpy()[0, 0],
        "xla": lambda: xla(*on_device).numpy()[0, 0],
    }
    for multiply in products.values():
        multiply()  # compiles, starts threads
    gate.answer(setting={"size": size})
    while True:
        gate.wait()
        rates = {}
        for name, multiply in products.items():
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                multiply()
                seconds.append(time.perf_counter() - started)
            rates[name] = 2 * size**3 / min(seconds) / 1e9
        gate.answer(gflops=rates)


if __name__ == "__main__":
    main()
