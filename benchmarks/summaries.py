"""From raw timings to what the page and the picture say: medians, ratios, shares of the peak, and the goals."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.parts import TRAINING

Result = Mapping[str, Any]

FLAT = 1.1
"""A run of the largest sweep may cost so many times one of the smallest for the cost to be called flat."""


TORCH = {"torch": "PyTorch, a manual loop", "lightning": "PyTorch Lightning, a DataLoader"}


@dataclass(frozen=True)
class Row:
    """One contender in one guide: `seconds` an epoch by round, empty if it is `missing` for the reason given.

    `speed` is how many times faster than Keras's `fit` it is, the median over rounds of the ratio in each;
    `share` is likewise its part of the rate of a large matrix product in the same round (0 to 1).
    """

    key: str
    label: str
    seconds: Sequence[float] = ()
    speed: float = 0.0
    share: float = 0.0
    accuracy: float = 0.0
    missing: str = ""


@dataclass(frozen=True)
class Goal:
    """What was aimed at, what was measured, and whether it is enough."""

    aim: str
    measured: str
    met: bool


@dataclass(frozen=True)
class EngineRow:
    """One setting in both engines: seconds of an epoch, how many times as long `keras` takes as `compiled`, what `auto`
    chooses, and `cost`, how many times as long the compiled engine takes as without the setting."""

    words: str
    compiled: float
    keras: float
    ratio: float
    auto: str
    cost: float


def engine_rows(result: Result) -> list[EngineRow]:
    """The settings, in the order of the page; the first of each model has nothing set."""
    without: dict[str, float] = {}
    rows = []
    for row in result["rows"]:
        compiled, keras = row["seconds"]["compiled"], row["seconds"]["keras"]
        without.setdefault(row["model"], compiled)
        words = f"{row['model']} {row['setting']}".strip()
        rows.append(EngineRow(words, compiled, keras, keras / compiled, row["auto"], compiled / without[row["model"]]))
    return rows


def peak_rates(guide: Mapping[str, Any]) -> Sequence[float]:
    """GFLOP/s in each of the guide's rounds of the library that multiplies fastest (by its median)."""
    rates: Mapping[str, Sequence[float]] = guide["peak_gflops"]
    return rates[max(rates, key=lambda library: statistics.median(rates[library]))]


def epoch_rows(result: Result, letter: str) -> list[Row]:
    """The contenders of one guide, in the order of the page."""
    guide = result["guides"][letter]
    contenders, copies, peak = guide["contenders"], result["copies"], peak_rates(guide)
    fit = contenders["fit"]["seconds"]
    setting = contenders["fit_tuned"].get("setting", {})
    threads = {name: contenders.get(name, {}).get("setting", {}).get("threads", copies) for name in TORCH}
    at_once = f"compiled engine, {copies} processes of one thread at once"
    wanted = (
        ("fit", "fit", "seconds", "Keras `fit`"),
        ("fit_tuned", "fit_tuned", "seconds", f"Keras `fit`, {_setting_in_words(setting)}"),
        *((name, name, "seconds", f"{label}, {_counted(threads[name], 'thread')}") for name, label in TORCH.items()),
        ("jax", "jax", "seconds", "JAX, one `lax.scan`"),
        ("compiled", "compiled", "seconds", "**compiled engine**"),
        ("compiled_whole", "compiled", "whole_seconds", "compiled engine with its clean pass"),
        ("at_once", "compiled_at_once", "seconds", f"**{at_once}**"),
        ("at_once_whole", "compiled_at_once", "whole_seconds", f"{at_once}, with the clean pass"),
    )
    rows = []
    for key, name, unit, label in wanted:
        if name not in contenders:
            continue  # measured before this contender took part
        contender = contenders[name]
        if missing := contender.get("absent") or contender.get("refused"):
            rows.append(Row(key, label, missing=missing))
            continue
        seconds = contender[unit]
        flop = guide["flop" if unit == "seconds" else "flop_with_pass"]
        rows.append(
            Row(
                key,
                label,
                seconds,
                median_ratio(fit, seconds),
                statistics.median(flop / own / 1e9 / rate for own, rate in zip(seconds, peak, strict=True)),
                contender["accuracy"],
            )
        )
    return rows


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _setting_in_words(setting: Mapping[str, Any]) -> str:
    return " ".join(f"`{name}={value}`" for name, value in setting.items()) or "tuned"


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median over rounds of how many times faster `fast` was in that round."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


def grid_ratio(result: Result, name: str = "harness") -> float:
    """How many times faster than the way of today a contender is, from the medians of the whole grid."""
    return _median_seconds(result["today"]) / _median_seconds(result[name])


def _median_seconds(turns: Sequence[Mapping[str, float]]) -> float:
    return statistics.median(turn["seconds"] for turn in turns)


