"""The table of classes."""

import dataclasses

import numpy as np

from harness.figures import per_class_table
from tests.figures import runs


def test_the_table_has_a_row_for_each_class_with_its_most_frequent_mistake() -> None:
    evaluated = runs.split(30)
    table = per_class_table(runs.evaluation(evaluated))
    assert table["class"] == list(runs.CLASSES)
    assert table["recall"] == [0.8, 0.8, 0.8]
    assert table["support"] == [10, 10, 10]
    assert table["most_taken_for"] == ["trouser", "boot", "top"]
    assert {len(column) for column in table.values()} == {3}


def test_a_class_without_mistakes_names_none_and_the_evaluation_is_left_alone() -> None:
    evaluation = dataclasses.replace(runs.evaluation(runs.split(30)), confusion=np.diag([10, 10, 10]))
    assert per_class_table(evaluation)["most_taken_for"] == ["", "", ""]
    assert evaluation.confusion.trace() == 30
