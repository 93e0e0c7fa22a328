"""Names of scores, and the format of their numbers for people: gaps and differences in points of accuracy or nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.statistics import ALPHA, Interval

SPLITS = {"val": "validation", "test": "test", "train": "training"}


def is_gap(measure: str) -> bool:
    """Whether a measure is a gap: less is better, and positive means overfitting."""
    return measure.startswith("gap_")


def is_loss(measure: str) -> bool:
    """Whether a measure is a loss, in nats; else it is a fraction, shown in points or percent."""
    return measure.endswith("_loss")


def unit(measure: str) -> str:
    """The unit of gaps and differences of a measure."""
    return "nats" if is_loss(measure) else "points"


def quantity_of(measure: str) -> str:
    """`gap of accuracy`, `loss`."""
    return f"{'gap of ' if is_gap(measure) else ''}{'loss' if is_loss(measure) else 'accuracy'}"


def measure_in_words(measure: str) -> str:
    """`gap of accuracy on test`, `accuracy on validation`."""
    split = next(word for split, word in SPLITS.items() if split in measure.split("_"))
    return f"{quantity_of(measure)} on {split}"


def amount(measure: str, value: float, fine: bool = True, sign: str = "+") -> str:
    """A gap or a difference in points or nats, without the unit; `fine`: with one more decimal than means."""
    if not math.isfinite(value):
        return "not a number"
    scale, decimals = (100, 1) if measure.endswith("accuracy") else (1, 3)
    return f"{scale * value:{sign}z.{decimals + fine}f}"


def from_to(measure: str, interval: Interval | None, fine: bool = True) -> str:
    """`+0.52 to +1.23`; a dash if there is no interval."""
    return "-" if interval is None else " to ".join(amount(measure, end, fine) for end in interval)


def p_value(value: float) -> str:
    """`0.031`, `<0.001`; `<0.050` for a value below `ALPHA` that would be rounded to it."""
    if math.isnan(value):
        return "-"
    if value < 0.001:
        return "<0.001"
    text = f"{value:.3f}"
    return f"<{text}" if value < ALPHA == float(text) else text


def counted(count: int | str, noun: str) -> str:
    """`1 run`, `1,200 runs`; the count may be text, such as a tag."""
    text = count if isinstance(count, str) else f"{count:,}"
    return f"{text} {noun}{'' if text == '1' else 's'}"


def shortened(items: Sequence[str], most: int, parted: str = ", ") -> str:
    """The items separated by commas; if there are more than `most`, only the first ones and the number of the
    others."""
    if len(items) <= most:
        return parted.join(items)
    return f"{parted.join(items[:most])} and {len(items) - most:,} more"
