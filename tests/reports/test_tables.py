from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.analysis.comparison import compare
from harness.reports import tables
from harness.reports.content import ReportTable
from harness.reports.testing import all_tests
from tests.analysis.records import run
from tests.reports.reports import comparison, failed, runs
from tests.tracking.stores import scores


def test_the_ranking_sorts_numbers_by_size_and_mutes_underfit_rows() -> None:
    records = [*runs(widths=(128, 16)), run(0.3, 0.3, model__name="a", model__width=9, dataset__name="mnist")]
    table = tables.ranking(comparison(records))
    width = [column.heading for column in table.columns].index("width")
    assert {line.cells[width].key for line in table.lines} == {128.0, 16.0, 9.0}
    assert [line.muted for line in table.lines] == [False] * 4 + [True]
    gap = next(place for place, column in enumerate(table.columns) if column.heading.startswith("gap test"))
    assert table.columns[gap].heading == "gap test†, points"
    keys = [line.cells[gap].key for line in table.lines[:4]]
    assert keys == sorted(keys, key=float)  # type: ignore[arg-type]


def test_a_long_table_is_cut_and_says_so() -> None:
    records = [run(0.9, 0.8, model__width=width) for width in range(tables.ROWS + 7)]
    table = tables.ranking(comparison(records))
    assert len(table.lines) == tables.ROWS
    assert table.notes[0].startswith("7 more rows are left out")


def test_every_test_of_the_page_is_in_its_table() -> None:
    compared = comparison()
    made = all_tests(compared)
    table = tables.tests(compared, made)
    assert table is not None
    assert len(table.lines) == sum(len(block.findings) for block in made.blocks)
    assert "corrected within the measure" in table.notes[0]
    assert "effect size" not in [column.heading for column in table.columns]


def stage(name: str, gap: float) -> dict[str, float]:
    return {f"{name}/gap_test_accuracy": gap, f"{name}/gap_test_loss": gap, f"{name}/test_accuracy": 0.8}


def test_last_best_and_kept_weights_are_shown_side_by_side() -> None:
    metrics = {**stage("last", 0.05), **stage("best", 0.02), **stage("final", 0.02), "final/val_loss": 1.0}
    table = tables.stages(comparison([run(metrics=metrics, model__name="a")]))
    assert table is not None
    headings = [(column.group, column.heading) for column in table.columns]
    group = "gap of accuracy on test, points"
    assert headings[2:5] == [(group, "last epoch"), (group, "best epoch"), (group, "kept")]
    assert [cell.text for cell in table.lines[0].cells[2:5]] == ["+5.00", "+2.00", "+2.00"]
    assert table.groups[:3] == [("", 1), ("", 1), (group, 3)]


def test_weights_that_are_the_same_are_shown_once() -> None:
    metrics = {**stage("last", 0.05), **stage("final", 0.05)}
    table = tables.stages(comparison([run(metrics=metrics, model__name="a")]))
    assert table is not None
    assert [column.heading for column in table.columns][2:4] == ["last, kept", "last, kept"]
    assert table.notes == ("Every run kept the weights of its last epoch.",)


def test_a_failure_gives_reason_and_log_without_a_password() -> None:
    table = tables.failures([*runs(), failed("no host http://me:secret@there\nmore", model__name="a")])
    assert table is not None
    [line] = table.lines
    assert [cell.text for cell in line.cells[1:]] == ["failed", "no host http://there", "logs/run.log, traceback.txt"]
    assert table.notes == ()
    assert tables.failures(runs()) is None


def test_failures_beyond_the_limit_are_counted() -> None:
    table = tables.failures([failed("boom", seed=seed) for seed in range(tables.FAILURES + 2)])
    assert table is not None
    assert (len(table.lines), table.notes) == (tables.FAILURES, ("And 2 more.",))


