"""What the figures of a run cost: `python -m benchmarks.figures [--rounds N] [--output FOLDER]`.

Each figure is computed, drawn and saved as a run saves it, in one process and on its processor time, so that what else
the machine does counts little. Every round is another run, with probabilities of its own. A first round is not
counted: in it matplotlib loads fonts and the like, once a process. Quoted is the least of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.rounds import ROOT
from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.figures import SELECTIONS, RunView, run_figures
from harness.records import Dataset, FloatArray, History, Split
from harness.run.evaluate import evaluate
from harness.tracking.writing import FAST_PNG

GOALS = {"few": 0.35, "all": 4.0}  # seconds
EPOCHS = 10
TEST_IMAGES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted (7)")
    parser.add_argument("--output", type=Path, help="keep the pictures of the last round in this folder")
    request = parser.parse_args()
    dataset = load_dataset(DatasetConfig(directory=str(ROOT / "tests" / "data")))
    with tempfile.TemporaryDirectory() as temporary:
        folder = request.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = [measure(made_up_run(dataset, seed), folder) for seed in range(request.rounds + 1)][1:]
    for name in SELECTIONS["all"]:
        print(f"{1000 * min(took[name] for took in seconds):6.1f} ms  {name}")
    met = True
    for selection, goal in GOALS.items():
        names = SELECTIONS[selection]
        total = min(sum(took[name] for name in names) for took in seconds)
        print(f"{1000 * total:6.1f} ms  figures={selection}, {len(names)} figures; goal: {1000 * goal:.0f} ms")
        met = met and total <= goal
    return 0 if met else 1


def measure(view: RunView, folder: Path) -> dict[str, float]:
    """Seconds of processor time for each figure of one run."""
    seconds = {}
    started = time.process_time()
    for name, figure in run_figures(view, "all"):
        figure.savefig(folder / name, pil_kwargs=FAST_PNG)
        ended = time.process_time()
        seconds[name], started = ended - started, ended
    return seconds


def made_up_run(dataset: Dataset, seed: int) -> RunView:
    """Curves that fall, and probabilities that are right for about two of three images."""
    rng = np.random.default_rng(seed)
    times = -(-TEST_IMAGES // len(dataset.test))
    test = Split(np.tile(dataset.test.images, (times, 1, 1)), np.tile(dataset.test.labels, times))
    logits = rng.normal(scale=2.0, size=(len(test), 10))
    logits[np.arange(len(test)), test.labels] += 4.0
    logs: FloatArray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    history = History()
    for epoch in range(1, EPOCHS + 1):
        noise = rng.normal(scale=0.01)
        history.append({
            "fit/loss": 1.1 / epoch, "train/loss": 0.9 / epoch, "val/loss": 0.5 + abs(epoch - 4) / 30 + noise,
            "fit/accuracy": 1 - 0.3 / epoch, "train/accuracy": 1 - 0.25 / epoch, "val/accuracy": 0.85 + noise,
        })  # fmt: skip
    evaluated = evaluate(lambda images: logs, test, dataset.class_names)
    return RunView(history, evaluated, test, dataset.train, np.arange(256) / 255, dataset.class_names, f"run {seed}")


if __name__ == "__main__":
    sys.exit(main())
