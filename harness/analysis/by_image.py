"""Compares runs image by image: which images all runs classify correctly or wrongly, and how rows differ.

A comparison of two rows on the same images is about these trained models: it tells which of them would be better on
more images of the same kind. It says nothing about models of other seeds; intervals over seeds do that.

Sources:
    McNemar 1947, "Note on the sampling error of the difference between correlated proportions ...", Psychometrika 12.
    Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning algorithms",
        Neural Computation 10 (what the test says about classifiers, and what it does not).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from harness.analysis.comparison import Comparison
from harness.analysis.held_out import HeldOutPredictions
from harness.analysis.measures import counted
from harness.analysis.rows import Row
from harness.analysis.statistics import Interval, holm, interval_around
from harness.errors import RequestError
from harness.images import images_of
from harness.records import FloatArray, IntArray, Predictions, RunRecord


@dataclass(frozen=True)
class Versus:
    """A row compared with the baseline on the same images.

    The row classifies `more` images correctly more often than the baseline, `less` less often, and `equal` equally
    often (as shares of `runs` and `baseline_runs`). `difference` is the difference of the accuracies (the mean over
    images of the difference of these shares), with its 95 % t `interval` over images. `p_value` is McNemar's if each
    side has one run, else that of the t test over images; NaN if no image differs. `corrected` is Holm's.
    """

    settings: Mapping[str, str]
    runs: int
    baseline_runs: int
    more: int
    less: int
    equal: int
    difference: float
    interval: Interval
    test: Literal["mcnemar", "t"]
    p_value: float
    corrected: float = math.nan


@dataclass(frozen=True)
class ByImage:
    """The predictions of `runs` runs of `rows` for each of the same n images of the ranked split.

    `answers[i, c]` counts the runs that predict class c for image i, (n, classes); `labels` (n,) are the true classes;
    `losses` (n,) the mean cross-entropy over runs, in nats. `left_out` are texts about the runs of the comparison that
    are left out. `example` is a run of the first row.
    """

    comparison: Comparison
    rows: tuple[Row, ...]
    runs: int
    labels: IntArray
    answers: IntArray
    losses: FloatArray
    class_names: tuple[str, ...]
    left_out: tuple[str, ...]
    example: RunRecord
    baseline: str | None = None
    versus: tuple[Versus, ...] = ()

    @cached_property
    def right(self) -> IntArray:
        """How many runs classify each image correctly, (n,)."""
        return np.take_along_axis(self.answers, self.labels[:, None], axis=1)[:, 0]

    @cached_property
    def answered(self) -> IntArray:
        """The class that most runs predict for each image, (n,); in a tie the first class."""
        return np.asarray(self.answers.argmax(axis=1), dtype=np.int64)

    @cached_property
    def agreeing(self) -> IntArray:
        """How many runs predict that class, (n,)."""
        return np.asarray(self.answers.max(axis=1), dtype=np.int64)

    @cached_property
    def hardest_first(self) -> IntArray:
        """The indices of all images, hardest first: sorted by the number of correct runs, then by agreement on one
        class (most first), then by the probability of the true class (lowest first)."""
        return np.lexsort((-self.losses, -self.agreeing, self.right))

    @property
    def missed_by_all(self) -> IntArray:
        """The images that no run classifies correctly, in that order."""
        return self.hardest_first[: int((self.right == 0).sum())]

    @property
    def confusion(self) -> FloatArray:
        """(classes, classes): how many images of class i are predicted as class j, the mean over runs."""
        counts = np.zeros((self.answers.shape[1],) * 2)
        np.add.at(counts, self.labels, self.answers)
        return counts / self.runs

    def named(self, label: int) -> str:
        """The name of a class, or its number if the names are not known."""
        return self.class_names[label] if label < len(self.class_names) else str(label)


def by_image(
    comparison: Comparison,
    predictions: HeldOutPredictions,
    baseline: Row | None = None,
    class_names: Callable[[RunRecord], Sequence[str]] = lambda run: (),
) -> ByImage:
    """Compare the finished runs of a comparison image by image; with a `baseline`, compare each other row with it.

    If rows are scored on different images, the group with the most runs is taken, or the baseline's group. A replicate
    with several runs counts once, with its latest run. `class_names` tells the names of a run's classes.

    Raises:
        RequestError: the comparison is not about the final weights, no run (or none of the baseline) logged its
            predictions, or no other row is scored on the same images as the baseline.
    """
    split = comparison.held_out
    if comparison.stage != "final":
        raise RequestError(
            f"--at {comparison.stage}: runs keep what their final weights answer for each image. Leave it out."
        )
    finished = [run for row in comparison.rows for run in row.finished_runs]
    kept = {run.run_id: predictions[run.run_id][split] for run in finished if split in predictions.get(run.run_id, {})}
    wanted = finished if baseline is None else baseline.finished_runs
    exact = {run.run_id: seen.of(split) for run, seen in zip(finished, images_of(finished), strict=True)}
    scored_on = Counter(exact[run.run_id] for run in wanted if run.run_id in kept)
    if not scored_on:
        which = "of these runs" if baseline is None else f"of the runs of --baseline {baseline.label}"
        raise RequestError(
            f"--by-image: none {which} kept what it answers for each {comparison.images_in_words[:-1]}. Runs of "
            "earlier versions of the harness and external runs have no predictions.npz. Train them again with this "
            "version: the same command with resume=false."
        )
    images = scored_on.most_common(1)[0][0]
    members = []
    for row in comparison.rows:
        seen = [run for run in row.finished_runs if run.run_id in kept and exact[run.run_id] == images]
        if latest := {row.units[run.run_id]: run for run in seen}:  # of each replicate only the latest run
            members.append((row, list(latest.values())))
    labels = kept[members[0][1][0].run_id].labels.astype(np.int64)
    known = [kept[run.run_id] for _, runs in members for run in runs]
    names = tuple(class_names(members[0][1][0]))
    classes = max(len(names), 1 + max(int(labels.max()), *(int(of.predicted.max()) for of in known)))
    answers, losses = np.zeros((len(labels), classes), np.int64), np.zeros(len(labels))
    for of in known:
        answers[np.arange(len(labels)), of.predicted] += 1
        losses += of.losses
    found = ByImage(
        comparison, tuple(row for row, _ in members), len(known), labels, answers, losses / len(known),
        names, tuple(_left_out(comparison, kept, exact, images, len(known))), members[0][1][0],
    )  # fmt: skip
    if baseline is None:
        return found
    [own] = [runs for row, runs in members if row is baseline]
    others = [(row, runs) for row, runs in members if row is not baseline]
    if not others:
        raise RequestError(
            f"--baseline {baseline.label}: no other row has runs that are scored on the same "
            f"{comparison.images_in_words} and kept what they answer. Compare more runs."
        )
    reference = [kept[run.run_id] for run in own]
    versus = [_versus(row, [kept[run.run_id] for run in runs], reference) for row, runs in others]
    corrected = holm([of.p_value for of in versus])
    return replace(
        found, baseline=baseline.label,
        versus=tuple(replace(of, corrected=p) for of, p in zip(versus, corrected, strict=True)),
    )  # fmt: skip


def mcnemar(more: int, less: int) -> float:
    """The two-sided p of McNemar's exact test: the binomial test, with probability 1/2, of the number of images that
    only one model classifies correctly (`more`) against the other's (`less`). 1 if both are 0."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(more, less), more + less, 0.5)))