def of_noise(noise: dict[str, Sequence[float]], images: float | None = None) -> ReportTable:
    """The table of tests for models with a gap of accuracy of 5 points plus this noise, one value for each seed."""
    more = {} if images is None else {"data/test_images": images}
    records = [
        run(metrics={**scores(0.85 + value, 0.8), **more}, seed=seed, model__name=name)
        for name, values in noise.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    compared = compare(records)
    table = tables.tests(compared, all_tests(compared))
    assert table is not None
    return table


def drawn(rows: int, seeds: int, scale: float = 0.001) -> list[list[float]]:
    return np.random.default_rng(3).normal(0, scale, size=(rows, seeds)).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("seeds", "shown"), [(5, False), (6, True)])
def test_six_pairs_have_p_values_of_the_sign_flip_test_and_the_t_test(seeds: int, shown: bool) -> None:
    a, b = drawn(2, seeds)
    table = of_noise({"a": a, "b": [value + 0.01 for value in b]})
    headings = [column.heading for column in table.columns]
    assert ("p of flips" in headings) == shown
    if shown:
        cell = table.lines[0].cells[headings.index("p of flips")]
        assert cell.key == pytest.approx(2 / 2**seeds)  # all pairs have one sign
        assert cell.text == "0.031"
    assert any("does not assume normal scores" in note for note in table.notes) == shown


def test_a_note_says_whether_the_variance_is_pooled_and_why_not() -> None:
    a, b, c = drawn(3, 6)
    alike, unlike = of_noise({"a": a, "b": b, "c": c}), of_noise({"a": a, "b": b, "c": [40 * of for of in c]})
    assert "6 seeds, pooled" in [cell.text for cell in alike.lines[0].cells]
    assert "model: The variance of the differences is pooled over 3 values of the same seeds." in alike.notes
    assert "6 seeds" in [cell.text for cell in unlike.lines[0].cells]
    assert (
        "model: Not pooled for the gap of accuracy on test: one of the values varies more than the others."
        in unlike.notes
    )


def test_a_note_says_how_intervals_over_images_are_computed_without_stored_predictions() -> None:
    a, b = drawn(2, 5)
    counted, unknown = of_noise({"a": a, "b": b}, images=400.0), of_noise({"a": a, "b": b})
    assert any("p (1 - p) / N stands in" in note for note in counted.notes)
    assert "with other images" in [column.heading for column in counted.columns]
    of_loss = [line for line in counted.lines if line.cells[1].text == "gap of loss on test"]
    assert [line.cells[6].text for line in of_loss] == ["-"], "of losses it is not known"
    assert any("what other images would change is not known" in note for note in unknown.notes)
    assert "with other images" not in [column.heading for column in unknown.columns]
    assert any("covers what another seed would change on these 400 test images." in note for note in counted.notes)


def test_the_ranking_has_the_gap_over_seeds_and_over_seeds_and_images() -> None:
    records = [
        run(metrics={**scores(0.85 + value, 0.8), "data/test_images": 400.0}, seed=seed, model__name=name)
        for name, values in zip("ab", drawn(2, 5), strict=True) for seed, value in enumerate(values)
    ]  # fmt: skip
    compared = compare(records)
    table = tables.ranking(compared)
    place = [column.heading for column in table.columns].index("± with images")
    wider = compared.rows[0].scores["gap_test_accuracy"].wider
    assert wider is not None
    assert table.lines[0].cells[place].text == f"± {100 * wider.half_width:.1f}"
    assert wider.half_width == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 400), rel=0.02)


def test_no_number_is_a_negative_zero() -> None:
    metrics = {**stage("final", -1e-9), "overfit/growth": -1e-9, "final/gap_running_minus_clean": -1e-9}
    table = tables.stages(comparison([run(metrics=metrics, model__name="a")]))
    assert table is not None
    texts = [cell.text for cell in table.lines[0].cells]
    assert not any(text.startswith("-0") for text in texts)
    assert "0.0000" in texts
