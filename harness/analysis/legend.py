"""The text above and below a comparison's table: title, constants, legend, warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from harness.analysis.comparison import Comparison
from harness.analysis.csv_runs import CSV
from harness.analysis.measures import counted, shortened
from harness.analysis.rows import DRAWS, STAGES, Row
from harness.analysis.settings import ABSENT, SEED, headings
from harness.config.schema import Config, flatten
from harness.metrics import NORMAL_QUANTILE
from harness.records import VARIANT_PARAMETER, Place

_ALWAYS_NAMED = (
    "dataset.name", "model.name", "optimizer.name", "optimizer.learning_rate", "regime.epochs", "regime.batch_size",
    "optimizer_name", "optimizer_learning_rate", "opt_name", "opt_learning_rate", "lr", "epochs",
    "batch_size",  # of autologging
)  # fmt: skip
_NAMED_OPTIONS = ("optimizer.momentum", "optimizer.weight_decay")
_ROWS_NAMED, _SEEDS_NAMED = 5, 10
UNDERFIT: Mapping[Place, str] = {
    Place.UNDERFIT: "beyond its interval", Place.PERHAPS_UNDERFIT: "by its mean only: more seeds would tell",
}  # fmt: skip
"""The meaning of the two words."""


def headline(comparison: Comparison) -> str:
    """The title: what is compared, and the numbers of runs and configurations."""
    text = f"{comparison.title or 'Comparison'}: {counted(comparison.runs, 'run')}"
    if (shown := len(comparison.rows)) == comparison.configurations:
        return f"{text}, {counted(shown, 'configuration')}"
    return f"{text}, the Pareto front: {shown} of {counted(comparison.configurations, 'configuration')}"


def context(comparison: Comparison) -> list[str]:
    """The lines with the important constant settings, and those that follow from shown settings."""
    defaults = {key: str(value) for key, value in flatten(Config()).items()}
    named = [key for key in comparison.constants if _is_named(key, comparison.constants[key], defaults)]
    short = headings([*comparison.settings, *comparison.follows, *named])
    lines = [] if comparison.stage == "final" else [f"Scored {STAGES[comparison.stage]}."]
    if named:
        lines.append("All: " + ", ".join(f"{short[key]} {comparison.constants[key]}" for key in named))
    for key, source in comparison.follows.items():
        if key in _ALWAYS_NAMED:
            lines.append(f"By {short[source]}: {short[key]} {_by_value(comparison, key, source)}")
    return lines


def _by_value(comparison: Comparison, key: str, source: str) -> str:
    """The values of a setting that follows from another: `0.001 for adam, rmsprop; 0.01 for sgd`."""
    sources: dict[str, set[str]] = {}
    for row in comparison.rows:
        for run in row.runs:
            sources.setdefault(run.parameters.get(key, ABSENT), set()).add(run.parameters.get(source, ABSENT))
    return "; ".join(f"{value} for {', '.join(sorted(of))}" for value, of in sorted(sources.items()))


def _is_named(key: str, value: str, defaults: Mapping[str, str]) -> bool:
    if key in _ALWAYS_NAMED:
        return True
    if key == VARIANT_PARAMETER:
        return value.startswith("variant")
    if key.startswith("optimizer."):  # the schema's defaults are null; the rest is Keras's own default as a rule
        return key in _NAMED_OPTIONS and value not in ("None", "0.0")
    return key in defaults and value != defaults[key]


def legend(comparison: Comparison) -> list[str]:
    """How to read the numbers; the last line says where to see the runs."""
    lines = ["Gaps: accuracy train - held-out in points, loss held-out - train. Positive means overfitting."]
    lines += _repeated(comparison)
    counts = [row.replicates for row in comparison.rows]
    if any(count > 1 for count in counts):
        lines.append(_interval(comparison, 2 in counts))
        lines += images_not_kept(comparison) if comparison.interval == "seeds+images" else []
    held_out = comparison.held_out
    if any(row.on_front for row in comparison.rows) and comparison.configurations > 1:
        sure = any(not math.isnan(row.front_share) for row in comparison.rows if row.on_front)
        share = (
            f", and the share of resamples over {what_is_repeated(comparison)}s that put the row there" if sure else ""
        )
        enough = "accurate enough, and " if any(row.underfit for row in comparison.rows) else ""
        lines.append(
            f"front: {enough}no other row has both a better {held_out} accuracy and a smaller gap (Pareto){share}."
        )
    if any(row.underfit for row in comparison.rows):
        lines.append(underfit_in_words(comparison))
    if comparison.scored_apart:
        lines.append(f"{apart_in_words(comparison)}.")
    stored = any(run.experiment_id != CSV for row in comparison.rows for run in row.runs)
    return [*lines, *marks(comparison), *(["The runs in the MLflow UI: harness ui"] if stored else [])]


def what_is_repeated(comparison: Comparison) -> str:
    """The unit of replication of a row's values: `seed` or `draw`."""
    return "draw" if any(row.over_draws for row in comparison.rows) else "seed"


