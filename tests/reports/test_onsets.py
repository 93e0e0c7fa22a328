"""The report's sentence about the epoch from which the validation loss rises."""

from __future__ import annotations

from harness.analysis.comparison import compare
from harness.analysis.external_runs import Reading
from harness.records import RunRecord
from harness.reports.findings import rises
from harness.reports.gathering import gather
from harness.tracking.selection import Series
from tests.analysis.records import run
from tests.reports.reports import NOISE, comparison
from tests.tracking.stores import scores

EPOCHS = 30


def validated(model: str, seed: int, last: float = EPOCHS, **overfit: float) -> RunRecord:
    found = {f"overfit/{name}": value for name, value in overfit.items()}
    return run(metrics={**scores(0.9, 0.8, 0.8), "final/val_loss": 0.5, "last/epoch": last, **found}, seed=seed,
               model__name=model)  # fmt: skip


def curve(turn: int, seed: int, epochs: int = EPOCHS, first: int = 1) -> dict[str, dict[int, float]]:
    """A loss that falls by 0.01 per epoch until the epoch `turn`, and then rises."""
    at = range(first, first + epochs)
    validation = {epoch: 0.01 * abs(epoch - turn) + NOISE[(seed + epoch) % 5] for epoch in at}
    return {"train/loss": {epoch: 1 / epoch for epoch in at}, "val/loss": validation}


def told(records: list[RunRecord], series: Series | None = None) -> str:
    return " ".join(rises(comparison(records), series or {}))


def test_a_rise_is_described_row_by_row_with_range_and_growth() -> None:
    records = [
        *[validated("a", seed, onset_epoch=12 + seed, onset_by_epoch=16 + seed, growth=0.01) for seed in range(3)],
        *[validated("b", seed, onset_epoch=3, onset_by_epoch=4, growth=0.5) for seed in range(2)], validated("b", 2),
        *[validated("c", seed) for seed in range(3)],
    ]  # fmt: skip
    said = told(records)
    assert "rises in 2 of 3 configurations" in said
    assert "a: in 3 of 3 runs at epoch 13 (12 to 14), shown by epoch 17, the gap of loss then grows by 0.0100" in said
    assert "; " in said
    assert "b: in 2 of 3 runs at epoch 3, shown by epoch 4, the gap of loss then grows by 0.5000 nats" in said
    assert "In 1 other no rise of the validation loss is shown; the gap of loss may have grown" in said


def test_no_other_rows_are_mentioned_if_every_row_shows_a_rise() -> None:
    assert "no rise" not in told([validated("a", seed, onset_epoch=12) for seed in range(2)])


def test_no_rise_is_not_called_no_overfitting() -> None:
    said = told([validated("a", seed) for seed in range(3)])
    assert said.startswith("No rise of the validation loss is shown in any of 3 runs. The gap of loss may have grown")


def test_the_mean_curve_of_a_row_shows_a_rise_that_no_run_shows() -> None:
    records = [validated("a", seed) for seed in range(3)] + [validated("b", seed) for seed in range(3)]
    series = {record.run_id: curve(12 if record.parameters["model.name"] == "a" else 99, number % 3)
              for number, record in enumerate(records)}  # fmt: skip
    said = told(records, series)
    assert "a: by the mean curve at epoch 12, shown by epoch " in said
    assert "In 1 other no rise" in said
    assert said in " ".join(gather(comparison(records), series=series).findings)


def test_a_mean_curve_counts_epochs_as_the_store_does() -> None:
    records = [validated("a", seed, last=70) for seed in range(3)]
    series = {record.run_id: curve(52, seed, first=41) for seed, record in enumerate(records)}
    assert "by the mean curve at epoch 52" in told(records, series)


def test_runs_of_different_lengths_have_no_mean_curve() -> None:
    records = [validated("a", seed) for seed in range(3)]
    series = {record.run_id: curve(12, seed, epochs=EPOCHS - seed) for seed, record in enumerate(records)}
    assert "mean curve" not in told(records, series)


def test_few_epochs_cannot_show_a_rise() -> None:
    said = told([validated("a", seed, last=5) for seed in range(3)])
    assert said == "Fewer than 6 epochs cannot show whether the validation loss rises."


def test_rises_of_external_runs_are_not_described() -> None:
    theirs = compare([validated("a", seed) for seed in range(3)], reading=Reading(keys=("model.name",)))
    assert rises(theirs, {}) == []
