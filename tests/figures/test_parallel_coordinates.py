"""Groups as lines across their settings."""

import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from harness.figures import parallel_coordinates
from harness.figures.groups import Measure
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import texts, texts_beyond_the_edge


def test_axes_are_the_varied_settings_then_score_and_gap() -> None:
    groups = [group("a", (0.01,), 0.7, x="1", y="adam", z="1"), group("b", (0.03,), 0.8, x="100", y="sgd", z="1")]
    view = parallel_coordinates.compute(groups, Measure("accuracy", "val"))
    assert [axis.name for axis in view.axes] == ["x (log)", "y", "validation accuracy (%)", "gap (points)"]
    assert view.gaps.tolist() == pytest.approx([3.0, 1.0])  # the smallest gap is drawn last, on top of the others
    assert [text for _, text in view.axes[0].ticks] == ["1", "100"]
    assert [text for _, text in view.axes[1].ticks] == ["adam", "sgd"]
    assert view.axes[1].places.tolist() == pytest.approx([0.75, 0.25])
    named = parallel_coordinates.compute(groups, Measure(), settings=["z"])
    assert [axis.name for axis in named.axes][:-2] == ["z"]
    with pytest.raises(ValueError, match="one group"):
        parallel_coordinates.compute([], Measure())


def test_lines_of_one_category_are_spread_in_the_order_of_their_gaps() -> None:
    groups = [group(str(gap), (gap,), y="adam") for gap in (0.03, 0.01, 0.02)] + [group("s", (0.0,), y="sgd")]
    places = parallel_coordinates.compute(groups, Measure()).axes[0].places
    assert places[0] > places[1] > places[2]
    assert 0 < places[2] < places[0] < 0.5 < places[3]


def test_all_lines_are_one_collection_and_those_without_a_gap_are_grey() -> None:
    groups = [group("a", (0.01,), x="1"), group("b", (math.nan,), x="2"), group("c", (0.05,), x="3")]
    figure = parallel_coordinates.draw(parallel_coordinates.compute(groups, Measure()), "a sweep")
    lines, _ = [item for item in figure.axes[0].collections if isinstance(item, LineCollection)]
    assert len(lines.get_segments()) == 3
    grey, dark, light = lines.get_colors()
    assert np.ptp(grey[:3]) == 0
    assert dark[:3].sum() < light[:3].sum()
    assert any("Grey and dashed: 1 group" in text.replace("\n", " ") for text in texts(figure))


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("extra", [0, 9])
def test_no_text_is_cut(count: int, extra: int) -> None:
    groups = many(count)
    for index, each in enumerate(groups):
        each.settings.update({f"a.long.name_of_a_setting_{key}": f"{LONG}{index % 3}" for key in range(extra)})
    view = parallel_coordinates.compute(groups, Measure("loss", note="a note " * 30))
    assert texts_beyond_the_edge(parallel_coordinates.draw(view, LONG)) == []


def test_a_sweep_of_failures_is_still_drawn() -> None:
    view = parallel_coordinates.compute([group("a", (), x="1"), group("b", (), x="2")], Measure())
    assert any("2 groups without" in text.replace("\n", " ") for text in texts(parallel_coordinates.draw(view, "a")))