def _repeated(comparison: Comparison) -> list[str]:
    """The replicated settings, and how much draws, seeds and images change the ranked gap."""
    if not comparison.replicates:
        return []
    names = ", ".join([SEED, *(DRAWS[key] for key in comparison.replicates)])
    if not any(row.over_draws for row in comparison.rows):
        return [f"Replicates: {names}. Their draws are the same images here: equal runs count once."]
    lines = [f"Replicates: {names}. What is repeated is the draw of images: its seeds count once, with their mean."]
    parts = components(comparison, f"gap_{comparison.held_out}_accuracy")
    shown = [f"{100 * value:.2f} {name}" for name, value in parts.items()]
    if shown:
        lines.append(f"Gap of accuracy, standard deviations in points (all rows together): {', '.join(shown)}.")
    return lines


def components(comparison: Comparison, name: str) -> dict[str, float]:
    """The components of a score's variation, as root mean squares over the rows: the standard deviation `between draws`
    (without that of their seeds) and `between seeds` of a draw, and the standard error of `held-out images`."""
    rows = [row for row in comparison.rows if name in row.scores]
    within = [value for row in rows if (value := row.within_draws(name)) is not None]
    seeds = math.fsum(value**2 for value in within) / len(within) if within else 0.0
    spread = [
        (row.scores[name].deviation or 0.0) ** 2 - seeds / _seeds_a_draw(row)
        for row in rows if row.scores[name].deviation is not None
    ]  # fmt: skip
    images = [error**2 for row in rows if (error := row.scores[name].image_error) is not None]
    found = {}
    if spread:
        found["between draws"] = math.sqrt(max(0.0, math.fsum(spread) / len(spread)))
    if within:
        found["between seeds"] = math.sqrt(seeds)
    if any(images):
        found["held-out images"] = math.sqrt(math.fsum(images) / len(images))
    return found


def _seeds_a_draw(row: Row) -> float:
    return len({row.units[run.run_id] for run in row.finished_runs}) / max(1, row.replicates)


def _interval(comparison: Comparison, pairs: bool) -> str:
    """What ± is, what it includes and what it does not."""
    repeated = what_is_repeated(comparison)
    of = f"the n {repeated}s of a row" if comparison.reading.alike else "the n finished runs of a row"
    two = f" Of two {repeated}s it is nine times their deviation." if pairs else ""
    if comparison.interval == "seeds+images":
        return (
            f"± is the half width of the 95 % interval (t) of the mean over {of} and the held-out images: what another "
            f"{repeated} and other images of the same kind would change.{two}"
        )
    text = f"± is the half width of the 95 % interval (t) of the mean over {of}: what another {repeated} would change"
    gap = f"gap_{comparison.held_out}_accuracy"
    # Always by the formula, even if predictions were read, so that the same runs get the same text everywhere.
    errors = [
        math.sqrt(variance)
        for row in comparison.rows
        if (score := row.scores.get(gap)) and score.image_error
        and (variance := comparison.held_out_images.by_formula(row, gap))
    ]  # fmt: skip
    if not errors:
        return f"{text}, not what other held-out images would.{two}"
    return (
        f"{text} on these {comparison.images_in_words}. Others would move accuracies and gaps by up to "
        f"±{100 * NORMAL_QUANTILE * median(errors):.1f} points more (--interval seeds+images).{two}"
    )


def images_not_kept(comparison: Comparison) -> list[str]:
    """How intervals over images are computed if predictions were not logged, or cannot be read."""
    old = [row for row in comparison.rows if row.finished and not comparison.held_out_images.kept(row)]
    if not old:
        return []
    lacking = f"What the runs of {counted(len(old), 'row')} answer for each image was not kept, or cannot be read"
    accuracies = [row.scores.get(f"{comparison.held_out}_accuracy") for row in old]
    if any(score is not None and score.image_error is not None for score in accuracies):
        return [
            f"{lacking}: for the part of the images the formula p (1 - p) / N stands in, p being the accuracy on N "
            "images; for losses that part is not known."
        ]
    return [f"{lacking}: what other images would change is not known of them."]


