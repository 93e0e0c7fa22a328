"""The learning rate of an epoch, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from harness.config.schema import ScheduleConfig
from harness.config.validation import SCHEDULE_ARGUMENTS
from harness.errors import TrainingError
from harness.user_code import describe_error, is_reference, load


def _constant(schedule: ScheduleConfig, epoch: int, epochs: int) -> float:
    return 1.0


def _step(schedule: ScheduleConfig, epoch: int, epochs: int) -> float:
    return float(schedule.factor ** (epoch // schedule.every_epochs))


def _exponential(schedule: ScheduleConfig, epoch: int, epochs: int) -> float:
    return float(schedule.decay_rate**epoch)


def _cosine(schedule: ScheduleConfig, epoch: int, epochs: int) -> float:
    """Loshchilov & Hutter 2017 (SGDR), one period: from 1 in the first epoch to `final_fraction` in the last."""
    progress = epoch / max(epochs - 1, 1)
    return schedule.final_fraction + (1 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: Mapping[str, Callable[[ScheduleConfig, int, int], float]] = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "plateau": _constant,  # Keras's ReduceLROnPlateau takes over from here
}


def learning_rate_factor(schedule: ScheduleConfig, epoch: int, epochs: int) -> float:
    """What the base rate is multiplied by in `epoch` (from 1) of `epochs`.

    During a warm-up of w epochs the factor is epoch / (w + 1); the schedule proper spans the epochs after it. One of
    the user's own is called with the epoch (from 1) and the number of epochs, both without the warm-up. Raises
    `TrainingError` where this one raises anything, or returns no finite number from 0.
    """
    warmup = schedule.warmup_epochs
    if epoch <= warmup:
        return epoch / (warmup + 1)
    if is_reference(schedule.name):
        own = load(schedule.name, schedule.options, SCHEDULE_ARGUMENTS, "regime.schedule.options")
        try:
            factor = float(own(epoch - warmup, epochs - warmup, **schedule.options))
        except Exception as error:  # whatever the user's code raises
            raise TrainingError(f"The schedule {schedule.name} failed: {describe_error(error)}") from error
        if not 0 <= factor < math.inf:
            raise TrainingError(
                f"The schedule {schedule.name} returns {factor:g} for epoch {epoch - warmup} of {epochs - warmup}. It "
                "must be a factor of the learning rate: a number, at least 0."
            )
        return factor
    return SCHEDULES[schedule.name](schedule, epoch - warmup - 1, epochs - warmup)
