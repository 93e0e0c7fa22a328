from __future__ import annotations

import io
import struct
from dataclasses import replace

from PIL import Image

from harness.reports import drawing
from tests.analysis.records import run
from tests.reports.reports import comparison, runs


def named(**options: object) -> dict[str, str]:
    """The captions of a comparison's figures by name."""
    compared = comparison(**options)  # type: ignore[arg-type]
    return {picture.name: picture.caption for picture in drawing.pictures(compared, {})}


def test_two_settings_with_one_number_give_every_figure_but_curves() -> None:
    assert list(named(records=runs(widths=(8, 64, 512)))) == [
        "gap_bars", "gap_bars_loss", "train_against_held_out", "gap_against_width", "heat_map", "pareto",
        "parallel_coordinates",
    ]  # fmt: skip


def test_rows_scored_on_different_images_have_no_common_front() -> None:
    elsewhere = [replace(one, parameters={**one.parameters, "dataset.name": "fashion_mnist"}) for one in runs()]
    assert "pareto" in named(records=runs())
    assert "pareto" not in named(records=[*runs(), *elsewhere])


def test_model_size_is_the_x_axis_if_no_number_was_swept() -> None:
    records = [
        run(0.9, 0.8, seed=seed, model__name=name, optimizer__name=optimizer)
        for name in ("small", "large")
        for optimizer in ("adam", "sgd")
        for seed in range(2)
    ]
    for record in records:
        record.metrics["model/parameters"] = {"small": 10.0, "large": 99.0}[record.parameters["model.name"]]  # type: ignore[index]
    assert "gap_against_parameters" in named(records=records)


def test_a_group_has_a_value_for_each_run_even_where_a_seed_was_run_twice() -> None:
    compared = comparison([run(0.9, 0.8, model__name="a"), run(0.92, 0.8, model__name="a")])
    [group] = drawing.groups_of(compared, compared.rows)
    assert len(group.gap.by_seed) == 2
    assert group.gap.mean == compared.rows[0].scores["gap_test_accuracy"].mean


def test_too_many_rows_are_left_out_and_counted() -> None:
    records = [run(0.9 + width / 10_000, 0.8, model__width=width) for width in range(drawing.GROUPS + 3)]
    captions = named(records=records)
    assert captions["gap_bars"].endswith("Only the first 50 rows of the table are drawn, 3 more are left out.")
    assert "left out" not in captions["gap_against_width"], "it shows them all"


def test_curves_are_drawn_with_the_runs_that_have_them() -> None:
    compared = comparison(runs(seeds=3))
    values = {epoch: 1.0 / epoch for epoch in range(1, 5)}
    series = {
        record.run_id: {"train/loss": values, "train/accuracy": values} for row in compared.rows for record in row.runs
    }
    *_, last = drawing.pictures(compared, series)
    assert last.name == "curves"
    assert "band its 95 % interval" in last.caption
    assert "n=12" in last.caption


def test_a_figure_has_the_width_and_height_of_its_png() -> None:
    first = next(drawing.pictures(comparison(), {}))
    with Image.open(io.BytesIO(first.png)) as picture:
        assert picture.size == (first.width, first.height)
    assert struct.unpack(">II", first.png[16:24]) == (first.width, first.height)