def underfit_in_words(comparison: Comparison) -> str:
    """The meaning of `underfit` and `underfit?`."""
    present = {row.place for row in comparison.rows}
    words = "; ".join(f"{place} {how}" for place, how in UNDERFIT.items() if place in present)
    return f"underfit: {comparison.held_out} accuracy {floor_in_words(comparison)} ({words}); not ranked by its gap."


def marks(comparison: Comparison) -> list[str]:
    """The meaning of † (figures that are too good because of a selection, and why) and of ‡ (running averages)."""
    lines = [f"‡ rests on {comparison.reading.running}"] if comparison.reading.running else []
    lines += [
        f"† {split} figures make what was selected look too good: {'; '.join(reasons)}."
        for split, reasons in comparison.selected_on.items()
    ]
    return lines


def floor_in_words(comparison: Comparison) -> str:
    """The accuracy floor as text: `more than 2 points below the best, 88.2 %`."""
    demand, floor = comparison.demand, comparison.accuracy_floor
    if demand.minimum is not None and floor == demand.minimum:
        return f"below the {100 * demand.minimum:.4g} % asked for"
    assert demand.within is not None
    points = f"{100 * demand.within:.3g} point{'' if demand.within == 0.01 else 's'}"
    if floor is None:
        asked = "" if demand.minimum is None else f"below the {100 * demand.minimum:.4g} % asked for, or "
        return f"{asked}more than {points} below the best of the same images or sweep"
    return f"more than {points} below the best, {100 * (floor + demand.within):.1f} %"


def apart_in_words(comparison: Comparison) -> str:
    """The note that rows with different images are not ranked against each other."""
    shown = "are shown in groups and " if comparison.ranked else ""
    return (
        f"Rows scored on different {comparison.images_in_words} {shown}are not ranked against each other: front and "
        "underfit hold among rows of the same images"
    )


def warnings(comparison: Comparison) -> list[str]:
    """The warnings: unfinished, missing and repeated runs, an accuracy floor that no row meets, and notes on external
    runs."""
    lines = list(comparison.reading.remarks)
    if unfinished := comparison.runs - comparison.finished:
        lines.append(f"{counted(unfinished, 'run')} did not finish: in no mean.")
    if incomplete := [row for row in comparison.rows if row.incomplete]:
        named = [f"{row.label} ({_lacking(row)})" for row in incomplete[:_ROWS_NAMED]]
        more = f", and {len(incomplete) - len(named):,} more" if len(incomplete) > len(named) else ""
        lines.append(f"Incomplete, n is finished/expected: {', '.join(named)}{more}.")
    if comparison.unrecorded:
        lines.append(
            f"{counted(comparison.unrecorded, 'run')} did not record which images "
            f"{'it' if comparison.unrecorded == 1 else 'they'} saw: equal settings are taken for equal images."
        )
    if comparison.repeats:
        repeated = counted(comparison.repeats, "run")
        lines.append(f"{repeated} repeat a configuration and seed that another has too: each seed counts once.")
    lines += [_collapsed(row, comparison) for row in comparison.rows if row.collapsed]
    evaluated = [row for row in comparison.rows if f"{comparison.held_out}_accuracy" in row.scores]
    if evaluated and all(row.underfit for row in evaluated):
        lines.append(f"No row is accurate enough: {comparison.held_out} accuracy {floor_in_words(comparison)}.")
    return lines


def _collapsed(row: Row, comparison: Comparison) -> str:
    """`mlp adam: seed=3 collapsed (10.0 %, the others 85.2 %)` ..."""
    metric = f"{row.stage}/{comparison.held_out}_accuracy"
    named = [
        f"{'' if row.over_draws else 'seed='}{row.units[run.run_id]} ({100 * run.metrics[metric]:.1f} %)"
        for run in row.finished_runs if run.run_id in row.collapsed
    ]  # fmt: skip
    others = [
        run.metrics[metric] for run in row.finished_runs if run.run_id not in row.collapsed and metric in run.metrics
    ]
    return (
        f"{row.label}: {', '.join(named)} collapsed, far below the row's others ({100 * median(others):.1f} %). It "
        "counts; the row's ± supposes normal scores, which these are not, and holds the mean less often than 95 %."
    )


def _lacking(row: Row) -> str:
    """`seed 1 failed; seeds 3, 4 missing`."""
    seeds: dict[str, list[str]] = {}
    for run in row.lacking:
        seeds.setdefault(run.state.lower(), []).append(str(row.units[run.run_id]) if SEED in run.parameters else ABSENT)
    if row.missing:
        seeds["missing"] = list(row.missing)
    return "; ".join(
        f"{'seed' if len(of) == 1 else 'seeds'} {shortened(of, _SEEDS_NAMED)} {state}" for state, of in seeds.items()
    )
