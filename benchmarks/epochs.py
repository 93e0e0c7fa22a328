"""(1) One training epoch of each guide's model, by engine, and its share of what the processor can multiply."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.guides import GUIDES, Guide, inference_flop, prepare, training_flop
from benchmarks.limits import PEAK_SIZE, QUICK_SIZE
from benchmarks.rounds import ROOT, Contender, Unavailable, take_turns
from benchmarks.surroundings import Places
from harness.machine import available_cpus

ROUNDS = 7
WARM_UP = 1
"""Epochs that are not counted at first: the first one compiles."""
TURN = 2
"""Epochs in a turn, of which the last is counted: a process that waited finds its caches, or even its pages, gone."""
LEARNED = 0.8
"""A contender whose training accuracy is below this at the end has not done the work, and is refused."""
LEARNED_QUICKLY = 0.3
QUICK_GUIDES = "AI"

PEERS = ROOT / "benchmarks" / ".venv" / "bin" / "python"
OPTIONAL = ("torch", "lightning", "jax")


def measure(places: Places, quick: bool, rounds: int | None, letters: Sequence[str] = ()) -> None:
    """Measure guide after guide, and keep what there is after each; only those of `letters` where they are given, and
    what was measured of the others stays."""
    rounds = rounds or (2 if quick else ROUNDS)
    size = QUICK_SIZE if quick else PEAK_SIZE
    result: dict[str, Any] = {
        "rounds": rounds,
        "copies": available_cpus(),
        "peak_size": size,
        "guides": _kept(places, size) if letters else {},
    }
    wanted = letters or (QUICK_GUIDES if quick else [guide.letter for guide in GUIDES])
    chosen = [guide for guide in GUIDES if guide.letter in wanted]
    peak = Contender(Path(sys.executable), "matmul", str(size))
    try:
        peak.go()
        for guide in chosen:
            print(f"{guide.letter}: {guide.title}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                result["guides"][guide.letter] = _measure_guide(guide, Path(folder), peak, quick, rounds)
            places.write("epochs", quick, result)
    finally:
        peak.close()


def _kept(places: Places, size: int) -> dict[str, Any]:
    """What was measured of the guides before, with the same product as the peak."""
    before = places.read().get("epochs", {})
    return dict(before["guides"]) if before.get("peak_size") == size else {}


def _measure_guide(guide: Guide, folder: Path, peak: Contender, quick: bool, rounds: int) -> dict[str, Any]:
    task = prepare(guide, folder, quick) | {"epochs": WARM_UP + TURN * rounds}
    contenders = _start(task, folder)
    measured: dict[str, dict[str, Any]] = {}
    try:
        for name, contender in list(contenders.items()):
            try:
                measured[name] = {"setting": contender.go()[0]["setting"]}
                for _ in range(WARM_UP):
                    contender.go()
            except Unavailable as reason:
                if name not in OPTIONAL:
                    raise
                measured[name] = {"absent": str(reason)}
                contenders.pop(name).close()
        turns: dict[str, Callable[[], list[dict[str, Any]]]] = {
            name: partial(_turn, contender) for name, contender in contenders.items()
        }
        turns["peak"] = peak.go
        answers = take_turns(turns, rounds)
    finally:
        for contender in contenders.values():
            contender.close()

    size = task["images"], task["hidden"], task["filters"]
    rates = _by_library(answers.pop("peak"))
    threshold = LEARNED_QUICKLY if quick else LEARNED
    for name, epochs in answers.items():
        measured[name] |= _summary(epochs, threshold)
        shown = measured[name].get("refused") or f"{statistics.median(measured[name]['seconds']):.3f} s an epoch"
        print(f"  {name}: {shown}, training accuracy {measured[name]['accuracy']:.4f}", flush=True)
    return {
        "title": guide.title,
        "images": task["images"],
        "flop": training_flop(*size),
        "flop_with_pass": training_flop(*size) + inference_flop(*size),
        "peak_gflops": rates,
        "contenders": measured,
    }


def _turn(contender: Contender) -> list[dict[str, Any]]:
    for _ in range(TURN - 1):
        contender.go()
    return contender.go()


def _start(task: dict[str, Any], folder: Path) -> dict[str, Contender]:
    """Every contender of a guide, started at once: importing takes longest."""
    here = Path(sys.executable)
    peers = PEERS if PEERS.exists() else here  # where the peers may be installed too

    def written(name: str, **more: Any) -> str:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(task | more))
        return str(file)

    return {
        "fit": Contender(here, "fit", written("fit")),
        "fit_tuned": Contender(here, "fit", written("fit_tuned", tuned=True)),
        "torch": Contender(peers, "torch_loop", written("torch")),
        "lightning": Contender(peers, "lightning_fit", written("lightning")),
        "jax": Contender(peers, "jax_scan", written("jax")),
        "compiled": Contender(here, "compiled", written("compiled")),
        "compiled_at_once": Contender(here, "compiled", written("at_once", threads=1), copies=available_cpus()),
    }


def _summary(epochs: list[list[dict[str, Any]]], threshold: float) -> dict[str, Any]:
    """Seconds an epoch by round. Copies that worked at once count as that many epochs in the time of the slowest."""
    summary: dict[str, Any] = {}
    for key in ("seconds", "whole_seconds"):
        if key in epochs[0][0]:
            summary[key] = [max(copy[key] for copy in copies) / len(copies) for copies in epochs]
    summary["accuracy"] = min(copy["accuracy"] for copy in epochs[-1])
    if summary["accuracy"] < threshold:
        summary["refused"] = f"training accuracy {summary['accuracy']:.2f}, below {threshold}"
    return summary


def _by_library(answers: list[list[dict[str, Any]]]) -> dict[str, list[float]]:
    rounds = [answer["gflops"] for [answer] in answers]
    return {library: [rates[library] for rates in rounds] for library in rounds[0]}
