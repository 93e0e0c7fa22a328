from __future__ import annotations

from harness.reporting import tables
from harness.reporting.testing import all_tests
from tests.analysis.records import run
from tests.reporting.reports import comparison, failed, runs


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


def test_last_best_and_kept_weights_stand_side_by_side() -> None:
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
    assert table.notes == ("No run kept other weights than those of its last epoch.",)


def test_a_failure_gives_reason_and_log_without_a_password() -> None:
    [failure], more = tables.failures([*runs(), failed("no host http://me:secret@there\nmore", model__name="a")])
    assert (failure.state, failure.reason, more) == ("failed", "no host http://there", 0)
    assert failure.log == "logs/run.log, traceback.txt"
