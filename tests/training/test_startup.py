"""TensorFlow is started once, with the number of threads that was asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

ASK_FOR_ANOTHER_NUMBER = """
try:
    seed_everything(3, threads=2)
except ConfigError as error:
    print(error)
"""


def run(program: str, **environment: str) -> list[str]:
    """The lines that a Python program prints in a process of its own."""
    imports = "import os\nfrom harness.errors import ConfigError\nfrom harness.training import seed_everything\n"
    done = subprocess.run(
        [sys.executable, "-c", imports + program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_first_to_ask_decides_on_the_threads_and_another_number_is_refused() -> None:
    program = """
from harness.training import intra_op_threads
seed_everything(0, threads=1)
seed_everything(1)
seed_everything(2, threads=1)
print(intra_op_threads(), os.environ["TF_FORCE_GPU_ALLOW_GROWTH"])
"""
    threads, refusal = run(program + ASK_FOR_ANOTHER_NUMBER)
    assert threads == "1 true"
    assert refusal.startswith("threads=2: TensorFlow runs with 1 in this process")
    assert "threads=1 or threads=null" in refusal


def test_what_somebody_else_has_decided_stands() -> None:
    program = """
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(3)
tf.zeros(())
seed_everything(0)
seed_everything(0, threads=3)
print(os.environ["TF_FORCE_GPU_ALLOW_GROWTH"])
"""
    growth, refusal = run(program + ASK_FOR_ANOTHER_NUMBER, TF_FORCE_GPU_ALLOW_GROWTH="false")
    assert growth == "false"
    assert refusal.startswith("threads=2: TensorFlow runs with 3 in this process")
