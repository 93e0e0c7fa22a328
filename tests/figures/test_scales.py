"""Round numbers, and where they are written."""

import pytest

from harness.figures.scales import class_ticks, epoch_ticks, even_ticks


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ("0.0", "0.2", "0.4", "0.6", "0.8", "1.0")),
        (71.2, 98.9, ("75", "80", "85", "90", "95")),
        (-0.42407, 2.82154, ("0.0", "0.5", "1.0", "1.5", "2.0", "2.5")),
        (0.0, 3e7, ("0", "5e+06", "1e+07", "1.5e+07", "2e+07", "2.5e+07", "3e+07")),
        (0.0, 4e-6, ("0", "1e-06", "2e-06", "3e-06", "4e-06")),
    ],
)
def test_even_ticks_are_round_numbers_within_the_limits(low: float, high: float, labels: tuple[str, ...]) -> None:
    ticks = even_ticks(low, high)
    assert ticks.labels == labels
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in ticks.values)


def test_epochs_start_at_one_and_are_whole() -> None:
    assert epoch_ticks(1).labels == ("1",)
    assert epoch_ticks(30).labels == ("1", "5", "10", "15", "20", "25", "30")


def test_names_are_turned_where_they_do_not_fit() -> None:
    assert class_ticks(("0", "1", "2"), 3.0).angle == 0.0
    turned = class_ticks(("Ankle boot", "T-shirt/top", "Sandal"), 1.0)
    assert turned.angle == 45.0
    assert turned.depth > class_ticks(("0", "1", "2"), 1.0).depth
