"""The gap against measures of the weights: a panel for each, logarithmic for a wide range."""

from __future__ import annotations

from harness.figures.gap_by_measures import MeasuredRuns, draw


def test_each_measure_has_a_panel_with_every_run_and_its_tau() -> None:
    wide = [(1.0, 0.01), (10.0, 0.02), (1000.0, 0.05)]
    runs = [MeasuredRuns(name, wide, "tau +1.00 (-)") for name in ("sharpness", "path_norm", "margin", "spectral_norm")]
    runs[2] = MeasuredRuns("margin", [(-number, gap) for number, gap in wide], "tau -1.00 (-)")
    figure = draw(runs, "gap of accuracy on test", "title")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == ["sharpness", "path_norm", "margin", "spectral_norm"]
    assert [axes.get_xscale() for axes in panels] == ["log", "log", "linear", "log"]
    assert panels[2].get_title(loc="left") + panels[2].get_title() == "tau -1.00 (-)"
    assert panels[0].lines[0].get_xydata().tolist() == [[1.0, 1.0], [10.0, 2.0], [1000.0, 5.0]]
    figure.canvas.draw()
    labels = [label.get_text() for label in panels[0].get_xticklabels()]
    assert not any("$" in label for label in labels)
