"""Learning curves: what they show with and without a validation split."""

import math

import pytest
from matplotlib.text import Text

from harness.figures import learning_curves
from tests.figures import runs
from tests.figures.drawing import pixels, texts, texts_beyond_the_edge

TEST = runs.evaluation(runs.split())


def test_with_a_validation_split_the_gap_is_between_the_last_values_of_both_curves() -> None:
    curves = learning_curves.compute(runs.history(10, validation=True), TEST)
    assert curves.loss.gap == pytest.approx(1.2 - 0.1)
    assert curves.accuracy.gap == pytest.approx(98.0 - 75.0)
    assert curves.best_epoch == 3


def test_without_a_validation_split_the_gap_is_to_the_test_images() -> None:
    curves = learning_curves.compute(runs.history(10, validation=False), TEST)
    assert curves.loss.validation is None
    assert curves.best_epoch is None
    assert curves.loss.gap == pytest.approx(TEST.loss - 0.1)
    assert curves.accuracy.gap == pytest.approx(98.0 - 100 * TEST.accuracy)


def test_accuracies_are_in_percent_and_infinite_losses_leave_a_hole() -> None:
    run = runs.history(3, validation=False)
    run.series["train/loss"][1] = math.inf
    curves = learning_curves.compute(run, TEST)
    assert curves.accuracy.train.tolist() == pytest.approx([80.0, 90.0, 100 * (1 - 0.2 / 3)])
    assert math.isnan(curves.loss.train[1])


def test_the_drawn_gap_is_written_in_nats_and_in_points_with_its_sign() -> None:
    figure = learning_curves.draw(learning_curves.compute(runs.history(10, validation=True), TEST), "a run")
    shown = texts(figure)
    assert "gap\n+1.100" in shown
    assert "gap\n+23.0\npoints" in shown
    assert "least validation loss: epoch 3" in shown
    assert "validation" in shown


def test_without_a_validation_split_the_test_value_is_marked() -> None:
    shown = texts(learning_curves.draw(learning_curves.compute(runs.history(10, validation=False), TEST), "a run"))
    assert "test, final weights" in shown
    assert not any("validation" in text for text in shown)


@pytest.mark.parametrize("epochs", [1, 2, 7, 30, 200])
def test_the_axis_counts_whole_epochs_from_the_first(epochs: int) -> None:
    figure = learning_curves.draw(learning_curves.compute(runs.history(epochs, validation=False), TEST), "a run")
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "1"
    assert all(1 <= int(tick) <= epochs for tick in ticks)
    assert len(ticks) <= 11


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_no_text_is_cut_by_the_edge(epochs: int, validation: bool) -> None:
    curves = learning_curves.compute(runs.history(epochs, validation), TEST)
    figure = learning_curves.draw(curves, "mlp_128 · adam · $a_dollar$ " * 4)
    assert texts_beyond_the_edge(figure) == []


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e7])
@pytest.mark.parametrize("title", ["a run", "model.name=mlp_300_100 optimizer.learning_rate=0.0005 " * 8])
def test_losses_of_any_size_and_titles_of_any_length_fit_beside_the_panels(scale: float, title: str) -> None:
    run = runs.history(10, validation=True)
    for name in ("fit/loss", "train/loss", "val/loss"):
        run.series[name] = [value * scale for value in run.series[name]]
    figure = learning_curves.draw(learning_curves.compute(run, TEST), title)
    assert texts_beyond_the_edge(figure) == []
    left, right = figure.axes
    heading = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_weight() == "bold")[-1]
    legend = figure.legends[0].get_window_extent()
    for panel in (left, right):
        outline = panel.get_tightbbox()
        assert outline.y1 <= heading.get_window_extent().y0
        assert outline.y0 >= legend.y1
    assert left.get_tightbbox().x1 <= right.get_tightbbox().x0


def test_one_epoch_shows_its_points() -> None:
    figure = learning_curves.draw(learning_curves.compute(runs.history(1, validation=True), TEST), "a run")
    markers = [line.get_marker() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert markers.count("o") >= 3
    assert pixels(figure).min() < 0.5


def test_a_name_that_looks_like_a_formula_is_drawn_literally() -> None:
    title = r"model=$\frac$"
    assert title in texts(learning_curves.draw(learning_curves.compute(runs.history(2, validation=True), TEST), title))


def test_a_continued_run_continues_the_count_of_epochs() -> None:
    run = runs.history(10, validation=True)
    run.before = 40
    curves = learning_curves.compute(run, TEST)
    assert (curves.epochs, curves.best_epoch) == (range(41, 51), 43)
    figure = learning_curves.draw(curves, "a run")
    left, right = figure.axes[0].get_xlim()
    assert 40 < left < 41
    assert 50 < right < 54
    assert "Loss. Gap after epoch 50: validation - training" in texts(figure)
