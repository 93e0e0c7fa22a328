"""`python -m benchmarks [all|NAME ...]`: measure, keep the result, render the page."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import claims, comparing, engines, epochs, grid, parts, planning, scaling, search, server, single
from benchmarks.guides import GUIDES
from benchmarks.page import page
from benchmarks.picture import draw
from benchmarks.processes import CommandFailed
from benchmarks.rounds import ROOT, Unavailable
from benchmarks.surroundings import Others, Places
from harness.errors import HarnessError
from harness.paths import write_text

BENCHMARKS: Mapping[str, Callable[[Places, argparse.Namespace], None]] = {
    "claims": lambda places, asked: claims.measure(places, asked.quick),
    "comparing": lambda places, asked: comparing.measure(places, asked.quick, asked.rounds),
    "engines": lambda places, asked: engines.measure(places, asked.quick),
    "epochs": lambda places, asked: epochs.measure(places, asked.quick, asked.rounds, asked.guides),
    "grid": lambda places, asked: grid.measure(places, asked.quick, asked.runs),
    "parts": lambda places, asked: parts.measure(places, asked.quick, asked.rounds),
    "planning": lambda places, asked: planning.measure(places, asked.quick),
    "scaling": lambda places, asked: scaling.measure(places, asked.quick),
    "search": lambda places, asked: search.measure(places, asked.quick),
    "server": lambda places, asked: server.measure(places, asked.quick, asked.rounds),
    "single": lambda places, asked: single.measure(places, asked.quick, asked.rounds),
}
TRIALS = ROOT / "outputs" / "benchmarks"


def main() -> int:
    request = _parser().parse_args()
    places = _places(request.output, request.quick)
    chosen = [name for name in BENCHMARKS if {name, "all"} & set(request.benchmarks)]
    left = list(chosen)
    try:
        for name in chosen:
            print(f"== {name}", flush=True)
            began = time.monotonic()
            try:
                BENCHMARKS[name](replace(places, others=Others()), request)
            except (CommandFailed, HarnessError, Unavailable) as error:
                print(f"error: {name}: {error}", file=sys.stderr, flush=True)
                continue
            left.remove(name)
            print(f"== {name} took {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
            render(places)
    finally:
        if left:
            print(f'error: not measured: {", ".join(left)}. Again: make bench ARGS="{" ".join(left)}"', file=sys.stderr)
    if "render" in request.benchmarks:
        render(places)
    print(f"Written: {places.page}")
    return 1 if left else 0


def render(places: Places) -> None:
    """Draw the picture and write the page from every result that there is."""
    results = places.read()
    draw(results, places)
    write_text(places.page, page(results, places))


def _places(output: Path | None, quick: bool) -> Places:
    if output is None and quick:
        output = TRIALS
    return Places.of_the_project() if output is None else Places.below(output.resolve())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the harness against its peers; writes docs/benchmarks.md."
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        default=["all"],
        choices=["all", *BENCHMARKS, "render"],
        help="what to measure (all); render writes the page again from the results that there are",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"a trial on the bundled images, into {TRIALS.relative_to(ROOT)}/"
    )
    parser.add_argument(
        "--guides",
        nargs="+",
        default=[],
        choices=[guide.letter for guide in GUIDES],
        help="measure the epochs of these guides only, and keep what there is of the others",
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of epochs, parts, server, single and comparing (7, 8, 12, 5 and 5)"
    )
    parser.add_argument(
        "--runs",
        type=int,
        choices=list(grid.PARTS),
        help=f"measure the other ways of training the grid on so many runs ({grid.MEASURED}), and scale",
    )
    parser.add_argument("--output", type=Path, help="put results, page and picture into this folder instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
