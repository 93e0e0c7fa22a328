"""What stands above and below a comparison's table: what was compared, how to read it, what weakens it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.comparison import Comparison
from harness.analysis.rows import STAGES, Row
from harness.analysis.settings import ABSENT, SEED, headings
from harness.config import Config, flatten
from harness.records import VARIANT_PARAMETER

_ALWAYS_NAMED = (
    "dataset.name", "model.name", "optimizer.name", "optimizer.learning_rate", "regime.epochs", "regime.batch_size",
    "optimizer_name", "optimizer_learning_rate", "opt_name", "opt_learning_rate", "lr", "epochs",
    "batch_size",  # of autologging
)  # fmt: skip
_NAMED_OPTIONS = ("optimizer.momentum", "optimizer.weight_decay")
_ROWS_NAMED = 5


def headline(comparison: Comparison) -> str:
    """What is compared, and how much of it."""
    text = f"{comparison.title or 'Comparison'}: {counted(comparison.runs, 'run')}"
    if (shown := len(comparison.rows)) == comparison.configurations:
        return f"{text}, {counted(shown, 'configuration')}"
    return f"{text}, the Pareto front: {shown} of {counted(comparison.configurations, 'configuration')}"


def counted(count: int, noun: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def context(comparison: Comparison) -> list[str]:
    """The constant settings that a reader wants named, and how the important ones follow from what is shown."""
    defaults = {key: str(value) for key, value in flatten(Config()).items()}
    named = [key for key in comparison.constants if _is_named(key, comparison.constants[key], defaults)]
    short = headings([*comparison.settings, *comparison.follows, *named])
    lines = [] if comparison.stage == "final" else [f"Judged {STAGES[comparison.stage]}."]
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
    """How to read the numbers, and, in the last line, where the runs can be seen."""
    lines = ["Gaps: accuracy train - held-out in points, loss held-out - train. Positive means overfitting."]
    counts = [row.finished for row in comparison.rows]
    if any(count > 1 for count in counts):
        lines.append(
            "± is the half width of the 95 % interval (t) of the mean over the n finished runs of a row"
            + (", which differ in seed only." if comparison.reading.alike else ".")
            + (" Of two runs it is nine times their deviation." if 2 in counts else "")
        )
    held_out = comparison.held_out
    if any(row.on_front for row in comparison.rows) and comparison.configurations > 1:
        lines.append(f"front: no other row has both a better {held_out} accuracy and a smaller gap (Pareto).")
    if any(row.underfit for row in comparison.rows):
        lines.append(f"underfit: {held_out} accuracy {floor_in_words(comparison)}; not ranked by its gap.")
    if comparison.judged_apart:
        lines.append(f"{apart_in_words(comparison)}.")
    return [*lines, *marks(comparison), "The runs in MLflow's own pages: harness ui"]


def marks(comparison: Comparison) -> list[str]:
    """What † says: by which split something was selected, and what; and ‡, on what training figures rest."""
    lines = [f"‡ rests on {comparison.reading.running}"] if comparison.reading.running else []
    lines += [
        f"† selected on {split}, whose figures flatter what was selected: {'; '.join(reasons)}."
        for split, reasons in comparison.selected_on.items()
    ]
    return lines


def floor_in_words(comparison: Comparison) -> str:
    """What an underfit row's accuracy is: `more than 2 points below the best, 88.2 %`."""
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
    """Why not all rows are ranked against each other."""
    shown = "are shown in groups and " if comparison.ranked else ""
    return (
        f"Rows judged on different {comparison.images_in_words} {shown}are not ranked against each other: front and "
        "underfit hold among rows of the same images"
    )


def warnings(comparison: Comparison) -> list[str]:
    """What weakens the comparison: unfinished runs, missing and repeated ones, a demand that nothing meets; and what
    must be known of runs that the harness did not write."""
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
        so = "equal numbers counted again make ± too small" if comparison.reading.alike else "± takes them for chance"
        repeated = counted(comparison.repeats, "run")
        lines.append(f"{repeated} repeat a configuration and seed that another has too: {so}.")
    judged = [row for row in comparison.rows if f"{comparison.held_out}_accuracy" in row.scores]
    if judged and all(row.underfit for row in judged):
        lines.append(f"No row is accurate enough: {comparison.held_out} accuracy {floor_in_words(comparison)}.")
    return lines


def _lacking(row: Row) -> str:
    """`seed 1 failed; seeds 3, 4 missing`."""
    seeds: dict[str, list[str]] = {}
    for run in row.lacking:
        seeds.setdefault(run.state.lower(), []).append(run.parameters.get(SEED, ABSENT))
    if row.missing:
        seeds["missing"] = list(row.missing)
    return "; ".join(f"{'seed' if len(of) == 1 else 'seeds'} {_listed(of)} {state}" for state, of in seeds.items())


def _listed(seeds: list[str]) -> str:
    return ", ".join(seeds) if len(seeds) <= 10 else f"{', '.join(seeds[:9])} and {len(seeds) - 9} more"
