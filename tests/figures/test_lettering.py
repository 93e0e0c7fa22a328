"""Texts as outlines: where they stand, and that they look like matplotlib's own."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.figures.lettering import Lettering, fitted, letter, width, wrapped
from tests.figures.drawing import pixels


def empty() -> Figure:
    figure = Figure(figsize=(4.0, 2.0), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def test_a_text_is_as_wide_as_matplotlib_writes_it() -> None:
    figure = empty()
    text = figure.text(0.1, 0.5, "Ankle boot 98% ✓", size=20.0)
    assert width("Ankle boot 98% ✓", 20.0) * 100 == pytest.approx(text.get_window_extent().width, rel=0.03)
    assert width("a\nAnkle", 20.0) == width("Ankle", 20.0)


@pytest.mark.parametrize(("align", "centre"), [("left", 223.0), ("center", 200.0), ("right", 177.0)])
def test_a_text_stands_where_it_is_aligned(align: str, centre: float) -> None:
    lettering = letter(empty(), ["HHHH"], [(0.5, 0.5)], size=11.0, align=align)
    [(_, box)] = lettering.boxes()
    assert (box.x0 + box.x1) / 2 == pytest.approx(centre, abs=1.0)
    assert (box.y0 + box.y1) / 2 == pytest.approx(100.0, abs=1.0)


def test_lines_stand_below_each_other_and_the_block_is_aligned() -> None:
    top = letter(empty(), ["A\nA\nA"], [(0.5, 0.5)], size=36.0, valign="top").boxes()[0][1]
    bottom = letter(empty(), ["A\nA\nA"], [(0.5, 0.5)], size=36.0, valign="bottom").boxes()[0][1]
    assert top.y1 < 100.0 < bottom.y0
    assert top.height == pytest.approx((2 * 1.2 + 0.73) * 50.0, abs=1.0)


def test_shift_is_in_points_and_angle_turns_about_the_place() -> None:
    plain = letter(empty(), ["H"], [(0.5, 0.5)]).boxes()[0][1]
    moved = letter(empty(), ["H"], [(0.5, 0.5)], shift=(72.0, 36.0)).boxes()[0][1]
    assert (moved.x0 - plain.x0, moved.y0 - plain.y0) == pytest.approx((100.0, 50.0))
    upright = letter(empty(), ["HHHHHH"], [(0.5, 0.5)], angle=90.0).boxes()[0][1]
    assert upright.height > 3 * upright.width


def test_what_is_drawn_covers_the_boxes_in_the_colours_asked_for() -> None:
    figure = empty()
    lettering = letter(figure, ["HHH", "HHH"], [(0.25, 0.5), (0.75, 0.5)], size=40.0, colours=["#FF0000", "#0000FF"])
    picture = pixels(figure)
    for (_, box), channel in zip(lettering.boxes(), (0, 2), strict=True):
        inside = picture[200 - int(box.y1) : 200 - int(box.y0), int(box.x0) : int(box.x1)]
        inked = inside[inside[..., 1] < 0.1]
        assert len(inked) > 0.3 * inside.shape[0] * inside.shape[1]
        assert np.all(inked[:, channel] == 1.0)
    outside = picture.copy()
    for _, box in lettering.boxes():
        outside[200 - int(box.y1) - 2 : 200 - int(box.y0) + 2, int(box.x0) - 2 : int(box.x1) + 2] = 1.0
    assert outside.min() == 1.0


def test_dollars_are_written_as_they_stand_and_nothing_as_nothing() -> None:
    figure = empty()
    lettering = letter(figure, [r"$\frac$", "", " "], [(0.5, 0.5)] * 3)
    assert isinstance(lettering, Lettering)
    assert [text for text, _ in lettering.boxes()] == [r"$\frac$"]
    assert pixels(figure).min() < 0.9


def test_lines_are_broken_where_they_would_be_too_wide() -> None:
    words = "MMMM iiii MMMM iiii unbreakablywideword iiii"
    lines = wrapped(words, 10.0, 1.0)
    assert " ".join(lines) == words
    assert all(width(line, 10.0) <= 1.0 for line in lines if " " in line)
    assert lines[:2] == ["MMMM iiii", "MMMM iiii"]
    assert wrapped("", 10.0, 1.0) == []


def test_a_text_without_room_loses_its_middle_and_keeps_its_value() -> None:
    text = "optimizer.learning_rate=0.0001 model.name=" + "mlp_" * 30 + "=7"
    shown = fitted(text, 8.5, 2.0)
    assert shown.count("\n") == 1
    assert width(shown, 8.5) <= 2.0
    assert "…" in shown
    assert shown.endswith("=7")
    assert fitted("short", 8.5, 2.0) == "short"
