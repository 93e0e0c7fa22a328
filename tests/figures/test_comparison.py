"""The comparison of a sweep's groups."""

import math
from itertools import pairwise

import pytest

from harness.figures.comparison import GroupValues, compute_comparison, draw_comparison
from tests.figures.drawing import texts, texts_beyond_the_edge


def group(label: str, gaps: tuple[float, ...]) -> GroupValues:
    return GroupValues(
        label=label,
        train_accuracy=tuple(0.9 + gap for gap in gaps),
        held_out_accuracy=(0.9,) * len(gaps),
        gap_accuracy=gaps,
        gap_loss=tuple(4 * gap for gap in gaps),
    )


def test_groups_stand_by_growing_gap_and_those_without_a_run_last() -> None:
    view = compute_comparison([group("wide", (0.06, 0.08)), group("failed", ()), group("narrow", (0.01, 0.02))])
    assert [compared.label for compared in view.groups] == ["narrow (n=2)", "wide (n=2)", "failed (no finished run)"]


def test_means_are_in_percent_and_points_with_the_sample_deviation() -> None:
    (compared,) = compute_comparison([group("a", (0.01, 0.03))]).groups
    assert compared.train.values == pytest.approx((91.0, 93.0))
    assert compared.gap_accuracy.mean == pytest.approx(2.0)
    assert compared.gap_accuracy.deviation == pytest.approx(math.sqrt(2.0))
    assert compared.gap_loss.mean == pytest.approx(0.08)


def test_one_run_has_no_deviation() -> None:
    (compared,) = compute_comparison([group("a", (0.01,))]).groups
    assert math.isnan(compared.gap_accuracy.deviation)


def test_values_that_are_not_finite_are_left_out_of_the_mean() -> None:
    values = GroupValues("a", (0.9, 0.9), (0.8, 0.8), (0.1, 0.1), (math.inf, 0.5))
    assert compute_comparison([values]).groups[0].gap_loss.values == (0.5,)


def test_an_empty_comparison_is_refused() -> None:
    with pytest.raises(ValueError, match="one group"):
        compute_comparison([])


def test_gaps_are_written_with_sign_and_deviation_where_there_is_one() -> None:
    groups = [group("a", (0.01, 0.03)), group("b", (0.05,)), group("none", ()), group("zero", (-0.0004,))]
    shown = texts(draw_comparison(compute_comparison(groups, held_out="validation"), "a sweep"))
    assert {"+2.0 ± 1.4", "+5.0", "+0.0", "+0.080 ± 0.057", "none (no finished run)", "validation"} <= set(shown)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_long_labels_are_neither_cut_nor_laid_over_each_other(count: int) -> None:
    label = "model=mlp_300_100 optimizer=schedule_free_adamw optimizer.learning_rate=0.0001 $x$ regime.batch_size=128"
    groups = [group(f"{label} {index}", (0.01 * index, 0.01 * index + 0.002)) for index in range(count)]
    figure = draw_comparison(compute_comparison(groups), "a sweep")
    assert texts_beyond_the_edge(figure) == []
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    assert len(boxes) == count
    assert not any(above.overlaps(below) for above, below in pairwise(boxes))


def test_a_sweep_of_failures_is_still_drawn() -> None:
    assert "a (no finished run)" in texts(draw_comparison(compute_comparison([group("a", ())]), "a sweep"))
