"""Compares runs: groups them into rows, and ranks the rows by their overfitting gap.

Runs that are replicates of each other (rows.py) are one row: mean, sample standard deviation and 95 % interval over the
finished ones. Rows that are accurate enough come first, smallest gap first (ranking.py); underfit rows follow. Rows
that are scored on different images are not ranked against each other: each group of rows with the same images is ranked
by itself. A gap is positive if the model is better on its training images (see metrics.py).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.analysis.external_runs import Reading
from harness.analysis.held_out import HeldOutImages, HeldOutPredictions
from harness.analysis.ranking import COUNT, Demand, collapsed_runs, column_named, in_order, mean_of
from harness.analysis.rows import HeldOut, IntervalOver, Row, Stage, make_row, repeated_draws, score_names, units_of
from harness.analysis.selection_bias import selected_on
from harness.analysis.settings import (
    ABSENT,
    DECIDES_IMAGES,
    Configuration,
    distinguish,
    is_function,
    is_setting,
    settings_of,
    swept_settings,
)
from harness.analysis.underfit import placed
from harness.images import Images, files_in_words, images_of, unrecorded, without_draws
from harness.records import DIGEST_PARAMETERS, VARIANT_PARAMETER, RunRecord, RunState

_DIGITS = 8
_LARGEST = 1e150


@dataclass(frozen=True)
class Comparison:
    """The sorted rows, and what they have in common.

    `settings` are the parameters that the rows show, `scores` the scores that at least one row has; `constants` are the
    parameters that all runs share; `follows` maps each parameter that differs but is not shown to the shown parameter
    that it is a function of.

    `reading` says how external runs were read.

    `ranked`: rows below the accuracy floor come after the others; `accuracy_floors` are the distinct floors, fractions
    that follow from `demand` (empty: no floor). `selected_on` says what each split was used to select. `configurations`
    is the number of rows before the selection of the Pareto front. `unrecorded` is the number of finished runs without
    digests of their images, which only their settings identify.
    """

    title: str
    rows: tuple[Row, ...]
    settings: tuple[str, ...]
    scores: tuple[str, ...]
    constants: Mapping[str, str]
    follows: Mapping[str, str]
    stage: Stage
    held_out: HeldOut
    sorted_by: str
    ascending: bool
    ranked: bool
    demand: Demand
    accuracy_floors: tuple[float, ...]
    selected_on: Mapping[str, tuple[str, ...]]
    configurations: int
    unrecorded: int = 0
    reading: Reading = Reading()
    replicates: tuple[str, ...] = ()
    interval: IntervalOver = "seeds"
    held_out_images: HeldOutImages = field(default_factory=lambda: HeldOutImages({}, {}), repr=False)

    @property
    def accuracy_floor(self) -> float | None:
        """The accuracy floor; None if there is none, or several (for rows of different images)."""
        return self.accuracy_floors[0] if len(self.accuracy_floors) == 1 else None

    @property
    def images_in_words(self) -> str:
        """The name of the images by which rows are ranked."""
        return "validation images" if self.held_out == "val" else "test images"

    @property
    def scored_apart(self) -> bool:
        """Whether the rows are scored on different images."""
        return len({row.scored_on for row in self.rows}) > 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns by which rows can be sorted."""
        return (*self.settings, COUNT, *self.scores)

    @property
    def runs(self) -> int:
        return sum(row.n for row in self.rows)

    @property
    def finished(self) -> int:
        return sum(row.finished for row in self.rows)

    @property
    def repeats(self) -> int:
        return sum(row.repeats for row in self.rows)


