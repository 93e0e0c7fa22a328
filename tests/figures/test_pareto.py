"""The Pareto front of held-out score and gap."""

import math
from dataclasses import replace

import pytest

from harness.figures import pareto
from harness.figures.groups import Group, Measure
from harness.records import Place
from tests.figures.comparisons import LONG, group, many
from tests.figures.drawing import overlapping, texts, texts_beyond_the_edge


def placed(of: Group, place: Place, share: float = math.nan) -> Group:
    return replace(of, place=place, front_share=share)


def front(label: str, gap: float, accuracy: float, share: float = math.nan) -> Group:
    return placed(group(label, (gap, gap), accuracy), Place.FRONT, share)


def test_the_front_is_the_one_that_the_comparison_names() -> None:
    """The figure does not compute the front itself: `low` is beaten by no group, but it is underfit."""
    groups = [placed(group("low", (0.01,), 0.5), Place.UNDERFIT), placed(group("lower", (0.02,), 0.4), Place.NONE),
              front("small", 0.05, 0.8), front("large", 0.1, 0.9)]  # fmt: skip
    view = pareto.compute(groups, Measure())
    assert [point.label for point in view.front] == ["small", "large"]
    figure = pareto.draw(view, "")
    assert "Hollow: underfit, not accurate enough for the front" in " ".join(" ".join(texts(figure)).split())
    [hollow] = [line for line in figure.axes[0].get_lines() if line.get_fillstyle() == "none"]
    assert list(hollow.get_xdata()) == pytest.approx([1.0])
    assert "Hollow" not in " ".join(texts(pareto.draw(pareto.compute(groups[1:], Measure()), "")))


def test_groups_without_both_means_are_left_out() -> None:
    view = pareto.compute([group("a", (0.1,)), group("none", ()), group("nan", (math.nan,))], Measure())
    assert [point.label for point in view.points] == ["a"]
    assert view.left_out == 2
    with pytest.raises(ValueError, match="one group"):
        pareto.compute([], Measure())


def test_groups_on_the_front_are_numbered_and_named_with_their_scores() -> None:
    groups = [placed(group("small", (0.01, 0.02), 0.8, runs=3), Place.FRONT), front("large", 0.1, 0.9),
              group("bad", (0.2,), 0.7)]  # fmt: skip
    shown = texts(pareto.draw(pareto.compute(groups, Measure("accuracy", "val", "a note")), "a sweep"))
    assert {"1 small\n80.0 %, gap +1.5 points, n=2 of 3", "2 large\n90.0 %, gap +10.0 points, n=2", "a note"} <= set(
        shown
    )
    assert {"1", "2"} <= set(shown)
    assert "bad" not in shown
    assert {"gap (points; smaller overfits less)", "validation accuracy (%)"} <= set(shown)


@pytest.mark.parametrize("count", [1, 12, 50])
@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_no_text_is_cut_or_overlaps_another(count: int, quantity: str) -> None:
    measure = Measure("accuracy" if quantity == "accuracy" else "loss", note="a note " * 30)
    figure = pareto.draw(pareto.compute([placed(of, Place.FRONT) for of in many(count, label=LONG)], measure), LONG)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_numbers_of_points_that_nearly_touch_are_kept_apart() -> None:
    groups = [front(str(place), 0.05 + 0.0001 * place, 0.8 + 0.0001 * place) for place in range(9)]
    far = front("far", 0.3, 0.9)
    assert overlapping(pareto.draw(pareto.compute([*groups, far], Measure()), "a sweep")) == []


def test_a_sweep_of_failures_is_still_drawn() -> None:
    assert texts(pareto.draw(pareto.compute([group("a", ())], Measure()), "a sweep"))


def test_a_point_on_the_front_in_few_resamples_is_fainter_and_has_its_share() -> None:
    groups = [front("sure", 0.01, 0.8, share=1.0), front("by chance", 0.1, 0.9, share=0.3)]
    figure = pareto.draw(pareto.compute(groups, Measure()), "")
    shown = " ".join(texts(figure))
    assert "gap +10.0 points, n=2, front 30 %" in shown
    assert "The fainter a point of the front, the fewer resamples put it there" in " ".join(shown.split())
    points = [artist for artist in figure.axes[0].get_lines() if artist.get_marker() == "D"]
    assert sorted(artist.get_alpha() for artist in points) == [0.3, 1.0]
    unknown = pareto.draw(pareto.compute([front("a", 0.1, 0.8), front("b", 0.2, 0.9)], Measure()), "")
    assert "fainter" not in " ".join(texts(unknown))
