"""The calibration table in docs/comparing.md: it keeps what it promises, and is what real runs show."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.calibration.__main__ import BEGIN, END
from tests.calibration.rates import Rate, measure

PAGE = Path(__file__).parents[2] / "docs" / "comparing.md"
TIMES = 80

Key = tuple[str, str, str]


def stated() -> tuple[int, dict[Key, tuple[str, float]]]:
    """From how many pseudo-sweeps, and for each line what is promised and what was measured."""
    text = PAGE.read_text()
    text = text[text.index(BEGIN) : text.index(END)]
    times = int(re.search(r"([\d,]+) pseudo-sweeps", text)[1].replace(",", ""))  # type: ignore[index]
    lines, group = {}, ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[4] not in ("measured", "---:"):
            group = cells[0].strip("*") or group
            lines[group, cells[1], cells[2]] = (cells[3], float(cells[4].split()[0]))
    return times, lines


SAID_TO_FALL_SHORT = [("draws of the training images", "it lies in the interval over draws, three seeds each", "n = 3")]
"""What is not as promised, by more than chance; the text below the table says so."""


@pytest.mark.parametrize(
    ("key", "promised", "value"),
    [(key, *of) for key, of in stated()[1].items() if of[0].endswith("%") and key not in SAID_TO_FALL_SHORT],
)
def test_what_is_promised_was_measured(key: Key, promised: str, value: float) -> None:
    """Within four standard errors of so many pseudo-sweeps."""
    bound, times = float(promised.split()[-2]), stated()[0] / (4 if key[0] == "held-out images" else 1)
    allowed = 400 * math.sqrt(0.05 * 0.95 / times)
    if not promised.startswith("at least"):
        assert value <= bound + allowed
    if not promised.startswith("at most"):
        assert value >= bound - allowed


def test_what_falls_short_is_said_beside_the_table() -> None:
    text = " ".join(PAGE.read_text().partition("## Calibration")[2].split())
    (key,) = SAID_TO_FALL_SHORT
    assert f"too narrow: it contains the mean in {stated()[1][key][1]:.0f} % of cases" in text


@pytest.mark.slow
def test_the_table_is_what_real_runs_show() -> None:
    times, lines = stated()
    rates = measure(TIMES)
    assert {rate.key for rate in rates} == set(lines)
    wrong = [rate for rate in rates if not _agrees(rate, lines[rate.key][1], times)]
    assert len(wrong) <= len(rates) // 100, wrong  # of so many, one may lie four standard errors off


def _agrees(rate: Rate, value: float, times: int) -> bool:
    if rate.unit != "%":
        return abs(rate.value - value) <= max(0.25, 0.3 * abs(value))
    share = min(max(value / 100, 0.02), 0.98)
    few, many = (count / (4 if rate.group == "held-out images" else 1) for count in (TIMES, times))
    if rate.group == "Pareto front":
        few = few / 4  # rows with such a share are few
    return abs(rate.value - value) <= 400 * math.sqrt(share * (1 - share) * (1 / few + 1 / many))
