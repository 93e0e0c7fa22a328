"""What the finite number of held-out images adds to the uncertainty of a mean, and of a difference.

All runs are scored on the same images, so another seed does not tell what other images would. The score of seed s on
image i is taken as mean + seed + image + rest, both drawn at random. The error over seeds has the variance of seeds and
of the rest in it; here is that of images:

    (variance over images of the mean over seeds - variance of the rest / number of seeds) / number of images

(the usual estimate in a two-way layout with crossed random effects, Scheffé 1959, "The Analysis of Variance", chapter
7, not below 0). For a difference the same of the differences, image by image: what is hard for both rows cancels.

Runs of earlier versions did not keep what they answered: for them an accuracy p on n images has the binomial
p (1 - p) / n, a difference the sum of both, as if the rows were scored on different images; of a loss nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.contrasts import Difference
from harness.analysis.rows import Row
from harness.images import Images
from harness.records import FloatArray, Predictions, RunRecord

HeldOutPredictions = Mapping[str, Mapping[str, Predictions]]
"""By run id and split (`val`, `test`)."""

ByImage = FloatArray
"""(seeds, images): the score of each replicate on each image."""


class HeldOutImages:
    """The errors that held-out images add to the rows of a comparison.

    `predictions` are those of the runs that kept them, `images` the images of every run, by run id.
    """

    def __init__(self, predictions: HeldOutPredictions, images: Mapping[str, Images]) -> None:
        self._predictions = predictions
        self._images = images

    def with_errors(self, row: Row) -> Row:
        """The row, its scores with their `image_error`."""
        scores = {}
        for name, score in row.scores.items():
            variance = 0.0 if name.startswith("train_") else self._variance(row, name)
            scores[name] = replace(score, image_error=None if variance is None else variance**0.5)
        return replace(row, scores=scores)

    def widened(
        self, difference: Difference, pairs: Sequence[tuple[Row, Row]], units: Sequence[str], name: str
    ) -> Difference | None:
        """A difference in the score `name`, with the error that held-out images add; None where that is not known.

        It is the mean over `pairs` of rows of the first minus the second, of the replicates `units` where these are
        paired, else of all that each row has.
        """
        if any(self._drawn(row, name) for rows in pairs for row in rows):
            return difference  # other images for each draw: their luck is in the error over draws
        if difference.kind == "welch":
            values, rest = self._between_all(pairs, name)
        else:
            values, rest = self._between(pairs, units, name)
        if values is not None:
            return difference.with_variance(max(0.0, float(values.var(ddof=1)) - rest) / len(values))
        parts = [self.by_formula(row, name) for rows in pairs for row in rows]
        if any(part is None for part in parts):
            return None
        return difference.with_variance(sum(part for part in parts if part is not None) / len(pairs))

    def _between(
        self, pairs: Sequence[tuple[Row, Row]], units: Sequence[str], name: str
    ) -> tuple[FloatArray | None, float]:
        """The mean difference on each image (images,), and the variance of its rest."""
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
        """The same of the means over all replicates of two rows that are not paired."""
        [(row, other)] = pairs
        values = self._by_image(row, name, list(row.by_unit(name)))
        reference = self._by_image(other, name, list(other.by_unit(name)))
        if values is None or reference is None:
            return None, 0.0
        return values.mean(axis=0) - reference.mean(axis=0), _rest(values) + _rest(reference)

    def kept(self, row: Row) -> bool:
        """Whether every finished run of a row kept what it answers."""
        return row.stage == "final" and all(run.run_id in self._predictions for run in row.finished_runs)

    def _variance(self, row: Row, name: str) -> float | None:
        if self._drawn(row, name):
            return 0.0  # other images for each draw: their luck is in the error over draws
        by_image = self._by_image(row, name, list(row.by_unit(name))) if self.kept(row) else None
        if by_image is None:
            return self.by_formula(row, name)
        variance = by_image.mean(axis=0).var(ddof=1) - _rest(by_image)
        return max(0.0, float(variance)) / len(by_image[0])

    def _drawn(self, row: Row, name: str) -> bool:
        """Whether the row's runs are scored on images of their own."""
        return len({self._images[run.run_id].of(_split(name)) for run in row.finished_runs}) > 1

    def _by_image(self, row: Row, name: str, units: Sequence[str]) -> ByImage | None:
        split = _split(name)
        if (
            not units
            or not self.kept(row)
            or any(split not in self._predictions[run.run_id] for run in row.finished_runs)
        ):
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
        """The variance p (1 - p) / n of a row's accuracy p on n images, also of its gap; None of a loss."""
        accuracy = row.scores.get(f"{_split(name)}_accuracy")
        count = next((n for run in row.finished_runs if (n := run.metrics.get(f"data/{_split(name)}_images"))), None)
        if name.endswith("_loss") or accuracy is None or not count:
            return None
        return float(accuracy.mean * (1 - accuracy.mean) / count)


def _split(name: str) -> str:
    """The held-out split of a score: `gap_val_loss` is of `val`."""
    return "val" if "val" in name.split("_") else "test"


def _rest(by_image: ByImage) -> float:
    """The variance that neither seeds nor images explain, of the mean over seeds; 0 for one seed, where none shows."""
    seeds, images = by_image.shape
    if seeds < 2:
        return 0.0
    left = by_image - by_image.mean(axis=0) - by_image.mean(axis=1, keepdims=True) + by_image.mean()
    return float((left**2).sum() / ((seeds - 1) * (images - 1)) / seeds)
