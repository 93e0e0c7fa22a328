"""(10) A tracking server on this machine: a warm run on it and on a file in turns, and many runs compared again."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.guides import quick_overrides
from benchmarks.parts import QUICKLY, SETTINGS
from benchmarks.processes import HARNESS, run
from benchmarks.rounds import Contender, take_turns
from benchmarks.servers import serving
from benchmarks.stores import SEEDS, make_store
from benchmarks.surroundings import Places

SIZES, EPOCHS, ROUNDS, AGAIN = (1_000, 10_000), 10, 12, 3
QUICK_SIZES = (300,)


def measure(places: Places, quick: bool, rounds: int | None) -> None:
    """The server shares the machine with its clients. Processor seconds are those of the client alone."""
    rounds = 2 if quick else rounds or ROUNDS
    runs = _runs(quick, rounds)
    for name, each in runs.items():
        print(f"a warm run, {name}: {statistics.median(one['seconds'] for one in each):.2f} s", flush=True)
    compared = {}
    for size in QUICK_SIZES if quick else SIZES:
        compared[str(size)] = found = _compared(size)
        print(f"compare of {size:,} runs: {found}", flush=True)
    places.write("server", quick, {"rounds": rounds, "epochs": EPOCHS, "runs": runs, "compared": compared})


def _runs(quick: bool, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Seconds and processor seconds of warm runs with three figures and 14 files, on a file and on a server."""
    settings = [*(QUICKLY if quick else SETTINGS), *quick_overrides(quick)]
    contenders: dict[str, Contender] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as uri:
        try:
            for name, store in (("file", f"sqlite:///{folder}/file.db"), ("server", uri)):
                words = json.dumps([*settings, f"tracking.uri={store}"])
                own = {**os.environ, "HARNESS_ROOT": folder}
                contenders[name] = Contender(Path(sys.executable), "runs", words, environment=own)
                contenders[name].go()

            def turn(contender: Contender) -> dict[str, float]:
                parts = contender.go()[0]["parts"].values()
                return {"seconds": sum(part[0] for part in parts), "processor": sum(part[1] for part in parts)}

            return take_turns({name: lambda one=one: turn(one) for name, one in contenders.items()}, rounds)
        finally:
            for contender in contenders.values():
                contender.close()


def _compared(size: int) -> dict[str, Any]:
    """`harness compare` of so many finished runs: the first time, and again, with what this machine has kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder, size, EPOCHS)
        with serving(folder) as uri:
            command = [HARNESS, "compare", "--store", uri]
            own = {"HARNESS_ROOT": name, "HARNESS_CACHE": str(folder / "cache")}
            found: list[tuple[float, float]] = []
            for _ in range(1 + AGAIN):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                done = run(command, own, folder)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                assert done.output.count("\n") > size // SEEDS
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                found.append((done.seconds, used))
    return {
        "first": found[0][0], "first_processor": found[0][1],
        "again": min(seconds for seconds, _ in found[1:]), "again_processor": min(used for _, used in found[1:]),
    }  # fmt: skip
