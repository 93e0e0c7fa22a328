"""`python -m benchmarks [all|NAME ...]`: measure, keep the result, render the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import claims, comparing, engines, epochs, grid, parts, planning, scaling, server, single
from benchmarks.guides import GUIDES
from benchmarks.page import page
from benchmarks.picture import draw
from benchmarks.processes import CommandFailed
from benchmarks.rounds import ROOT, Unavailable
from benchmarks.surroundings import Places
from harness.errors import HarnessError
from harness.paths import write_text

BENCHMARKS = ("claims", "comparing", "engines", "epochs", "grid", "parts", "planning", "scaling", "server", "single")
TRIALS = ROOT / "outputs" / "benchmarks"


def main() -> int:
    request = _parser().parse_args()
    places = _places(request.output, request.quick)
    measures = {
        "claims": lambda: claims.measure(places, request.quick),
        "comparing": lambda: comparing.measure(places, request.quick, request.rounds),
        "engines": lambda: engines.measure(places, request.quick),
        "epochs": lambda: epochs.measure(places, request.quick, request.rounds, request.guides),
        "grid": lambda: grid.measure(places, request.quick, request.runs),
        "parts": lambda: parts.measure(places, request.quick, request.rounds),
        "planning": lambda: planning.measure(places, request.quick),
        "scaling": lambda: scaling.measure(places, request.quick),
        "server": lambda: server.measure(places, request.quick, request.rounds),
        "single": lambda: single.measure(places, request.quick, request.rounds),
    }
    chosen = BENCHMARKS if "all" in request.benchmarks else [name for name in BENCHMARKS if name in request.benchmarks]
    try:
        for name in chosen:
            print(f"== {name}", flush=True)
            measures[name]()
            render(places)
    except (CommandFailed, HarnessError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if "render" in request.benchmarks:
        render(places)
    print(f"Written: {places.page}")
    return 0


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
        help="measure the way of today on so many runs of the grid and scale",
    )
    parser.add_argument("--output", type=Path, help="put results, page and picture into this folder instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
