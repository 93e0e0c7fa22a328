"""The end of a search: its trials as a table, and its winner trained again under fresh seeds and compared with what the
search saw. Only then are test images looked at."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison import Comparison
from harness.analysis.rows import Row
from harness.analysis.settings import headings
from harness.analysis.statistics import t_interval
from harness.records import RunRecord, RunState
from harness.sweeps.confirm import fresh_seeds, train_again
from harness.sweeps.finalize import compared, finish_parent
from harness.sweeps.plan import PlannedJob, SweepPlan
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.search.objective import METRICS
from harness.sweeps.search.request import SearchRequest
from harness.sweeps.search.trials import Trial, Trials
from harness.tabular import text_table
from harness.terminal import console
from harness.tracking.reading import cached_reads, sweep_runs
from harness.tracking.selection import BEST_TAG
from harness.tracking.writing import RunWriter

TRIALS_FILE = "trials.csv"
SHOWN = 10
"""How many trials the table on the screen has."""
MEASURES = {
    "gap to val": (METRICS["gap"], "+"),
    "val accuracy": (METRICS["accuracy"], ""),
    "gap to test": ("final/gap_test_accuracy", "+"),
    "test accuracy": ("final/test_accuracy", ""),
}
"""What the winner is compared by: the metric of a run, and the sign that is shown for positive values."""
FRESH_ONLY = ("gap to test", "test accuracy")


def finish(search: SearchRequest, trials: Trials, parent: RunWriter, state: RunState, display: SweepDisplay) -> None:
    """Log the trials, the table and the figures of all runs, and end the parent run in `state`."""
    winners = trials.objective().winners
    parent.log_text(TRIALS_FILE, as_csv(trials))
    parent.set_tags({BEST_TAG: " ".join(map(str, winners))})
    if search.config.figures != "none":
        log_figures(trials, parent)
    ended = [
        PlannedJob(trial.number * trials.seeds + place, run.name, (), search.config, "", run)
        for trial in trials.by_number.values()
        for place, run in trial.runs.items()
        if run.state is RunState.FINISHED
    ]
    state = state if winners or state is not RunState.FINISHED else RunState.FAILED
    finish_parent(parent, SweepPlan(tuple(ended), search.swept), state, lambda comparison: None, display)


def log_figures(trials: Trials, parent: RunWriter) -> None:
    """Log the figures of a search, if there are trials to draw."""
    from harness.figures import search_figures as figures
    from harness.sweeps.search.importance import search_view

    view = search_view(trials)
    if not figures.is_drawable(view):
        return
    drawn = {
        "best_so_far": figures.draw_best_so_far, "slices": figures.draw_slices, "parallel": figures.draw_parallel,
        "importance": figures.draw_importance, "contour": figures.draw_contour,
    }  # fmt: skip
    for name, draw in drawn.items():
        if name != "contour" or len(figures.numbers_that_matter(view)) > 1:
            parent.log_figure(f"search_{name}.png", draw(view, parent.name))


def show_result(search: SearchRequest, trials: Trials, parent: RunRecord, display: SweepDisplay) -> None:
    """Show the best trials, and train the winner (or the front) again under fresh seeds."""
    tell(result_lines(search, trials))
    winners = [trials.by_number[number] for number in trials.objective().winners]
    with cached_reads(search.store):
        runs = sweep_runs(search.store, parent.run_id)
        comparison = compared(runs, parent.run_id, search.swept, parent.name)
    if search.settings.confirm and winners and comparison is not None:
        _confirm(search, trials, winners, comparison, display)


def tell(lines: Sequence[str]) -> None:
    """Print results: on stdout, while progress is on stderr."""
    where = console()
    for line in lines:
        where.print(line, markup=False, highlight=False, soft_wrap=True)


def result_lines(search: SearchRequest, trials: Trials) -> list[str]:
    """How many trials there were, the best of them, and the winner."""
    objective, settings = trials.objective(), trials.settings
    every = list(trials.by_number.values())
    outcomes = {trial.number: trial.outcome(trials.seeds) for trial in every}
    whole = [trial for trial in every if not trial.failed and outcomes[trial.number].whole]
    failed = sum(trial.failed for trial in every)
    parts = [f"{len(every)} trial{'s' * (len(every) != 1)}"]
    parts += [f"{len(whole)} under all {trials.seeds} seeds" if trials.seeds > 1 else f"{len(whole)} complete"]
    parts += [f"{rest} stopped early"] if (rest := len(every) - len(whole) - failed) else []
    parts += [f"{failed} failed"] if failed else []
    lines = ["", ", ".join(parts)]
    if not whole:
        return lines

    def rank(trial: Trial) -> tuple[bool, bool, tuple[float, ...], int]:
        mean = outcomes[trial.number].mean
        return (
            trial.number not in objective.winners, objective.violation(mean) > 0, objective.values(mean), trial.number
        )  # fmt: skip

    names = headings(list(search.space))
    header = ["trial", *names.values(), "val %", "gap val", "val loss", ""]
    rows = []
    for trial in sorted(whole, key=rank)[: max(SHOWN, len(objective.winners))]:
        mean = outcomes[trial.number].mean
        mark = "best" if trial.number in objective.winners else ""
        if objective.violation(mean) > 1e-12:
            mark = "not accurate enough"
        rows.append([
            str(trial.number), *(str(trial.settings[key]) for key in search.space), f"{100 * mean['accuracy']:.2f}",
            f"{100 * mean['gap']:+.2f}", f"{mean['loss']:.4f}", mark,
        ])  # fmt: skip
    lines += ["", *text_table(header, rows, numbers=("trial", "val %", "gap val", "val loss"))]
    if objective.floor is not None:
        asked = f"search.within={settings.within:g} points below the best"
        if settings.min_accuracy is not None:
            asked = f"search.min_accuracy={settings.min_accuracy:g}"
        lines.append(
            f"Of the trials with at least {100 * objective.floor:.2f} % validation accuracy ({asked}), the one with "
            "the smallest gap is best."
        )
    return lines


@dataclass(frozen=True)
class WinnerFigure:
    """A measure of a winner under the seeds of the search and under fresh ones, as fractions."""

    trial: int
    measure: str
    searched: Sequence[float]
    fresh: Sequence[float]


def _confirm(
    search: SearchRequest, trials: Trials, winners: Sequence[Trial], comparison: Comparison, display: SweepDisplay
) -> None:
    """Train the winners again, and show what the search saw of them and what is true of them."""
    rows = [_row_of(comparison, trial) for trial in winners]
    seeds = fresh_seeds(comparison, search.settings.confirm)
    named = ", ".join(f"trial {trial.number}" for trial in winners)
    display.say("")
    display.say(f"Training {named} again under fresh seeds ({seeds[0]} to {seeds[-1]}), now scored on test images too:")
    found: list[list[RunRecord]] = []
    launcher = [word for word in search.given.hydra if "launcher" in word.partition("=")[0]]
    train_again(search.store, rows, seeds, (), found.extend, launcher)
    shown = [
        WinnerFigure(trial.number, measure,
               [] if measure in FRESH_ONLY else _values(list(trial.runs.values()), metric), _values(fresh, metric))
        for trial, fresh in zip(winners, found, strict=True)
        for measure, (metric, _) in MEASURES.items()
    ]  # fmt: skip
    tell(confirmed_lines(shown))


def _row_of(comparison: Comparison, trial: Trial) -> Row:
    ids = {run.run_id for run in trial.runs.values()}
    return next(row for row in comparison.rows if ids.intersection(run.run_id for run in row.runs))


def _values(runs: Sequence[RunRecord], metric: str) -> list[float]:
    return [run.metrics[metric] for run in runs if run.state is RunState.FINISHED and metric in run.metrics]


def confirmed_lines(figures: Sequence[WinnerFigure]) -> list[str]:
    """A table of the winners: what the search saw, what fresh seeds show, and the difference."""
    rows = []
    for figure in figures:
        sign = MEASURES[figure.measure][1]
        change = ""
        if figure.searched and figure.fresh:
            seen, true = (sum(values) / len(values) for values in (figure.searched, figure.fresh))
            better = true - seen if figure.measure.startswith("gap") else seen - true
            change = f"{100 * better:+.2f}"
        rows.append(
            [str(figure.trial), figure.measure, _shown(figure.searched, sign), _shown(figure.fresh, sign), change]
        )
    header = ["trial", "measure", "searched", "fresh seeds", "flattered by"]
    return [
        "",
        *text_table(header, rows, numbers=header[2:]),
        "In percent and points, ± half of the 95 % interval. The search chose by the searched figures, so these are "
        "too good; those of the fresh seeds are not. Test images were not looked at before.",
    ]


def _shown(values: Sequence[float], sign: str) -> str:
    if not values:
        return "-"
    interval = t_interval(values)
    half = "" if interval is None else f" ± {100 * interval.half_width:.2f}"
    return f"{100 * sum(values) / len(values):{sign}.2f}{half}"


def as_csv(trials: Trials) -> str:
    """All trials, a row each: settings, state, means over the seeds that ended, which trials it was suggested from."""
    text, objective = io.StringIO(), trials.objective()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *trials.space, "state", "seeds", *METRICS, "suggested_from"])
    for number, trial in sorted(trials.by_number.items()):
        outcome = trial.outcome(trials.seeds)
        state = "failed" if trial.failed else "complete" if outcome.whole else "stopped" if outcome.seeds else "begun"
        state = "best" if number in objective.winners else state
        mean: Mapping[str, float] = outcome.mean if outcome.seeds else {}
        writer.writerow([
            number, *trial.settings.values(), state, len(outcome.seeds), *(mean.get(name, "") for name in METRICS),
            trial.basis,
        ])  # fmt: skip
    return text.getvalue()
