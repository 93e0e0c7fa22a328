"""The gap against a swept number."""

import math

import numpy as np
import pytest

from harness.figures import gap_against
from harness.figures.groups import Measure
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import texts, texts_beyond_the_edge


def test_points_are_sorted_by_number_and_lines_by_the_second_setting() -> None:
    groups = [
        group("a", (0.03,), width="64", lr="0.01"),
        group("b", (0.01, 0.02), width="[8]", lr="0.01"),
        group("c", (0.05,), width=16.0, lr="0.001"),
    ]
    view = gap_against.compute(groups, Measure(), "width", by="lr")
    assert [line.label for line in view.lines] == ["0.001", "0.01"]
    assert [point.at for point in view.lines[1].points] == [8.0, 64.0]
    assert view.lines[1].points[0].gap.mean == pytest.approx(1.5)
    assert view.lines[1].points[0].train.mean == pytest.approx(81.5)
    assert view.lines[1].points[0].held_out.mean == pytest.approx(80.0)


def test_groups_without_a_number_or_a_gap_are_counted_not_drawn() -> None:
    groups = [
        group("a", (0.1,), width="8"),
        group("b", (0.1,), width="None"),
        group("c", (), width="16"),
        group("d", (math.nan,), width="32"),
    ]
    view = gap_against.compute(groups, Measure(), "width")
    assert [point.at for line in view.lines for point in line.points] == [8.0]
    assert view.left_out == 3
    assert any("Left out: 3 groups" in text for text in texts(gap_against.draw(view, "a sweep")))
    with pytest.raises(ValueError, match="'depth'"):
        gap_against.compute(groups, Measure(), "depth")
    with pytest.raises(ValueError, match="finite gap"):
        gap_against.compute(groups[1:], Measure(), "width")


def test_points_are_joined_only_if_each_number_occurs_once() -> None:
    once = gap_against.compute([group("a", (0.1,), x="1"), group("b", (0.1,), x="2")], Measure(), "x")
    twice = gap_against.compute([group("a", (0.1,), x="1"), group("b", (0.2,), x="1")], Measure(), "x")
    assert (once.lines[0].joined, twice.lines[0].joined) == (True, False)
    assert any("not joined" in text for text in texts(gap_against.draw(twice, "a sweep")))


def test_axes_have_units_n_and_the_scale() -> None:
    groups = [group(str(width), (0.01, 0.02), width=str(width)) for width in (8, 64, 512)]
    shown = texts(gap_against.draw(gap_against.compute(groups, Measure("accuracy", "val"), "width"), "a sweep"))
    assert {"gap (points)", "accuracy (%)", "width, logarithmic", "512", "training", "validation"} <= set(shown)
    assert any("n=2;" in text for text in shown)


def test_numbers_of_similar_size_have_a_linear_axis() -> None:
    groups = [group(str(share), (0.01, 0.02), noise=share) for share in (0.0, 0.1, 0.2, 0.4)]
    figure = gap_against.draw(gap_against.compute(groups, Measure(), "noise"), "a sweep")
    assert {axes.get_xscale() for axes in figure.axes} == {"linear"}
    assert {"0", "0.1", "0.4"} <= set(texts(figure))


@pytest.mark.parametrize("count", [1, 10, 50])
@pytest.mark.parametrize("by", [None, "optimizer"])
@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_no_text_is_cut(count: int, by: str | None, quantity: str) -> None:
    measure = Measure("accuracy" if quantity == "accuracy" else "loss", note="a note " * 30)
    figure = gap_against.draw(gap_against.compute(many(count), measure, "width", by), LONG)
    assert texts_beyond_the_edge(figure) == []


@pytest.mark.parametrize("gap", [0.0, 1e7, -1e-6])
def test_losses_of_any_size_fit_beside_the_panels(gap: float) -> None:
    groups = [group(str(x), (gap * x,), x=x) for x in range(3)]
    figure = gap_against.draw(gap_against.compute(groups, Measure("loss"), "x"), "a sweep")
    assert texts_beyond_the_edge(figure) == []


def test_more_lines_than_markers_are_distinguished_by_shade() -> None:
    groups = [group(str(index), (0.01, 0.02), x=index % 2, y=str(index // 2)) for index in range(60)]
    shown = texts(gap_against.draw(gap_against.compute(groups, Measure(), "x", "y"), "a sweep"))
    assert "and 6 more, darker" in shown


def test_lines_are_shifted_sideways_but_stay_close_to_their_number() -> None:
    groups = [group(f"{x} {y}", (0.01, 0.02), x=x, y=str(y)) for x in range(20) for y in range(6)]
    figure = gap_against.draw(gap_against.compute(groups, Measure(), "x", "y"), "a sweep")
    axes = figure.axes[0]
    means = [line for line in axes.lines if len(line.get_xdata()) == 20 and line.get_linestyle() == "-"]
    places = np.array([line.get_transform().transform(line.get_xydata())[:, 0] for line in means])
    assert len(places) == 6
    numbers = axes.transData.transform([(x, 0.0) for x in range(20)])[:, 0]
    assert np.abs(places - numbers).max() < 0.3 * (numbers[1] - numbers[0])
    assert np.unique(places[:, 0]).size == 6
