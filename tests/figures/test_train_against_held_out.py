"""Training against held-out scores."""

import math

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from harness.figures import train_against_held_out
from harness.figures.groups import Group, Measure, Scores
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import overlapping, texts, texts_beyond_the_edge


def test_scores_are_matched_by_seed_and_runs_without_both_are_left_out() -> None:
    groups = [
        Group("a", {}, train=Scores({"1": 0.9, "0": 0.8, "2": 0.7, "3": math.nan}),
              held_out=Scores({"0": 0.6, "1": 0.5, "3": 0.5})),
        Group("none", {}),
    ]  # fmt: skip
    view = train_against_held_out.compute(groups, Measure())
    [cloud] = view.clouds
    assert cloud.points.tolist() == [[90.0, 50.0], [80.0, 60.0]]
    assert view.left_out == 1
    with pytest.raises(ValueError, match="one group"):
        train_against_held_out.compute([], Measure())


@pytest.mark.parametrize(("quantity", "sign"), [("accuracy", 1.0), ("loss", -1.0)])
def test_lines_of_equal_gap_join_points_of_the_gap_that_is_written(quantity: str, sign: float) -> None:
    measure = Measure("accuracy" if quantity == "accuracy" else "loss")
    groups = [group("a", (0.02 * sign, 0.1 * sign)), group("b", (0.05 * sign,))]
    axes = train_against_held_out.draw(train_against_held_out.compute(groups, measure), "a sweep").axes[0]
    drawn = {round(float(sign * (x - y)), 6) for line in axes.lines for x, y in line.get_xydata()}
    named = {0.0 if text == "no gap" else float(text) for text in (written.get_text() for written in axes.texts)}
    assert drawn == named
    assert 0.0 in named


def test_few_groups_have_a_marker_each_and_many_share_one_and_a_scale() -> None:
    few = train_against_held_out.draw(train_against_held_out.compute(many(10), Measure()), "a sweep")
    assert len([item for item in few.axes[0].collections if type(item) is PathCollection]) == 8
    assert len(few.axes) == 1
    assert "group 4 (n=1 of 3)" in texts(few)
    crowd = train_against_held_out.draw(train_against_held_out.compute(many(50), Measure()), "a sweep")
    [points] = [item for item in crowd.axes[0].collections if type(item) is PathCollection]
    assert len(points.get_offsets()) == 47 * 3 + 1
    assert len(np.unique(points.get_facecolor(), axis=0)) > 5
    assert "mean gap of the\ngroup (points)" in texts(crowd)


def test_axes_have_units_and_the_heading_counts_runs() -> None:
    view = train_against_held_out.compute([group("a", (0.1, 0.2))], Measure("accuracy", "val", "selected on x"))
    shown = texts(train_against_held_out.draw(view, "a sweep"))
    assert {"training accuracy (%)", "validation accuracy (%)", "selected on x"} <= set(shown)
    assert any("2 runs in 1 group." in text.replace("\n", " ") for text in shown)


@pytest.mark.parametrize("count", [1, 3, 12, 50])
@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_no_text_is_cut_or_overlaps_another(count: int, quantity: str) -> None:
    measure = Measure("accuracy" if quantity == "accuracy" else "loss", note="a note " * 30)
    figure = train_against_held_out.draw(train_against_held_out.compute(many(count, 1, LONG), measure), LONG)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_a_sweep_of_failures_is_still_drawn() -> None:
    view = train_against_held_out.compute([group("a", ())], Measure())
    assert any("0 runs" in text for text in texts(train_against_held_out.draw(view, "a sweep")))
