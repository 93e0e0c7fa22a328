"""The gap over two settings."""

import math

import numpy as np
import pytest

from harness.figures import heat_map
from harness.figures.groups import Measure
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import colour_of, overlapping, texts, texts_beyond_the_edge


def grid() -> heat_map.HeatMap:
    groups = [
        group("a", (0.01, 0.03), runs=2, x="128", y="adam"),
        group("b", (0.10,), runs=2, x="8", y="adam"),
        group("c", (), runs=2, x="8", y="sgd"),
    ]
    return heat_map.compute(groups, Measure(), "x", "y")


def test_cells_have_mean_gaps_in_the_order_of_the_settings() -> None:
    view = grid()
    assert (view.columns, view.rows) == (("8", "128"), ("adam", "sgd"))
    assert view.means[0].tolist() == pytest.approx([10.0, 2.0])
    assert np.isnan(view.means[1]).all()
    assert view.n.tolist() == [[1, 2], [0, 0]]
    assert view.groups.tolist() == [[1, 1], [1, 0]]


def test_groups_in_one_cell_are_averaged_and_the_heading_says_over_what() -> None:
    groups = [group("a", (0.01,), x="1", y="1", lr="0.1"), group("b", (0.03,) * 3, x="1", y="1", lr="0.2")]
    view = heat_map.compute(groups, Measure(), "x", "y")
    assert view.means.tolist() == [[pytest.approx(2.0)]]
    assert view.averaged == ("lr",)
    shown = " ".join(texts(heat_map.draw(view, "a sweep"))).replace("\n", " ")
    assert "up to 2 groups, which differ in lr" in shown


def test_incomplete_cells_say_so_and_those_without_a_run_are_hatched() -> None:
    figure = heat_map.draw(grid(), "a sweep")
    shown = texts(figure)
    assert {"+10.0\nn=1 of 2", "+2.0", "x", "y", "gap (points)"} <= set(shown)
    assert any("Hatched: nothing finished. Empty: not run." in text.replace("\n", " ") for text in shown)
    [hatched] = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert hatched.get_xy() == (-0.48, 0.52)


def test_text_contrasts_with_the_cell_below_it() -> None:
    figure = heat_map.draw(grid(), "a sweep")
    assert (colour_of(figure, "+10.0\nn=1 of 2"), colour_of(figure, "+2.0")) == ("#FFFFFF", "#222222")


def test_two_different_settings_are_needed() -> None:
    with pytest.raises(ValueError, match="two settings"):
        heat_map.compute(many(3), Measure(), "width", "width")
    with pytest.raises(ValueError, match="'depth'"):
        heat_map.compute(many(3), Measure(), "width", "depth")


@pytest.mark.parametrize("count", [1, 4, 50])
def test_no_text_is_cut_or_overlaps_another(count: int) -> None:
    view = heat_map.compute(many(count), Measure("loss", note="a note " * 30), "width", "optimizer")
    figure = heat_map.draw(view, LONG)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_many_long_values_and_nothing_finished_are_drawn() -> None:
    groups = [group(str(index), (math.nan,), x=f"{LONG}{index}", y=index % 3) for index in range(40)]
    figure = heat_map.draw(heat_map.compute(groups, Measure(), "x", "y"), "a sweep")
    assert texts_beyond_the_edge(figure) == []
