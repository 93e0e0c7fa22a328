"""The picture: how many times faster than the usual way, and what a run costs as a sweep grows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from benchmarks.summaries import Result, epoch_rows, grid_ratio, median_ratio
from benchmarks.surroundings import Places
from harness.paths import atomic_path

# Okabe and Ito's colours, which those with the usual forms of colour blindness can tell apart.
CONTENDERS = {
    "fit": ("Keras fit", "#999999"),
    "fit_tuned": ("Keras fit, tuned", "#56B4E9"),
    "torch": ("PyTorch loop", "#E69F00"),
    "jax": ("JAX scan", "#CC79A7"),
    "compiled": ("compiled engine", "#0072B2"),
    "at_once": ("compiled engine, a process a core", "#D55E00"),
}
OURS, THEIRS = "#0072B2", "#999999"
LINE = 24
"""Letters on a line below a guide's bars."""


def draw(results: Mapping[str, Result], places: Places) -> None:
    """Draw what there are results for; without any, draw nothing."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [name for name in ("grid", "single", "scaling") if name in results]
    if not results:
        return
    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 7.5 if panels and "epochs" in results else 4), layout="constrained")
        upper, lower = _halves(figure) if panels and "epochs" in results else (figure, figure)
        if "epochs" in results:
            _draw_epochs(upper.subplots(), results["epochs"])
        if panels:
            for axes, name in zip(lower.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
                PANELS[name](axes, results[name])
        with atomic_path(places.picture) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _halves(figure: Any) -> Any:
    return figure.subfigures(2, 1, height_ratios=(1.5, 1))


def _draw_epochs(axes: Any, result: Result) -> None:
    width = 0.14
    for place, letter in enumerate(result["guides"]):
        rows = {row.key: row for row in epoch_rows(result, letter)}
        for number, (key, (label, colour)) in enumerate(CONTENDERS.items()):
            row = rows[key]
            if row.missing:
                continue
            at = place + (number - (len(CONTENDERS) - 1) / 2) * width
            axes.bar(at, row.speed, width * 0.92, color=colour, label=label if place == 0 else None)
            axes.annotate(
                f"{row.speed:.1f}", (at, row.speed), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
    titles = [
        "\n".join([letter, *wrap(guide["title"], LINE, break_on_hyphens=False)])
        for letter, guide in result["guides"].items()
    ]
    axes.set_xticks(range(len(titles)), titles, fontsize=8.5)
    axes.set_ylabel("times faster than Keras fit")
    axes.set_title("An epoch of each guide's model", loc="left", fontsize=11)
    axes.margins(x=0.01)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.legend(ncols=3, fontsize=8.5, frameon=False, loc="upper left")


def _draw_grid(axes: Any, result: Result) -> None:
    seconds = [statistics.median(turn["seconds"] for turn in result[name]) for name in ("today", "harness")]
    _draw_pair(axes, seconds, ("the way\nof today", "harness\nsweep"), grid_ratio(result))
    axes.set_title(f"A grid of {result['harness'][0]['runs']} runs", loc="left", fontsize=11)


def _draw_single(axes: Any, result: Result) -> None:
    times = result["seconds"]
    seconds = [statistics.median(times[name]) for name in ("plain", "harness")]
    _draw_pair(axes, seconds, ("plain\nscript", "harness\ntrain"), median_ratio(times["plain"], times["harness"]))
    axes.set_title("A single run", loc="left", fontsize=11)


def _draw_pair(axes: Any, seconds: list[float], labels: tuple[str, str], ratio: float) -> None:
    bars = axes.bar(labels, seconds, width=0.6, color=(THEIRS, OURS))
    axes.bar_label(
        bars, [f"{seconds[0]:.0f} s", f"{seconds[1]:.0f} s\n{ratio:.1f} times faster"], padding=2, fontsize=9
    )
    axes.set_ylabel("seconds")
    axes.set_ylim(top=max(seconds) * 1.25)


def _draw_scaling(axes: Any, result: Result) -> None:
    sweeps = result["sweeps"]
    bars = axes.bar(
        [str(sweep["runs"]) for sweep in sweeps], [sweep["seconds_a_run"] for sweep in sweeps], 0.6, color=OURS
    )
    axes.bar_label(
        bars,
        [f"{sweep['seconds_a_run']:.2f} s\n{sweep['peak_mb'] / 1024:.1f} GB" for sweep in sweeps],
        padding=2,
        fontsize=9,
    )
    axes.set_xlabel("runs in the sweep")
    axes.set_ylabel("seconds a run")
    axes.set_ylim(top=max(sweep["seconds_a_run"] for sweep in sweeps) * 1.35)
    axes.set_title("A growing sweep", loc="left", fontsize=11)


PANELS = {"grid": _draw_grid, "single": _draw_single, "scaling": _draw_scaling}
