"""What the five guides printed, with which the runs of their experiments are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)  # there is one of each
class Guide:
    """One published walk-through; `experiment` names its configuration in experiments/.

    `scalars` are the figures that it printed, by our metrics' names: the running averages of the last epoch, and the
    test figures. `series` are those that it printed by epoch, the first of them epoch `before + 1`.
    """

    letter: str
    experiment: str
    title: str
    parameters: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    before: int = 0

    @property
    def name(self) -> str:
        return f"{self.letter} {self.experiment}"


def _guide(
    letter: str,
    experiment: str,
    title: str,
    parameters: int,
    loss: tuple[float, ...],
    accuracy: tuple[float, ...],
    test_loss: float,
    test_accuracy: float,
    before: int = 0,
    gap: float | None = None,
) -> Guide:
    scalars = {
        "final/fit_loss": loss[-1],
        "final/fit_accuracy": accuracy[-1],
        "final/test_loss": test_loss,
        "final/test_accuracy": test_accuracy,
    }
    if gap is not None:
        scalars["final/gap_test_accuracy_running"] = gap
    series = {"fit/loss": loss, "fit/accuracy": accuracy}
    return Guide(letter, experiment, title, parameters, scalars, series, before)


GUIDES = (
    _guide(
        "A",
        "fashion_single_128",
        "Fashion-MNIST, 128 units, Adam, 10 epochs",
        101_770,
        (0.4985, 0.3762, 0.3355, 0.3149, 0.2966, 0.2794, 0.2683, 0.2571, 0.2479, 0.2370),
        (0.8241, 0.8648, 0.8773, 0.8838, 0.8911, 0.8969, 0.9006, 0.9032, 0.9079, 0.9119),
        test_loss=0.3402,
        test_accuracy=0.8807,
        gap=0.0312,
    ),
    _guide(
        "B",
        "mnist_128_128",
        "MNIST, 128 and 128 units, SGD, 3 epochs",
        118_282,
        (0.3811, 0.1890, 0.1432),
        (0.8894, 0.9448, 0.9577),
        test_loss=0.1316,
        test_accuracy=0.9611,
    ),
    _guide(
        "C",
        "fashion_single_128_continued",
        "Fashion-MNIST, 128 units, Adam, batches of 200, epochs 41 to 60",
        101_770,
        (
            0.1415, 0.1353, 0.1331, 0.1320, 0.1311, 0.1302, 0.1284, 0.1270, 0.1257, 0.1254,
            0.1228, 0.1214, 0.1176, 0.1174, 0.1143, 0.1122, 0.1094, 0.1090, 0.1058, 0.1050,
        ),
        (
            0.9482, 0.9505, 0.9518, 0.9520, 0.9525, 0.9524, 0.9539, 0.9539, 0.9539, 0.9546,
            0.9556, 0.9560, 0.9572, 0.9576, 0.9586, 0.9593, 0.9602, 0.9598, 0.9615, 0.9611,
        ),
        test_loss=0.3956,
        test_accuracy=0.8929,
        before=40,
    ),
    Guide("D", "fashion_300_100", "Fashion-MNIST, 300 and 100 units, SGD, 30 epochs, 5,000 images held out", 266_610),
    Guide("E", "fashion_single_128_short", "Fashion-MNIST, 128 units, Adam, 5 epochs", 101_770),
)  # fmt: skip
"""By their letters. D and E printed no figures: what they built is checked, and what it scores is shown."""