def _versus(row: Row, own: Sequence[Predictions], baseline: Sequence[Predictions]) -> Versus:
    differences = _share(own) - _share(baseline)
    more, less, n = int((differences > 0).sum()), int((differences < 0).sum()), len(differences)
    difference = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if len(own) == len(baseline) == 1:
        p_value = mcnemar(more, less)
    elif error:
        from scipy.special import stdtr

        p_value = 2 * float(stdtr(n - 1, -abs(difference / error)))
    else:
        p_value = math.nan
    return Versus(
        row.settings, len(own), len(baseline), more, less, n - more - less, difference,
        interval_around(difference, error, n - 1), "mcnemar" if len(own) == len(baseline) == 1 else "t", p_value,
    )  # fmt: skip


def _share(runs: Sequence[Predictions]) -> FloatArray:
    """The share of the runs that classify each image correctly, (n,); equal shares are equal floats."""
    return np.asarray(np.mean([of.right for of in runs], axis=0, dtype=np.float64))


def _left_out(
    comparison: Comparison, kept: Mapping[str, Predictions], exact: Mapping[str, str], images: str, used: int
) -> list[str]:
    same = sum(exact[run_id] == images for run_id in kept)
    counts = {
        "that did not finish": comparison.runs - comparison.finished,
        "without predictions": comparison.finished - len(kept),
        f"scored on other {comparison.images_in_words}": len(kept) - same,
        "that repeat a configuration and seed": same - used,
    }
    return [f"{counted(count, 'run')} {which}" for which, count in counts.items() if count]
