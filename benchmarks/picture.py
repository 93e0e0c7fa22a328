"""The picture: how many times faster than the usual way, and what a run costs as a sweep grows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
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
    "lightning": ("PyTorch Lightning", "#F0E442"),
    "jax": ("JAX scan", "#CC79A7"),
    "compiled": ("compiled engine", "#0072B2"),
    "at_once": ("compiled engine, a process a core", "#D55E00"),
}
GRID = {
    "today": "way of\ntoday",
    "optuna": "Optuna",
    "optuna_at_once": "in\nthreads",
    "ray": "Ray\nTune",
    "harness": "harness\nsweep",
}
OURS, THEIRS = "#0072B2", "#999999"
LINE = 24
"""Letters on a line below a guide's bars."""
IN_A_ROW, ROW, PANELS_HEIGHT = 5, 4, 3.2
"""Guides beside each other; inches of a row of them, and of the other panels."""


def draw(results: Mapping[str, Result], places: Places) -> None:
    """Draw what there are results for; without any, draw nothing."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [name for name in PANELS if name in results]
    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    letters = list(results["epochs"]["guides"]) if "epochs" in results else []
    rows = [letters[start : start + IN_A_ROW] for start in range(0, len(letters), IN_A_ROW)]
    heights = [ROW * len(rows), *([PANELS_HEIGHT] if panels else [])] if rows else [PANELS_HEIGHT]
    if not rows and not panels:
        return
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, sum(heights)), layout="constrained")
        halves = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if rows:
            for number, axes in enumerate(halves[0].subplots(len(rows), 1, squeeze=False)[:, 0]):
                _draw_epochs(axes, results["epochs"], rows[number], first=number == 0)
        if panels:
            for axes, name in zip(halves[-1].subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
                PANELS[name](axes, results[name])
        with atomic_path(places.picture) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _draw_epochs(axes: Any, result: Result, letters: Sequence[str], first: bool) -> None:
    width = 0.12
    for place, letter in enumerate(letters):
        rows = {row.key: row for row in epoch_rows(result, letter)}
        for number, (key, (_, colour)) in enumerate(CONTENDERS.items()):
            row = rows.get(key)
            if row is None or row.missing:
                continue
            at = place + (number - (len(CONTENDERS) - 1) / 2) * width
            axes.bar(at, row.speed, width * 0.92, color=colour)
            axes.annotate(
                f"{row.speed:.1f}", (at, row.speed), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
    titles = [
        "\n".join([letter, *wrap(result["guides"][letter]["title"], LINE, break_on_hyphens=False)])
        for letter in letters
    ]
    axes.set_xticks(range(len(titles)), titles, fontsize=8.5)
    axes.set_ylabel("times faster than Keras fit")
    axes.set_title("An epoch of each model", loc="left", fontsize=11) if first else None
    axes.margins(x=0.01)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    if first:
        from matplotlib.patches import Patch

        handles = [Patch(color=colour, label=label) for label, colour in CONTENDERS.values()]
        axes.legend(handles=handles, ncols=4, fontsize=8.5, frameon=False, loc="upper left")


def _draw_grid(axes: Any, result: Result) -> None:
    labels = {name: label for name, label in GRID.items() if isinstance(result.get(name), list)}
    seconds = [statistics.median(turn["seconds"] for turn in result[name]) for name in labels]
    _draw_bars(axes, seconds, list(labels.values()), grid_ratio(result))
    axes.set_title(f"A grid of {result['harness'][0]['runs']} runs", loc="left", fontsize=11)


def _draw_single(axes: Any, result: Result) -> None:
    times = result["seconds"]
    seconds = [statistics.median(times[name]) for name in ("plain", "harness")]
    _draw_bars(axes, seconds, ("plain\nscript", "harness\ntrain"), median_ratio(times["plain"], times["harness"]))
    axes.set_title("A single run", loc="left", fontsize=11)


def _draw_bars(axes: Any, seconds: Sequence[float], labels: Sequence[str], ratio: float) -> None:
    """Ours is the last, and `ratio` times faster than the first."""
    *theirs, ours = seconds
    bars = axes.bar(labels, seconds, width=0.6, color=[*[THEIRS] * len(theirs), OURS])
    words = [*(f"{each:.0f} s" for each in theirs), f"{ours:.0f} s\n{ratio:.1f} times faster"]
    axes.bar_label(bars, words, padding=2, fontsize=9)
    axes.tick_params(axis="x", labelsize=9)
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