def compare(
    runs: Iterable[RunRecord],
    *,
    stage: Stage = "final",
    held_out: HeldOut | None = None,
    sort_by: str | None = None,
    ascending: bool = True,
    swept: Iterable[str] = (),
    title: str = "",
    demand: Demand | None = None,
    only_front: bool = False,
    reading: Reading | None = None,
    replicates: Sequence[str] | None = None,
    predictions: HeldOutPredictions | None = None,
    interval: IntervalOver = "seeds",
) -> Comparison:
    """Group runs by configuration and rank the groups.

    Args:
        runs: of any state, without the parent runs of sweeps.
        stage: the weights with which each run is evaluated (`STAGES`).
        held_out: the split whose gap is ranked and shown first; None: validation if every finished run has one, else
            test.
        sort_by: a column's name, or a setting's short one (`learning_rate`); None: the gap in accuracy of `held_out`
            among the rows that meet `demand`, then that of the others. Rows without a value come last in any case.
        ascending: whether the smallest comes first.
        swept: keys that were varied on purpose: always shown if they differ (see settings.py).
        title: the title of the comparison.
        demand: the held-out accuracy below which a row counts as underfit; None: the default.
        only_front: keep only the rows on the Pareto front of held-out accuracy and gap.
        reading: how external runs were read (see external_runs.py).
        replicates: the settings of `rows.DRAWS` that were varied as replicates; None: those with several values within
            a configuration.
        predictions: the predictions for each held-out image, of the runs that logged them (see held_out.py).
        interval: what the shown and tested intervals are over (seeds, or seeds and images).

    Raises:
        RequestError: `sort_by` is no column of this comparison.
    """
    every, reading = tuple(map(_countable, runs)), reading or Reading()
    keys = reading.keys
    if keys is None:
        keys = tuple(sorted(filter(is_setting, set().union(*(run.parameters for run in every)))))
    images_seen = images_of(every)
    if reading.keys is not None:
        replicates = ()
    elif replicates is None:
        replicates = repeated_draws(every, keys)
    keys = tuple(key for key in keys if key not in replicates)
    groups: defaultdict[tuple[Configuration, Images | None], list[RunRecord]] = defaultdict(list)
    images = without_draws(every, images_seen, replicates)
    for run, seen in zip(every, images, strict=True):
        # If the user has named the parameters that define rows (`keys`), images do not define rows.
        groups[settings_of(run.parameters, keys), seen if reading.keys is None else None].append(run)
    configurations = list(dict.fromkeys(configuration for configuration, _ in groups))
    distinction = distinguish(keys, configurations, (*swept_settings(swept, keys), *reading.chosen))
    place = {key: number for number, key in enumerate(keys)}
    settings = [{key: configuration[place[key]] for key in distinction.shown} for configuration, _ in groups]
    constants, follows = dict(distinction.constant), dict(distinction.follows)
    if reading.keys is None:
        of_run = files_in_words(every)
        words = [next((of_run[run.run_id] for run in of if run.run_id in of_run), "") for of in groups.values()]
        told = [tuple(value for key, value in of.items() if key in DECIDES_IMAGES) for of in settings]
        if shown := _data_in_words(told, [seen for _, seen in groups if seen is not None], words):
            settings = [{**of, VARIANT_PARAMETER: word} for of, word in zip(settings, shown, strict=True)]
        elif len(set(words)) == 1 and words[0]:
            constants[VARIANT_PARAMETER] = words[0]
    exact = {run.run_id: seen for run, seen in zip(every, images_seen, strict=True)}
    units, over_draws = units_of(list(groups.values()), replicates, exact)
    rows = [
        make_row(of, members, stage, units, over_draws) for of, members in zip(settings, groups.values(), strict=True)
    ]
    held_out_images = HeldOutImages(predictions or {}, exact)
    rows = [held_out_images.with_errors(row) for row in rows]
    chosen: HeldOut = held_out if held_out is not None else _held_out(every, stage)
    demand = demand or Demand()
    images_by_run = {run.run_id: seen for run, seen in zip(every, images, strict=True)}
    collapsed = collapsed_runs(rows, f"{chosen}_accuracy")
    rows = [replace(row, collapsed=of) for row, of in zip(rows, collapsed, strict=True)]
    seen_by_row = [images_by_run[row.runs[0].run_id] for row in rows]
    rows, floors = placed(rows, seen_by_row, chosen, demand, held_out_images, interval)
    names = tuple(settings[0]) if settings else ()
    found = tuple(name for name in score_names(every, stage) if any(name in row.scores for row in rows))
    column = _ranking(chosen, found) if sort_by is None else column_named(sort_by, names, found)
    ordered = in_order(rows, column, names, ascending)
    if sort_by is None:
        largest_first = [scored_on for scored_on, _ in Counter(row.scored_on for row in ordered).most_common()]
        order = {scored_on: place for place, scored_on in enumerate(largest_first)}
        ordered.sort(key=lambda row: (order[row.scored_on], math.isnan(mean_of(row.scores.get(column))), row.underfit))
    return Comparison(
        title=title,
        rows=tuple(row for row in ordered if row.on_front or not only_front),
        settings=names,
        scores=found,
        constants=constants,
        follows=follows,
        stage=stage,
        held_out=chosen,
        sorted_by=column,
        ascending=ascending,
        ranked=sort_by is None,
        demand=demand,
        accuracy_floors=floors,
        selected_on=selected_on(every, len(rows), found, column, stage, chosen if only_front else None),
        configurations=len(rows),
        unrecorded=unrecorded(every),
        reading=reading,
        replicates=tuple(replicates),
        interval=interval,
        held_out_images=held_out_images,
    )


def _countable(run: RunRecord) -> RunRecord:
    """The run with infinity for numbers whose square overflows (MLflow stores infinity as the largest float)."""
    if not any(abs(value) > _LARGEST for value in run.metrics.values()):
        return run
    values = {key: math.copysign(math.inf, one) if abs(one) > _LARGEST else one for key, one in run.metrics.items()}
    return replace(run, metrics=values)


def _data_in_words(told: Sequence[Configuration], images: Sequence[Images], files: Sequence[str]) -> list[str] | None:
    """Texts that distinguish the images of rows, for a column; None if the shown settings (`told`) already do.

    `files` describe each row's files; if these are equal too, the beginnings of digests are added.
    """
    if is_function(images, told):
        return None
    words = [word or ABSENT for word in files]
    for split in DIGEST_PARAMETERS:
        digests = [seen.of(split) for seen in images]
        if not is_function(digests, [(*of, word) for of, word in zip(told, words, strict=True)]):
            words = [f"{word} {split} {digest[:_DIGITS]}" for word, digest in zip(words, digests, strict=True)]
    return words


def _held_out(runs: Sequence[RunRecord], stage: Stage) -> HeldOut:
    finished = [run for run in runs if run.state is RunState.FINISHED]
    gaps = (f"{stage}/gap_val_accuracy", f"{stage}/gap_val_loss")
    validated = all(any(gap in run.metrics for gap in gaps) for run in finished)
    return "val" if finished and validated else "test"


def _ranking(held_out: HeldOut, scores: Sequence[str]) -> str:
    """The gap by which rows are ranked: that of accuracy, or that of loss if there is no other."""
    accuracy, loss = f"gap_{held_out}_accuracy", f"gap_{held_out}_loss"
    return loss if loss in scores and accuracy not in scores else accuracy
