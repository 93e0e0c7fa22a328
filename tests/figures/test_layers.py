"""The panel of a layer: the place of each unit, and which cells are grey, crossed or white."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from harness.figures import layer_panels, layers, style
from harness.figures.layer_panels import draw
from harness.figures.layers import columns_of, compute_kernel, compute_output
from harness.records import FloatArray
from tests.figures.drawing import texts, texts_beyond_the_edge

LONG = "cnn $x$ adam mnist preprocessing=standardize learning_rate=0.02 epochs=3: test image 8 (Ankle boot): 31.5%"
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def paint(panel: layers.LayerPanel) -> FloatArray:
    assert panel.sheet is not None
    return layer_panels.paint(panel, panel.sheet)


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (10, 5), (32, 8), (64, 8), (100, 10), (128, 16), (300, 20), (784, 28), (37, 7)]
)
def test_rows_of_tiles_are_full_if_that_is_not_too_wide(count: int, columns: int) -> None:
    assert columns_of(count) == columns


def test_feature_maps_are_tiles_in_reading_order_with_a_gap() -> None:
    values = np.arange(2 * 3 * 4, dtype=np.float64).reshape(2, 3, 4)
    panel = compute_output("pooling_1", [], values)
    assert panel.sheet is not None
    assert panel.sheet.cells.shape == (2 * 2 + 1, 2 * 3 + 1)
    for channel, (top, left) in enumerate(panel.sheet.corners):
        np.testing.assert_array_equal(panel.sheet.cells[top : top + 2, left : left + 3], values[..., channel])
    assert np.isnan(panel.sheet.cells[2]).all()
    assert np.isnan(panel.sheet.cells[:, 3]).all()


def test_many_units_are_a_heat_map_in_reading_order_and_784_an_image() -> None:
    assert compute_output("hidden_1", [], np.zeros(layers.MOST_BARS)).sheet is None
    panel = compute_output("flatten", [], np.arange(784.0))
    assert panel.sheet is not None
    np.testing.assert_array_equal(panel.sheet.cells, np.arange(784.0).reshape(28, 28))


def test_dense_weights_are_an_image_for_each_unit() -> None:
    kernel = np.random.default_rng(0).normal(size=(784, 6))
    panel = compute_kernel("hidden_1", [], kernel, (28, 28))
    assert panel.sheet is not None
    top, left = panel.sheet.corners[4]
    np.testing.assert_array_equal(panel.sheet.cells[top : top + 28, left : left + 28], kernel[:, 4].reshape(28, 28))


def test_convolution_weights_are_a_tile_for_each_channel() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 8))
    panel = compute_kernel("convolution_1", [], kernel, (28, 28))
    assert panel.sheet is not None
    top, left = panel.sheet.corners[7]
    np.testing.assert_array_equal(panel.sheet.cells[top : top + 3, left : left + 3], kernel[:, :, 0, 7])


def test_zeros_of_a_relu_are_grey_and_those_of_others_are_not() -> None:
    values = np.zeros(100)
    values[1], values[2] = 1e-6, 1.0
    dead = np.zeros(100, dtype=bool)
    relu, other = paint(compute_output("relu", [], values, dead)), paint(compute_output("dropout", [], values))
    assert relu[0, 0].tolist() == pytest.approx(to_rgb(layer_panels.OFF))
    assert np.abs(relu[0, 1] - to_rgb(layer_panels.OFF)).max() > 0.1
    np.testing.assert_allclose(other[0, 0], other[0, 1], atol=0.01)
    np.testing.assert_allclose(relu[0, 1:3], other[0, 1:3])


def test_the_space_between_tiles_is_white() -> None:
    painted = paint(compute_output("maps", [], np.ones((2, 2, 7))))
    assert painted.shape == (8, 8, 3)
    assert (painted[2] == 1.0).all()
    assert (painted[6:, 3:] == 1.0).all(), "7 maps leave two places of 9 empty"
    assert not (painted[6:, :2] == 1.0).any(axis=None)


def test_signed_values_have_a_scale_centred_at_0() -> None:
    painted = paint(compute_output("sums", [], np.concatenate([[-1.0, 3.0, 0.0, -3.0], np.zeros(96)])))
    red, _, blue = painted[0, 1]
    assert red > blue
    assert painted[0, 3, 2] > painted[0, 3, 0]
    assert np.ptp(painted[0, 2]) < 0.01, "0 has no hue"
    assert painted[0, 0, 2] - painted[0, 0, 0] < painted[0, 3, 2] - painted[0, 3, 0], "-1 is paler than -3"


def crosses(panel: layers.LayerPanel) -> list[list[float]]:
    figure = draw([panel], "a run", "")
    return [
        place
        for marks in figure.findobj(PathCollection)
        if np.allclose(marks.get_edgecolor()[..., :3], to_rgb(style.VERMILLION))
        for place in np.asarray(marks.get_offsets()).tolist()
    ]


def test_dead_units_are_crossed() -> None:
    dead = np.zeros(100, dtype=bool)
    dead[[0, 23]] = True
    assert crosses(compute_output("relu", [], np.zeros(100), dead)) == [[0.5, 0.5], [3.5, 2.5]]
    assert crosses(compute_output("relu", [], np.zeros(30), dead[:30])) == [[0.0, 0.0], [23.0, 0.0]]
    maps = compute_output("relu", [], np.zeros((4, 4, 4)), np.array([False, False, False, True]))
    assert crosses(maps) == [[7.0, 7.0]]
    assert crosses(compute_output("dropout", [], np.zeros(100))) == []


def test_the_true_class_is_bold_and_the_largest_value_blue() -> None:
    values = np.linspace(-1, 1, 10)
    figure = draw([compute_output("output", [], values, labels=NAMES, marked=3)], "a run", "")
    (axes,) = [axes for axes in figure.axes if axes.patches]
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    assert [colour == to_rgb(style.BLUE) for colour in colours] == [False] * 9 + [True]
    bold = [label.get_text() for label in axes.get_yticklabels() if label.get_weight() == "bold"]
    assert bold == ["Dress"]


def test_of_many_classes_the_highest_and_the_true_one_are_drawn() -> None:
    names = [f"class {label}" for label in range(100)]
    panel = compute_output("output", ["Dense, 100"], np.linspace(-1, 1, 100), labels=names, marked=3)
    assert panel.sheet is None
    assert panel.labels == ("class 3", *names[90:])
    assert (panel.marked, panel.values.argmax()) == (0, 10)
    assert panel.lines == ("Dense, 100", "the highest of 100 classes")


def test_every_kind_of_panel_has_its_text_inside_the_figure() -> None:
    rng = np.random.default_rng(0)
    dead = np.zeros(32, dtype=bool)
    dead[3] = True
    panels = [
        compute_output("pixels", ["InputLayer, 28 × 28"], rng.uniform(0, 255, (28, 28))),
        compute_output("channel", ["Reshape"], rng.uniform(0, 1, (28, 28, 1))),
        compute_output("convolution_1", ["Conv2D, 28 × 28 × 32"], rng.normal(size=(28, 28, 32)) * 1e-3),
        compute_output("convolution_1_relu", ["two", "lines"], rng.uniform(0, 1, (28, 28, 32)), dead),
        compute_output("flatten", ["Flatten, 3136"], rng.uniform(0, 1, 3136)),
        compute_output("hidden_1_relu", ["bars"], rng.uniform(0, 1, 32), dead),
        compute_output("all_off", ["bars"], np.zeros(32), np.ones(32, dtype=bool)),
        compute_output("output", ["Dense, 10"], rng.normal(size=10), labels=NAMES, marked=1),
    ]
    figure = draw(panels, LONG, "A note. " * 30)
    assert {*(panel.title for panel in panels), *NAMES} <= set(texts(figure))
    assert any(text.startswith("two\nlines") for text in texts(figure))
    assert texts_beyond_the_edge(figure) == []
    for panel in panels:
        assert texts_beyond_the_edge(draw([panel], LONG, "A note. " * 30)) == []
