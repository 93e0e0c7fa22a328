"""The page: what was measured, as Markdown, from whatever results there are."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping

from benchmarks.parts import TRAINING
from benchmarks.summaries import Result, engine_rows, epoch_rows, goals, grid_ratio, marginal_seconds, median_ratio
from benchmarks.surroundings import Places
from benchmarks.tables import seconds_text, spread, table, times, where

HEAD = """\
# Benchmarks

For everybody who asks how fast the harness is, and compared with what. `make bench` measures on this machine and writes
this page from `benchmarks/results/`:

```
make bench                              # everything
make bench ARGS=grid                    # one part again
make bench ARGS="epochs --guides I"     # of the epochs one model again
make bench ARGS="all --quick"           # try everything in minutes, and leave this page alone
```

{parts}
Everything takes about two hours on two cores: `epochs` 45 minutes, `scaling` 20, `grid` 15, each of the others at most
10. A part is kept as soon as it is measured. One that fails is named at the end, with the command to measure it again.

Contenders take turns in rounds, each in its own processes. Seconds are medians, with the smallest and the largest
beside them. A ratio is always between times of one benchmark. Each contender is checked: it must reach a training
accuracy, or its runs must be in its store."""


def page(results: Mapping[str, Result], places: Places) -> str:
    """The page as Markdown; it shows the picture if that has been drawn."""
    return "\n\n".join(_parts(results, places)) + "\n"


def _parts(results: Mapping[str, Result], places: Places) -> Iterator[str]:
    yield HEAD.replace("{parts}", _part_names())
    if any(result["quick"] for result in results.values()):
        yield "**A trial with `--quick`: a part of the data and a few epochs. These numbers are no measurement.**"
    aims = [(goal.aim, goal.measured, "yes" if goal.met else "**no**") for goal in goals(results)]
    if aims:
        yield "## Goals"
        yield table(("goal", "measured", "met"), aims)
    if places.picture.exists():
        picture = os.path.relpath(places.picture, places.page.parent)
        yield f"![How the contenders compare: an epoch, a grid, a growing sweep and a single run]({picture})"
    for name, section in SECTIONS.items():
        if name in results:
            yield from section(results[name])
            yield where(results[name])


def _part_names() -> str:
    *names, last = (f"`{name}`" for name in sorted(SECTIONS))
    return f"The parts are {', '.join(names)} and {last}."


def _limits(result: Result, of_what: str) -> Iterator[str]:
    """What no contender can go below, if it was measured."""
    if limits := result.get("limits"):
        yield (
            f"The limit: importing TensorFlow alone takes {limits['import_seconds']:.1f} s, and the matrix products of "
            f"training {of_what} take {seconds_text(limits['arithmetic_seconds'])} s at the peak of this machine "
            f"({limits['gflops']:.0f} GFLOP/s, see [above](#an-epoch))."
        )


def _epochs(result: Result) -> Iterator[str]:
    size = result["peak_size"]
    yield "## An epoch"
    yield (
        "The time of one epoch of training, without evaluation, after a first one. Every contender shuffles and "
        "may use all cores. `fit` and Lightning have no progress bar; all but the harness have arrays that were scaled "
        "beforehand. PyTorch and JAX compute no running accuracy. A shift is a layer in Keras, which XLA cannot "
        "compile, and indexing in PyTorch and JAX. *With its clean pass*: the harness also evaluates "
        "all training images in inference mode. *Processes at once*: this is how a sweep trains; the seconds are "
        "those of the slowest process, divided by their number."
    )
    yield (
        f"The peak is a {size} x {size} float32 product on all cores, measured in the same rounds with the library "
        "that is fastest at it. Only the matrix products that training needs are counted (forward, gradients of "
        "weights, gradients of inputs except those of the first layer), 2 operations for each weight and image."
    )
    for letter, guide in result["guides"].items():
        yield f"### {letter}: {guide['title']}"
        peaks = ", ".join(f"{name} {statistics.median(rates):.0f}" for name, rates in guide["peak_gflops"].items())
        yield f"{guide['flop'] / 1e9:.1f} GFLOP an epoch of {guide['images']:,} images. Peak in GFLOP/s: {peaks}."
        lines = []
        for row in epoch_rows(result, letter):
            if row.missing:
                lines.append((row.label, f"left out: {row.missing}", "", "", "", ""))
            else:
                accuracy = "" if row.key.endswith("_whole") else f"{row.accuracy:.3f}"
                lines.append((row.label, *spread(row.seconds), times(row.speed), f"{row.share:.0%}", accuracy))
        yield table(("contender", "seconds", "from, to", "times `fit`", "of the peak", "training accuracy"), lines)


GRID = {
    "today": "Hydra, `fit`, autologging",
    "optuna": "Optuna, `fit`, a run a trial",
    "optuna_at_once": "Optuna, a thread a core",
    "ray": "Ray Tune, `fit`, its MLflow callback",
    "harness": "**`harness sweep`**",
}
"""The contenders, in the order of the page."""


def _grid(result: Result) -> Iterator[str]:
    whole = result["harness"][0]["runs"]
    yield "## A grid"
    yield (
        f"{whole} runs of {result['epochs']} epochs (models, optimizers, seeds), each fully tracked in a new SQLite "
        "store, as one command from start to exit. The usual way is `benchmarks/today/`: Hydra's multirun, Keras's "
        "`fit` with validation data, `mlflow.keras.autolog()`. It evaluates the test images every epoch. The "
        "harness evaluates the training images every epoch and the test images at the end, draws figures and "
        "compares the runs; its time includes all of this."
    )
    if any(name in result for name in GRID if name not in ("today", "harness")):
        yield (
            "Optuna and Ray Tune, also in `benchmarks/today/`, evaluate the test images every epoch and track settings "
            "and metrics, but neither models nor figures. Optuna trains trials one after another, or in threads, which "
            "share Keras's random seed; Ray Tune in a new process with one core each."
        )
    parts = [turns[0] for name in GRID if isinstance(turns := result.get(name), list) and turns[0]["runs"] < whole]
    if parts:
        took = ", ".join(f"{part['measured_seconds']:.0f} s" for part in parts)
        yield (
            f"All but the harness were measured on {parts[0]['runs']} of the runs ({took}) and scaled to all of them, "
            "except their start-up."
        )
    yield from _limits(result, "all runs")
    lines = []
    for name, label in GRID.items():
        turns = result.get(name, [])
        if not turns:
            continue  # measured before this contender took part
        if "absent" in turns:
            lines.append((label, f"left out: {turns['absent']}", "", "", "", ""))
            continue
        each = statistics.median(turn["seconds_a_run"] for turn in turns)
        seconds = [turn["seconds"] for turn in turns]
        lines.append((label, *spread(seconds), f"{each:.2f}", times(grid_ratio(result, name)),
                      f"{turns[-1]['accuracy']:.3f}"))  # fmt: skip
    yield table(("contender", "seconds", "from, to", "seconds a run", "times today's", "training accuracy"), lines)


def _scaling(result: Result) -> Iterator[str]:
    yield "## A growing sweep"
    yield (
        "`harness sweep model=mlp_128 regime.epochs=1` over so many seeds, each in a new project. Start-up ends "
        "when the first run begins; the rest is divided by the number of runs. *Each run more* is the difference "
        "between two sweeps, so it contains no start-up. Memory is that of all processes together "
        f"({result['memory_kind']}, sampled twice a second); at the end: the last three seconds."
    )
    yield from _limits(result, "one run")
    lines = [
        (
            str(sweep["runs"]),
            f"{sweep['seconds']:.1f}",
            f"{sweep['start_up_seconds']:.1f}",
            f"{sweep['seconds_a_run']:.2f}",
            "" if more is None else f"{more:.2f}",
            f"{sweep['peak_mb']:,.0f}",
            f"{sweep['end_mb']:,.0f}",
        )
        for sweep, more in zip(result["sweeps"], marginal_seconds(result), strict=True)
    ]
    heads = ("runs", "seconds", "start-up", "seconds a run", "each run more", "most MB", "MB at the end")
    yield table(heads, lines)


def _single(result: Result) -> Iterator[str]:
    yield "## A single run"
    yield (
        f"Guide A, {result['epochs']} epochs, from start to exit, imports included: `harness train`, which tracks "
        "metrics, parameters, model, figures and data, against `benchmarks/plain_script.py`, the notebook as a script "
        "with its plots saved and nothing tracked. The first run of each is listed separately, because in it the "
        "harness makes its store."
    )
    yield from _limits(result, "it")
    seconds = result["seconds"]
    lines = [
        (
            label,
            *spread(seconds[name]),
            times(median_ratio(seconds["plain"], seconds[name])),
            f"{result['first_seconds'][name]:.1f}",
            f"{result['test_accuracy'][name]:.3f}",
        )
        for name, label in (("plain", "plain script"), ("harness", "**`harness train`**"))
    ]
    yield table(("contender", "seconds", "from, to", "times the script", "first run", "test accuracy"), lines)


def _comparing(result: Result) -> Iterator[str]:
    yield "## Comparing many runs"
    yield (
        f"One sweep of {result['runs']:,} runs of {result['epochs']} epochs in a SQLite store of "
        f"{result['megabytes']:,.0f} MB, written by SQL into the tables that MLflow had made (`benchmarks/stores.py`); "
        "whole commands, from start to exit. The usual way is `mlflow.search_runs` and means over seeds with pandas, "
        "measured once: means and deviations of one score, no intervals, no ranks."
    )
    search = result["search_seconds"]
    labels = {
        "table": "**`harness compare`**",
        "effect": "`harness compare --effect optimizer`",
        "csv": "`harness compare --format csv`, bootstrap intervals included",
    }
    lines = [("`mlflow.search_runs` and pandas", f"{search:.1f}", "", times(1.0))]
    for name, label in labels.items():
        seconds = result["seconds"][name]
        lines.append((label, f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}, {max(seconds):.1f}",
                      times(search / statistics.median(seconds))))  # fmt: skip
    yield table(("command", "seconds", "from, to", "times the usual way"), lines)


def _planning(result: Result) -> Iterator[str]:
    compose = statistics.median(result["compose_seconds"])
    yield "## Planning a sweep"
    yield (
        "`harness sweep --plan` of widths crossed with ten learning rates, imports and table included: every job "
        f"is configured, checked and fingerprinted. Seconds are processor time. Hydra composes a job in {compose:.3f} "
        "s, and does nothing else with it."
    )
    lines = []
    for jobs, plans in result["plans"].items():
        seconds = [plan["seconds"] for plan in plans]
        lines.append((f"{int(jobs):,}", *spread(seconds), f"{1000 * statistics.median(seconds) / int(jobs):.2f}",
                      times(compose * int(jobs) / statistics.median(seconds)),
                      f"{max(plan['megabytes'] for plan in plans):.0f}"))  # fmt: skip
    yield table(("jobs", "seconds", "from, to", "ms a job", "times Hydra's composing", "MB at most"), lines)


def _claims(result: Result) -> Iterator[str]:
    yield "## Claims of jobs"
    yield (
        "What [`harness join`](scaling.md) asks of the store, with a SQLite store, in milliseconds (the smallest of "
        "five): to claim a job, and to read which jobs are claimed, when nearly all jobs of the sweep are."
    )
    lines = [
        (f"{int(jobs):,}", f"{1000 * seconds['claim']:.0f}", f"{1000 * seconds['look']:.0f}")
        for jobs, seconds in result["seconds"].items()
    ]
    yield table(("jobs", "a claim", "a look"), lines)
    if joined := result.get("joined"):
        yield (
            f"{joined['machines']} machines (threads) that join one sweep of {joined['jobs']} jobs of about "
            f"{joined['job_seconds']:g} s, without training and display, and a server with a SQLite store, all on this "
            f"machine: {joined['requests']:,} requests in {joined['seconds']:.0f} s. Each job was claimed once; "
            f"{joined['late']} claims came too late. A claim took {joined['claim_median']:.2f} s in the middle, 95 % "
            f"took at most {joined['claim_most']:.2f} s."
        )


def _search(result: Result) -> Iterator[str]:
    yield "## A search"
    yield (
        "Epochs of training until a [search](searching.md) has a configuration within 0.5 points of the best "
        f"validation accuracy of a grid of {result['configurations']} ({result['epochs']} epochs each), replayed from "
        f"recorded curves with {len(result['until']['TPE'])} seeds. A suggestion of TPE takes "
        f"{1000 * result['early']:.0f} ms of processor time after 100 trials, "
        f"{1000 * result['late']:.0f} ms after {result['trials']:,}."
    )
    usual = statistics.median(result["until"]["random"])
    lines = [(name, f"{statistics.median(found):,.0f}", f"{min(found):,}, {max(found):,}",
              times(usual / statistics.median(found))) for name, found in result["until"].items()]  # fmt: skip
    yield table(("search", "epochs", "from, to", "times fewer than random"), lines)


def _server(result: Result) -> Iterator[str]:
    yield "## A tracking server"
    runs = {name: [statistics.median(one[key] for one in each) for key in ("seconds", "processor")]
            for name, each in result["runs"].items()}  # fmt: skip
    yield (
        "[A server](server.md) on this machine, which shares its cores. Warm runs of one process with three figures, "
        "on the server and on a SQLite file in turns: medians, on the clock and of the run's own processor time."
    )
    labels = {"file": "a SQLite file", "server": "the server"}
    lines = [(labels[name], *(f"{value:.2f}" for value in runs[name])) for name in labels]
    more = [f"{there - here:+.2f}" for there, here in zip(runs["server"], runs["file"], strict=True)]
    yield table(("a warm run on", "seconds", "processor seconds"), [*lines, ("**more on the server**", *more)])
    yield (
        f"`harness compare` of finished runs of {result['epochs']} epochs, whole commands: the first time, and again "
        "with what the machine has kept (the smallest of three), on the clock and of the command's own processor time."
    )
    lines = [
        (f"{int(size):,}", *(f"{found[key]:.1f}" for key in ("first", "first_processor", "again", "again_processor")))
        for size, found in result["compared"].items()
    ]
    yield table(("runs", "first, seconds", "processor", "again, seconds", "processor"), lines)


def _run_parts(result: Result) -> Iterator[str]:
    yield "## What a run costs besides training"
    yield (
        f"By part, in a sweep: runs of one process with one thread (`{' '.join(result['settings'])}`), SQLite "
        "store, after a first run. For each part the smallest time of all runs, on the clock and of the processor; "
        "on a busy machine only the processor time means something. A part inside another part is counted once."
    )
    parts = sorted(result["parts"].items(), key=lambda part: -part[1]["processor"])
    lines = []
    for name, part in parts:
        if name != TRAINING:
            calls = f"{part['calls']:.0f}" if part["calls"] else ""
            lines.append((name, calls, f"{part['seconds']:.3f}", f"{part['processor']:.3f}"))
    total = [sum(part[kind] for name, part in parts if name != TRAINING) for kind in ("seconds", "processor")]
    lines.append(("**together**", "", *(f"**{seconds:.3f}**" for seconds in total)))
    yield table(("part", "calls", "seconds", "processor seconds"), lines)


def _engines(result: Result) -> Iterator[str]:
    yield "## Engines"
    yield (
        "Regularisation and augmentation in both engines, in turns: processor seconds of one epoch with one thread, "
        f"with the clean pass, without compiling, of {result['images']:,} images of Fashion-MNIST (`model=cnn`: "
        f"{result['few_images']:,}). `keras` is Keras's own `fit`. The last column shows the cost of the setting "
        "in the compiled engine."
    )
    lines = [
        (f"`{row.words}`", f"{row.compiled:.3f}", f"{row.keras:.3f}", f"{row.ratio:.2f}", row.auto,
         f"{row.cost:.2f}")
        for row in engine_rows(result)
    ]  # fmt: skip
    heads = ("setting", "compiled", "keras", "keras / compiled", "`auto` takes", "times without it")
    yield table(heads, lines)


SECTIONS = {
    "epochs": _epochs,
    "engines": _engines,
    "parts": _run_parts,
    "grid": _grid,
    "scaling": _scaling,
    "single": _single,
    "comparing": _comparing,
    "planning": _planning,
    "claims": _claims,
    "server": _server,
    "search": _search,
}
