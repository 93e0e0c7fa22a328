"""The table of classes that goes with the confusion matrix."""

from __future__ import annotations

from harness.records import Evaluation


def per_class_table(evaluation: Evaluation) -> dict[str, list[str | float | int]]:
    """Columns of equal length, a row a class, in the order of the labels: what `mlflow.log_table` takes.

    `precision`, `recall` and `f1` are fractions; `support` counts the images of the class; `most_taken_for` names the
    class that it is most often mistaken for, and is empty where there was no mistake.
    """
    scores = evaluation.per_class
    mistakes = evaluation.confusion.copy()
    mistakes[range(len(scores)), range(len(scores))] = 0
    return {
        "class": [score.name for score in scores],
        "precision": [score.precision for score in scores],
        "recall": [score.recall for score in scores],
        "f1": [score.f1 for score in scores],
        "support": [score.support for score in scores],
        "most_taken_for": [scores[row.argmax()].name if row.any() else "" for row in mistakes],
    }
