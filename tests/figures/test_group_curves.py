"""Learning curves of groups."""

import math

import pytest

from harness.figures import group_curves
from harness.figures.group_curves import GroupRuns
from tests.figures.comparisons import LONG
from tests.figures.drawing import texts, texts_beyond_the_edge


def run(epochs: int, lift: float = 0.0, validation: bool = True) -> dict[str, dict[int, float]]:
    splits = ("train", "val") if validation else ("train",)
    return {
        f"{split}/{quantity}": {epoch: 1.0 / epoch + lift for epoch in range(1, epochs + 1)}
        for split in splits
        for quantity in ("loss", "accuracy")
    }


def test_a_band_is_the_range_of_the_runs_about_their_mean() -> None:
    view = group_curves.compute([GroupRuns("a", {"0": run(3), "1": run(3, 0.2)})])
    band = view.panels[0].bands["train/accuracy"]
    assert band.epochs == (1, 2, 3)
    assert band.low.tolist() == pytest.approx([100, 50, 100 / 3])
    assert band.mean.tolist() == pytest.approx([110, 60, 100 / 3 + 10])
    assert band.high.tolist() == pytest.approx([120, 70, 100 / 3 + 20])
    assert view.interval is False


def test_a_given_interval_is_the_band() -> None:
    names = [f"{split}/{quantity}" for split in ("train", "val") for quantity in ("loss", "accuracy")]
    given = {name: {1: (0.4, 0.6), 2: (0.1, 0.9)} for name in names}
    view = group_curves.compute([GroupRuns("a", {"0": run(2)}, intervals=given)])
    assert view.panels[0].bands["train/accuracy"].low.tolist() == pytest.approx([40, 10])
    assert any("95 % interval" in text for text in texts(group_curves.draw(view, "a sweep")))


def test_a_mean_ends_with_the_shortest_run_and_longer_runs_continue() -> None:
    view = group_curves.compute([GroupRuns("a", {"0": run(3), "1": run(7)})])
    band = view.panels[0].bands["val/loss"]
    assert len(band.mean) == 3
    assert [len(each) for each in band.runs] == [3, 7]
    assert any("A mean ends where the shortest run does." in text for text in texts(group_curves.draw(view, "a")))


def test_a_loss_that_is_not_finite_leaves_a_hole() -> None:
    broken = run(3)
    broken["train/loss"][2] = math.inf
    band = group_curves.compute([GroupRuns("a", {"0": run(3), "1": broken})]).panels[0].bands["train/loss"]
    assert [math.isnan(value) for value in band.mean] == [False, True, False]


def test_the_onset_is_the_median_and_says_how_many_runs_show_one() -> None:
    runs = {str(seed): run(9) for seed in range(3)}
    view = group_curves.compute([GroupRuns("a", runs, {"0": 4, "2": 7}, asked=5)])
    assert view.panels[0].onset == 5.5
    shown = texts(group_curves.draw(view, "a sweep"))
    assert "n=3 of 5, turns at epoch 5.5 (2 of 3)" in shown
    assert "validation loss turns: median (line), single runs" in shown


def test_six_groups_are_drawn_and_the_others_counted() -> None:
    view = group_curves.compute([GroupRuns(str(index), {"0": run(2)}) for index in range(50)])
    assert len(view.panels) == 6
    figure = group_curves.draw(view, "a sweep")
    assert len(figure.axes) == 12
    assert any("6 groups of 50 are shown." in text for text in texts(figure))
    assert len({axes.get_ylim() for axes in figure.axes}) == 2
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_curves_without_a_validation_split_are_drawn_and_without_a_run_refused() -> None:
    with pytest.raises(ValueError, match="one run"):
        group_curves.compute([GroupRuns("a", {})])
    view = group_curves.compute([GroupRuns("none", {}), GroupRuns("a", {"0": run(1, validation=False)})])
    assert [panel.label for panel in view.panels] == ["a"]
    shown = texts(group_curves.draw(view, "a sweep"))
    assert any("no validation split" in text for text in shown)
    assert {"loss (nats)", "accuracy (%)", "epoch", "n=1"} <= set(shown)
    assert "validation" not in shown


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("epochs", [1, 30])
def test_no_text_is_cut(count: int, epochs: int) -> None:
    groups = [GroupRuns(LONG, {"0": run(epochs), "1": run(epochs, 1e3)}, {"0": 1}) for _ in range(count)]
    assert texts_beyond_the_edge(group_curves.draw(group_curves.compute(groups), LONG)) == []
