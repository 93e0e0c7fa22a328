"""Guide D's learning curves: one panel, y from 0 to 1."""

import math

import pytest

from harness.figures import learning_curves
from tests.figures import runs
from tests.figures.drawing import overlapping, texts, texts_beyond_the_edge


def test_the_curves_are_what_the_notebook_plots() -> None:
    curves = learning_curves.compute_unit(runs.history(10, validation=True))
    assert list(curves.series) == ["fit/accuracy", "val/accuracy", "fit/loss", "val/loss"]
    assert curves.series["fit/loss"][1] == 0.75
    assert list(learning_curves.compute_unit(runs.history(10, validation=False)).series) == ["fit/accuracy", "fit/loss"]


def test_series_above_one_are_named_with_their_greatest_value() -> None:
    curves = learning_curves.compute_unit(runs.history(10, validation=True))
    assert curves.beyond == {"fit/loss": 1.5, "val/loss": pytest.approx(1.2)}
    figure = learning_curves.draw_unit(curves, "a run")
    assert "Above 1 and not shown there: training loss (up to 1.5)" in " ".join(" ".join(texts(figure)).split())
    assert figure.axes[0].get_ylim() == (0.0, 1.0)


def test_nothing_is_named_if_all_values_are_shown() -> None:
    run = runs.history(5, validation=False)
    run.series["fit/loss"] = [0.9, 0.5, 0.4, 0.3, 0.2]
    curves = learning_curves.compute_unit(run)
    assert curves.beyond == {}
    assert not any("Above 1" in text for text in texts(learning_curves.draw_unit(curves, "a run")))


def test_a_loss_that_is_not_finite_leaves_a_hole_and_is_named() -> None:
    run = runs.history(3, validation=False)
    run.series["fit/loss"] = [0.5, math.inf, 0.4]
    curves = learning_curves.compute_unit(run)
    assert math.isnan(curves.series["fit/loss"][1])
    assert curves.beyond == {"fit/loss": math.inf}


@pytest.mark.parametrize("epochs", [1, 2, 30, 200])
@pytest.mark.parametrize("validation", [True, False])
def test_names_are_beside_their_curves_and_do_not_overlap(epochs: int, validation: bool) -> None:
    run = runs.history(epochs, validation)
    run.series = {name: [0.99] * epochs for name in run.series}
    figure = learning_curves.draw_unit(learning_curves.compute_unit(run), "a $run$")
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []
    assert {"epoch", "training loss", "training accuracy"} <= set(texts(figure))
