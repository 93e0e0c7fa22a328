"""The uncertainty of a mean or a difference that comes from the finite number of held-out images.

All runs are scored on the same images, so the spread over seeds does not show what other images would change. The score
of seed s on image i is modelled as mean + seed + image + rest, with random seeds and images. The error over seeds
includes the variance of seeds and of the rest; this module adds that of images:

    (variance over images of the mean over seeds - variance of the rest / number of seeds) / number of images

(the usual estimate in a two-way layout with crossed random effects, Scheffé 1959, "The Analysis of Variance", chapter
7, not below 0). For a difference of rows, the same formula is used with the differences image by image: images that are
hard for both rows cancel.

Runs of earlier versions did not log predictions: then an accuracy p on n images has the binomial variance
p (1 - p) / n, and a difference the sum of both, as if the rows were scored on different images; for a loss the variance
is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.contrasts import Difference, residuals
from harness.analysis.rows import SCORES, Row
from harness.images import Images
from harness.records import FloatArray, Predictions, RunRecord

HeldOutPredictions = Mapping[str, Mapping[str, Predictions]]
"""Predictions by run id and split (`val`, `test`)."""

ByImage = FloatArray
"""(seeds, images): the score of each replicate on each image."""


class HeldOutImages:
    """The errors that held-out images add to the rows of a comparison.

    `predictions` are those of the runs that logged them, `images` the images of every run, by run id.
    """

    def __init__(self, predictions: HeldOutPredictions, images: Mapping[str, Images]) -> None:
        self._predictions = predictions
        self._images = images

    def with_errors(self, row: Row) -> Row:
        """The row with the `image_error` of its scores filled in."""
        scores = {}
        for name, score in row.scores.items():
            known = name in SCORES  # of others it is not known what an image counts
            variance = 0.0 if name.startswith("train_") else self._variance(row, name) if known else None
            scores[name] = replace(score, image_error=None if variance is None else variance**0.5)
        return replace(row, scores=scores)

    def widened(
        self, difference: Difference, pairs: Sequence[tuple[Row, Row]], units: Sequence[str], name: str
    ) -> Difference | None:
        """A difference in the score `name` with the error of the held-out images added; None if that is not known.

        The difference is the mean over `pairs` of rows (first minus second), over the replicates `units` if these are
        paired, else over all replicates of each row.
        """
        if any(self._drawn(row, name) for rows in pairs for row in rows):
            return difference  # each draw has other images, so the error over draws includes that of images
        if difference.kind == "welch":
            values, rest = self._between_all(pairs, name)
        else:
            values, rest = self._between(pairs, units, name)
        if values is not None:
            return difference.with_variance(max(0.0, float(values.var(ddof=1)) - rest) / len(values))
        parts = [self.by_formula(row, name) for rows in pairs for row in rows]
        known = [part for part in parts if part is not None]
        return difference.with_variance(sum(known) / len(pairs)) if len(known) == len(parts) else None

    def _between(
        self, pairs: Sequence[tuple[Row, Row]], units: Sequence[str], name: str
    ) -> tuple[FloatArray | None, float]:
        """The mean difference on each image (images,), and the variance of the rest."""
        total: FloatArray | None = None
        for row, other in pairs:
            values, reference = self._by_image(row, name, units), self._by_image(other, name, units)
            if values is None or reference is None:
                return None, 0.0
            total = values - reference if total is None else total + values - reference
        assert total is not None
        total = total / len(pairs)
        return total.mean(axis=0), _rest(total)

    def _between_all(self, pairs: Sequence[tuple[Row, Row]], name: str) -> tuple[FloatArray | None, float]:
        """As `_between`, for rows that are not paired: of the means over all replicates of each."""
        [(row, other)] = pairs
        values = self._by_image(row, name, list(row.by_unit(name)))
        reference = self._by_image(other, name, list(other.by_unit(name)))
        if values is None or reference is None:
            return None, 0.0
        return values.mean(axis=0) - reference.mean(axis=0), _rest(values) + _rest(reference)

    def kept(self, row: Row) -> bool:
        """Whether every finished run of a row logged its predictions."""
        return row.stage == "final" and all(run.run_id in self._predictions for run in row.finished_runs)

    def _variance(self, row: Row, name: str) -> float | None:
        if self._drawn(row, name):
            return 0.0  # each draw has other images, so the error over draws includes that of images
        by_image = self._by_image(row, name, list(row.by_unit(name))) if self.kept(row) else None
        if by_image is None:
            return self.by_formula(row, name)
        variance = by_image.mean(axis=0).var(ddof=1) - _rest(by_image)
        return max(0.0, float(variance)) / len(by_image[0])

    def _drawn(self, row: Row, name: str) -> bool:
        """Whether each draw of the row is scored on images of its own."""
        return len({self._images[run.run_id].of(_split(name)) for run in row.finished_runs}) > 1

    def _by_image(self, row: Row, name: str, units: Sequence[str]) -> ByImage | None:
        split, kept = _split(name), self.kept(row)
        if not units or not kept or any(split not in self._predictions[run.run_id] for run in row.finished_runs):
            return None
        found = row.runs_by_unit(name)
        rows = []
        for unit in units:
            seeds = [np.mean([self._scores(run, name) for run in runs], axis=0) for runs in found[unit].values()]
            rows.append(np.mean(seeds, axis=0))
        values = np.stack(rows)
        return values if values.shape[1] > 1 and np.isfinite(values).all() else None

    def _scores(self, run: RunRecord, name: str) -> FloatArray:
        of = self._predictions[run.run_id][_split(name)]
        return (of.losses if name.endswith("_loss") else of.right).astype(np.float64)

    def by_formula(self, row: Row, name: str) -> float | None:
        """The variance p (1 - p) / n of a row's accuracy p on n images, also for its gap; None for a loss."""
        accuracy = row.scores.get(f"{_split(name)}_accuracy")
        count = next((n for run in row.finished_runs if (n := run.metrics.get(f"data/{_split(name)}_images"))), None)
        if name.endswith("_loss") or accuracy is None or not count:
            return None
        return float(accuracy.mean * (1 - accuracy.mean) / count)


def _split(name: str) -> str:
    """The held-out split of a score: `val` for `gap_val_loss`."""
    return "val" if "val" in name.split("_") else "test"


def _rest(by_image: ByImage) -> float:
    """The part of the variance of the mean over seeds that neither seeds nor images explain; 0 for a single seed."""
    seeds, images = by_image.shape
    if seeds < 2:
        return 0.0
    return float((residuals(by_image) ** 2).sum() / ((seeds - 1) * (images - 1)) / seeds)