def growth(result: Result) -> float:
    """What a run of the largest sweep costs, as a multiple of one of the smallest; start-up is left out."""
    sweeps = sorted(result["sweeps"], key=lambda sweep: sweep["runs"])
    return float(sweeps[-1]["seconds_a_run"] / sweeps[0]["seconds_a_run"])


def marginal_seconds(result: Result) -> list[float | None]:
    """What each run more costs from one sweep to the next larger one; nothing for the first."""
    sweeps = result["sweeps"]
    more = [
        (large["seconds"] - small["seconds"]) / (large["runs"] - small["runs"])
        for small, large in itertools.pairwise(sweeps)
    ]
    return [None, *more]


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """The goals that the results at hand can be compared with."""
    return [
        *_epoch_goals(results.get("epochs")),
        *_engine_goals(results.get("engines")),
        *_parts_goals(results.get("parts")),
        *_grid_goals(results.get("grid")),
        *_single_goals(results.get("single")),
        *_scaling_goals(results.get("scaling")),
        *_comparing_goals(results.get("comparing")),
        *_planning_goals(results.get("planning")),
    ]


def _epoch_goals(result: Result | None) -> Iterator[Goal]:
    if result is None or "A" not in result["guides"]:
        return
    rows = {row.key: row for row in epoch_rows(result, "A")}
    ours, jax, at_once = rows["compiled"], rows["jax"], rows["at_once"]
    if ours.missing or at_once.missing:
        return
    yield Goal("an epoch of guide A at least 8 times faster than `fit`", f"{ours.speed:.1f} times", ours.speed >= 8)
    if not jax.missing:
        ratio = median_ratio(jax.seconds, ours.seconds)
        yield Goal("the same at least 2 times faster than the JAX scan", f"{ratio:.1f} times", ratio >= 2)
    yield Goal(
        "at least half of the peak matrix product while a sweep trains", f"{at_once.share:.0%}", at_once.share >= 0.5
    )


def _engine_goals(result: Result | None) -> Iterator[Goal]:
    if result is None:
        return
    rows = engine_rows(result)
    dropout = max((row.cost for row in rows if row.words.endswith("model.dropout=0.2")), default=math.nan)
    yield Goal("an epoch with dropout in at most 1.3 times one without", f"{dropout:.2f} times", dropout <= 1.3)
    least = min(row.ratio if row.auto == "compiled" else 1 / row.ratio for row in rows)
    yield Goal("`engine=auto` never takes the slower engine", f"the other takes {least:.2f} times or more", least >= 1)


def _parts_goals(result: Result | None) -> Iterator[Goal]:
    if result is not None:
        seconds = sum(part["processor"] for name, part in result["parts"].items() if name != TRAINING)
        yield Goal(
            "a run of a sweep in at most 0.35 s besides training", f"{seconds:.2f} s of the processor", seconds <= 0.35
        )


def _grid_goals(result: Result | None) -> Iterator[Goal]:
    if result is not None:
        ratio = grid_ratio(result)
        yield Goal("the grid at least 15 times faster than the usual way", f"{ratio:.1f} times", ratio >= 15)


def _single_goals(result: Result | None) -> Iterator[Goal]:
    if result is not None:
        ours, plain = (statistics.median(result["seconds"][name]) for name in ("harness", "plain"))
        yield Goal(
            "a tracked run of guide A in less time than the plain script", f"{ours:.1f} s, {plain:.1f} s", ours < plain
        )


def _scaling_goals(result: Result | None) -> Iterator[Goal]:
    if result is not None and len(result["sweeps"]) > 1:
        sizes = sorted(sweep["runs"] for sweep in result["sweeps"])
        measured = growth(result)
        yield Goal(
            f"the cost of a run flat from {sizes[0]} to {sizes[-1]} runs",
            f"{measured:.2f} times (flat: up to {FLAT})",
            measured <= FLAT,
        )


def _comparing_goals(result: Result | None) -> Iterator[Goal]:
    if result is not None:
        seconds = statistics.median(result["seconds"]["table"])
        yield Goal(
            f"`harness compare` of {result['runs']:,} runs of {result['epochs']} epochs in under 5 s",
            f"{seconds:.1f} s",
            seconds < 5,
        )


PLANNING_GOALS = {"1000": 3, "10000": 15}
"""Seconds of processor time for so many jobs."""


def _planning_goals(result: Result | None) -> Iterator[Goal]:
    for jobs, plans in result["plans"].items() if result is not None else ():
        seconds, most = statistics.median(plan["seconds"] for plan in plans), PLANNING_GOALS[jobs]
        megabytes = max(plan["megabytes"] for plan in plans)
        yield Goal(
            f"`harness sweep --plan` of {int(jobs):,} jobs in under {most} s and 300 MB",
            f"{seconds:.1f} s, {megabytes:.0f} MB",
            seconds < most and megabytes < 300,
        )
