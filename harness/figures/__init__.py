"""What a run and a sweep look like. One function computes what a figure shows, one draws it.

Importing this package is cheap: matplotlib is loaded when the first figure is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ConfigError, suggestion
from harness.figures.per_class import per_class_table
from harness.records import Evaluation, History, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BUILDERS", "SELECTIONS", "RunView", "per_class_table", "run_figures"]


@dataclass(frozen=True)
class RunView:
    """What the figures of one run are made from; `evaluation` judges `split`, the test images."""

    history: History
    evaluation: Evaluation
    split: Split
    class_names: Sequence[str]
    title: str


def _learning_curves(run: RunView) -> Figure:
    from harness.figures import learning_curves

    return learning_curves.draw(learning_curves.compute(run.history, run.evaluation), run.title)


def _predictions(run: RunView) -> Figure:
    from harness.figures import predictions

    return predictions.draw(predictions.compute(run.split, run.evaluation, run.class_names), run.title)


def _confusion_matrix(run: RunView) -> Figure:
    from harness.figures import confusion_matrix

    return confusion_matrix.draw(confusion_matrix.compute(run.evaluation), run.title)


BUILDERS: Mapping[str, Callable[[RunView], Figure]] = {
    "learning_curves.png": _learning_curves,
    "predictions.png": _predictions,
    "confusion_matrix.png": _confusion_matrix,
}
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "few": ("learning_curves.png",),
    "all": tuple(BUILDERS),
}


def run_figures(
    history: History,
    evaluation: Evaluation,
    split: Split,
    class_names: Sequence[str],
    title: str,
    selection: str,
) -> Iterator[tuple[str, Figure]]:
    """The figures of one run as (file name, figure), each drawn when it is asked for.

    `evaluation` judges the test images `split` with the final weights; `selection` is the setting `figures`.

    Raises:
        ConfigError: `selection` is not one of `SELECTIONS`.
    """
    if selection not in SELECTIONS:
        raise ConfigError(
            f"figures={selection} is not known; the choices are {', '.join(SELECTIONS)}."
            f"{suggestion(selection, SELECTIONS)}"
        )
    run = RunView(history, evaluation, split, class_names, title)
    return ((name, BUILDERS[name](run)) for name in SELECTIONS[selection])
