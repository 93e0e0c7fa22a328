"""Bars in the room that a terminal has."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.sweeps.bars import Bars, ProgressBar

NOW = 10_000.0
NAMES = [f"mlp_300_100 dropout=0.25 learning_rate=0.001 adam seed={seed}" for seed in range(3)]
SCORES = (
    "fit 0.4321 87.65 %   train 0.4321 87.65 %   val 0.4321 81.65 %",
    "train 0.4321 87.65 %   val 0.4321 81.65 %",
    "train 87.65 %   val 81.65 %",
    "val 81.65 %",
    "",
)
STANDING = ("2 running   best val 88.10 % (adam seed=0)", "2 running   best val 88.10 %", "2 running", "")


def sweep_of(names: list[str]) -> Bars:
    bars = Bars()
    bars.whole = ProgressBar("sweep", 130, 107, STANDING, began=NOW - 3725, timed_from=(NOW - 3725, 0), changed=NOW)
    for place, name in enumerate(names):
        bars.running[name] = ProgressBar(
            name, 15, 4 + place, SCORES, began=NOW - 40, timed_from=(NOW - 35, 1), changed=NOW - 1
        )
    return bars


def drawn(bars: Bars, width: int, height: int = 25, fancy: bool = True) -> list[str]:
    return [line.plain for line in bars.lines(width, height, fancy, NOW)]


@pytest.mark.parametrize("width", [45, 60, 80, 100, 130, 200])
def test_counters_and_times_are_whole_at_every_width_and_no_line_wraps(width: int) -> None:
    lines = drawn(sweep_of(NAMES), width)
    assert max(map(len, lines)) <= width
    for words in ("107/130", "1:02:05", "13:20 left"):
        assert words in lines[0]
    for line, count in zip(lines[1:], ("4/15", "5/15", "6/15"), strict=True):
        assert f" {count}  " in line
        assert " 0:40 " in line
        assert " left" in line
    assert len({line.index("0:40") for line in lines[1:]}) == 1, "columns stand below each other"


def test_names_are_shortened_before_scores_go_and_keep_their_end() -> None:
    assert [line[:20].rstrip() for line in drawn(sweep_of(NAMES), 200)[1:]] == [name[:20] for name in NAMES]
    narrow = drawn(sweep_of(NAMES), 80)[1:]
    assert all("train 87.65 %   val 81.65 %" in line for line in narrow)
    assert [line.split("  ")[0][-6:] for line in narrow] == ["seed=0", "seed=1", "seed=2"]
    assert all("val 81.65 %" in line for line in drawn(sweep_of(NAMES), 60)[1:])


def test_names_that_are_wide_characters_take_the_columns_that_they_take() -> None:
    for width in (60, 80):
        lines = sweep_of(["漢字" * 20, "e" * 100]).lines(width, 25, True, NOW)
        assert max(line.cell_len for line in lines) <= width


def test_a_low_window_shows_the_whole_and_how_many_more_there_are() -> None:
    many = sweep_of([f"seed={seed}" for seed in range(64)])
    assert [len(drawn(many, 80, height)) for height in (1, 2, 5, 10)] == [2, 2, 4, 9]
    assert drawn(many, 80, 5)[0].startswith("sweep")
    assert drawn(many, 80, 5)[-1] == "and 62 more"


def test_without_unicode_a_frame_is_ascii() -> None:
    assert all(line.isascii() for line in drawn(sweep_of(NAMES), 100, fancy=False))


def test_a_frame_is_known_to_take_more_lines_where_the_window_became_narrower() -> None:
    bars = sweep_of(NAMES)
    Console(file=io.StringIO(), force_terminal=True, width=130, height=25).print(bars)
    assert bars.height(130) == bars.height(200) == 4
    assert bars.height(70) == 8


def test_the_time_left_goes_by_the_pace_so_far_and_is_not_said_before_there_is_one() -> None:
    bar = ProgressBar("run", 10, began=NOW)
    assert bar.left(NOW + 30) == ""
    bar.timed_from, bar.done, bar.changed = (NOW, 1), 3, NOW + 20
    assert [bar.left(NOW + later) for later in (20, 25, 100)] == ["1:10 left", "1:05 left", ""]
    bar.done = 10
    assert bar.left(NOW + 20) == ""
