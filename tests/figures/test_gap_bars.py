"""The bars of mean gaps."""

import math

import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from harness.figures import gap_bars
from harness.figures.groups import Measure
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import overlapping, texts, texts_beyond_the_edge


def test_groups_are_sorted_by_mean_gap_with_missing_gaps_last() -> None:
    bars = gap_bars.compute([group("b", (0.04,)), group("none", ()), group("a", (-0.01, -0.02))], Measure()).bars
    assert [bar.label for bar in bars] == ["a", "b", "none"]
    assert bars[0].gap.mean == pytest.approx(-1.5)
    assert math.isnan(bars[2].gap.mean)


def test_the_baseline_is_found_by_its_label_and_must_exist() -> None:
    groups = [group("a", (0.01,)), group("b", (0.02,))]
    baseline = gap_bars.compute(groups, Measure(), baseline="b").baseline
    assert baseline is not None
    assert baseline.label == "b"
    with pytest.raises(ValueError, match="'c'"):
        gap_bars.compute(groups, Measure(), baseline="c")
    with pytest.raises(ValueError, match="one group"):
        gap_bars.compute([], Measure())


def test_means_intervals_counts_split_and_note_are_written() -> None:
    groups = [group("a", (0.01, 0.03), runs=5), group("b", (0.05,)), group("none", (), runs=5)]
    view = gap_bars.compute(groups, Measure("accuracy", "val", note="selected on validation"), baseline="b")
    shown = texts(gap_bars.draw(view, "a sweep"))
    assert {"+2.0  [+1.0, +3.0]", "n=2 of 5", "+5.0", "n=1", "b (baseline)", "no finished run", "a sweep"} <= set(shown)
    assert "selected on validation" in shown
    assert any(text.startswith("Gap of accuracy: training - validation.") for text in shown)
    assert "points (right of 0: overfitting)" in shown


def test_bars_reach_from_zero_to_the_mean_and_lines_over_the_interval() -> None:
    view = gap_bars.compute([group("a", (0.01, 0.03)), group("b", (-0.02, -0.02))], Measure())
    axes = gap_bars.draw(view, "a sweep").axes[0]
    assert sorted(bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)) == pytest.approx([-2.0, 2.0])
    segments = [
        segment for item in axes.collections if isinstance(item, LineCollection) for segment in item.get_segments()
    ]
    assert [[1.0, 1.0], [3.0, 1.0]] in [segment.round(6).tolist() for segment in segments]


def test_losses_are_in_nats() -> None:
    shown = texts(gap_bars.draw(gap_bars.compute([group("a", (0.1, 0.3))], Measure("loss")), "a sweep"))
    assert "+0.200  [+0.190, +0.210]" in shown
    assert "nats (right of 0: overfitting)" in shown


@pytest.mark.parametrize("count", [1, 5, 50])
@pytest.mark.parametrize("label", ["group", LONG])
def test_no_text_is_cut_or_overlaps_another(count: int, label: str) -> None:
    figure = gap_bars.draw(gap_bars.compute(many(count, label=label), Measure(note="a note " * 30)), label)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_a_sweep_of_failures_is_still_drawn() -> None:
    figure = gap_bars.draw(gap_bars.compute([group("a", ())], Measure()), "a sweep")
    assert "no finished run" in texts(figure)
