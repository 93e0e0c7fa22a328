"""The learning rate of each epoch."""

from __future__ import annotations

import pytest

from harness.config.schema import ScheduleConfig
from harness.errors import TrainingError
from harness.training.schedules import learning_rate_factor


def factors(epochs: int, **settings: object) -> list[float]:
    schedule = ScheduleConfig(**settings)  # type: ignore[arg-type]
    return [learning_rate_factor(schedule, epoch, epochs) for epoch in range(1, epochs + 1)]


def test_a_constant_rate_stays() -> None:
    assert factors(3, name="constant") == [1, 1, 1]


def test_steps_fall_after_so_many_epochs() -> None:
    assert factors(5, name="step", factor=0.5, every_epochs=2) == [1, 1, 0.5, 0.5, 0.25]


def test_exponential_decay_starts_at_the_base_rate() -> None:
    assert factors(3, name="exponential", decay_rate=0.9) == pytest.approx([1, 0.9, 0.81])


def test_a_cosine_goes_from_the_base_rate_to_the_final_fraction() -> None:
    assert factors(5, name="cosine", final_fraction=0.2) == pytest.approx([1, 0.8828427, 0.6, 0.3171573, 0.2])


def test_a_cosine_of_one_epoch_is_the_base_rate() -> None:
    assert factors(1, name="cosine") == [1]


def test_a_warm_up_climbs_and_the_schedule_begins_behind_it() -> None:
    assert factors(5, name="exponential", decay_rate=0.5, warmup_epochs=2) == pytest.approx(
        [1 / 3, 2 / 3, 1, 0.5, 0.25]
    )


def rising(epoch: int, epochs: int) -> float:
    return {1: 0.0, 2: -1.0, 3: float("nan")}[epoch]


def test_a_schedule_of_ones_own_must_return_a_number_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.training.schedules.load", lambda *_: rising)
    own = ScheduleConfig(name="mine:rising")
    assert learning_rate_factor(own, 1, 4) == 0
    for epoch, said in ((2, r"mine:rising returns -1 for epoch 2 of 4"), (3, "returns nan"), (4, "failed: KeyError")):
        with pytest.raises(TrainingError, match=said):
            learning_rate_factor(own, epoch, 4)
