from __future__ import annotations

import csv
import io
import json
import math

import pytest
from scipy import stats

from harness.analysis.comparison import Comparison, compare
from harness.analysis.difference_tables import Shown, p_value, render
from harness.analysis.differences import Finding, Findings, differences, find_row
from harness.analysis.statistics import holm
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.tabular import FORMATS
from tests.analysis.records import data, run

BASE, LESS, SAME = [0.030, 0.034, 0.031, 0.036, 0.033], [0.021, 0.024, 0.020, 0.027, 0.022], [
    0.031, 0.033, 0.032, 0.035, 0.033,
]  # fmt: skip


def runs(name: str, gaps: list[float], first: int = 0, **settings: object) -> list[RunRecord]:
    """A row of runs whose test accuracy is 88 % and whose gaps, of accuracy and of loss, are these."""
    return [run(0.88 + gap, 0.88, seed=first + seed, model__name=name, **settings) for seed, gap in enumerate(gaps)]


def usual() -> Comparison:
    return compare([*runs("base", BASE), *runs("less", LESS), *runs("same", SAME)], title="T")


def held(comparison: Comparison, baseline: str = "base") -> Findings:
    return differences(comparison, find_row(comparison, baseline))


def finding(findings: Findings, name: str, measure: str = "gap_test_accuracy") -> Finding:
    (found,) = [
        one for one in findings.findings if one.cells.get("model.name") == name and one.measure == measure
    ]  # fmt: skip
    return found


def test_two_rows_of_the_same_seeds_are_paired() -> None:
    less = finding(held(compare([*runs("base", BASE), *runs("less", LESS)])), "less")
    assert less.difference is not None
    assert (less.difference.kind, less.difference.n) == ("paired", 5)
    assert less.difference.p_value == pytest.approx(stats.ttest_rel(LESS, BASE).pvalue, rel=1e-6)
    assert less.difference.mean == pytest.approx(-0.01)


def test_a_difference_is_called_by_its_direction() -> None:
    less = finding(held(usual()), "less")
    assert less.verdict == "smaller gap"
    assert finding(held(usual(), "less"), "base").verdict == "larger gap"
    assert finding(held(usual()), "same").verdict == "no difference shown"


def test_every_test_of_a_measure_is_corrected_for() -> None:
    findings = held(usual())
    tested = [one for one in findings.findings if one.difference is not None and one.difference.testable]
    assert findings.tests == len(tested) == 4  # the accuracies do not vary
    for measure in ("gap_test_accuracy", "gap_test_loss"):
        family = [one for one in tested if one.measure == measure]
        assert [one.corrected for one in family] == holm([one.difference.p_value for one in family if one.difference])
    assert {one.verdict for one in findings.findings if one.measure == "test_accuracy"} == {
        "cannot be tested: no variation"
    }


def test_only_common_seeds_are_paired_and_their_number_is_said() -> None:
    findings = held(compare([*runs("base", BASE), *runs("less", LESS[2:], first=2)]))
    less = finding(findings, "less")
    assert less.difference is not None
    assert (less.difference.kind, less.difference.n, less.seeds) == ("paired", 3, 5)
    assert less.difference.mean == pytest.approx(sum(LESS[2:]) / 3 - sum(BASE[2:]) / 3)
    assert "3 of 5 pairs" in render(findings, "table")


@pytest.mark.parametrize("first", [4, 20])
def test_rows_with_fewer_than_two_seeds_in_common_are_compared_by_welch(first: int) -> None:
    less = finding(held(compare([*runs("base", BASE), *runs("less", LESS, first=first)])), "less")
    assert less.difference is not None
    assert (less.difference.kind, less.difference.n, less.difference.n_baseline) == ("welch", 5, 5)
    assert less.difference.p_value == pytest.approx(stats.ttest_ind(LESS, BASE, equal_var=False).pvalue, rel=1e-6)


def test_one_run_is_too_few_and_an_unfinished_row_has_nothing_to_compare() -> None:
    failed = [run(model__name="failed", seed=seed, state=RunState.FAILED) for seed in range(2)]
    findings = held(compare([*runs("base", BASE), *runs("one", LESS[:1]), *failed]))
    assert finding(findings, "one").verdict == "too few seeds (n=1)"
    assert finding(findings, "failed").verdict == "no finished run"
    for form in FORMATS:
        assert "too few seeds" in render(findings, form)


def test_a_smaller_gap_of_an_underfit_row_is_called_underfit() -> None:
    under = [run(0.5 + gap, 0.5, seed=seed, model__name="under") for seed, gap in enumerate(LESS)]
    assert finding(held(compare([*runs("base", BASE), *under])), "under").verdict == "smaller gap, underfit"


def test_a_row_is_named_by_settings_label_or_run() -> None:
    comparison = compare(
        [run(model__name=name, model__hidden=hidden, model__dropout=0.1, model__l2=l2)
         for name in ("a", "b") for hidden in ([64], [64, 32]) for l2 in (0.0, 0.5)]
    )  # fmt: skip
    row = comparison.rows[3]
    short = f"model={row.settings['model.name']},l2={row.settings['model.l2']}0,hidden={row.settings['model.hidden']}"
    for text in (short, row.label, row.runs[0].run_id, row.runs[0].name, f"{short},dropout=0.10"):
        assert find_row(comparison, text) is row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model=nonesuch", "no row of this comparison is called so.*one of: less; base; same"),
        ("modle=base", "no run here has a setting 'modle'.*Did you mean 'model'"),
        ("bas", "Did you mean 'base'"),
        ("seed=0", "every seed"),
        ("", "means 3 rows"),
    ],
)
def test_a_baseline_that_is_no_row_is_refused_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        find_row(usual(), text)


def test_a_baseline_that_means_several_rows_is_refused_with_a_way_to_name_one() -> None:
    comparison = compare([run(model__name="a", engine="keras"), run(model__name="a", engine="compiled")])
    with pytest.raises(RequestError, match="means 2 rows") as refusal:
        find_row(comparison, "dropout=0.0" if "model.dropout" in comparison.constants else "model=a")
    assert "'engine=" in str(refusal.value)


def test_the_table_reads_in_points_and_the_files_keep_fractions() -> None:
    findings = held(usual())
    text = render(findings, "table")
    (line,) = [line for line in text.split("\n\n")[1].splitlines() if line.startswith("less")]
    assert line.split()[:4] == ["less", "5", "pairs", "-1.00"]
    assert line.endswith("smaller gap")
    said = " ".join(text.split())
    assert (
        "gap of accuracy on test (2 tests) is all true with 95 % probability at least; gap of loss on test (2)" in said
    )
    document = json.loads(render(findings, "json"))
    assert document["baseline"] == "base"
    first = document["differences"][0]
    assert (first["model.name"], first["measure"], first["finding"]) == ("less", "gap_test_accuracy", "smaller gap")
    assert first["difference"] == pytest.approx(-0.01)
    rows = list(csv.DictReader(io.StringIO(render(findings, "csv"))))
    assert len(rows) == 6
    assert float(rows[0]["low"]) == pytest.approx(first["interval"][0])
    markdown = [line for line in render(findings, "markdown").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in markdown}) == 1


def test_the_report_warns_of_a_baseline_that_ranks_first() -> None:
    warned = "The baseline ranks first here"
    assert warned in render(held(usual(), "less"), "table")
    assert warned not in render(held(usual(), "base"), "table")


def test_intervals_that_hold_together_and_effect_sizes_are_shown_on_request() -> None:
    alone, together = (render(held(usual()), "table", Shown(simultaneous=of)) for of in (False, True))
    assert "95 % all together" not in alone
    assert "hold at once with 95 % probability" in " ".join(together.split())
    assert "effect size" not in alone
    (header,) = [
        line
        for line in render(held(usual()), "table", Shown(effect_sizes=True)).split("\n\n")[1].splitlines()
        if line.startswith("model")
    ]
    assert "effect size" in header


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(RequestError, match="Choose from"):
        render(held(usual()), "cvs")


def test_a_row_of_an_earlier_version_answers_to_a_setting_that_it_was_trained_with_unsaid() -> None:
    """Runs of before `dataset.label_noise` had none, and share a row with those that say so."""
    said = runs("a", BASE[:2], first=1, dataset__label_noise="0.0")
    comparison = compare([*runs("a", BASE[:1]), *said, *runs("a", LESS[:3], dataset__label_noise="0.2")])
    assert find_row(comparison, "label_noise=0").n == 3


def on_two_test_sets() -> Comparison:
    """Two rows on all test images and one on the first 100."""
    every = [*runs("base", BASE, **data("t", "all")), *runs("less", LESS, **data("t", "all"))]
    return compare([*every, *runs("base", SAME, dataset__test_size=100, **data("t", "few"))])


def test_rows_that_are_scored_on_other_images_are_left_out_and_counted() -> None:
    comparison = on_two_test_sets()
    findings = differences(comparison, find_row(comparison, "base -"))
    assert {one.cells["model.name"] for one in findings.findings} == {"less"}
    assert findings.apart == 1
    assert "Left out: 1 row scored on other test images." in render(findings, "table")
    assert json.loads(render(findings, "json"))["apart"] == 1


def test_a_baseline_with_images_of_its_own_is_refused() -> None:
    comparison = on_two_test_sets()
    with pytest.raises(RequestError, match="every other row is scored on other test images"):
        differences(comparison, find_row(comparison, "base 100"))


def test_a_row_answers_to_the_word_for_its_data() -> None:
    variant = data("u", "r", variant="variant 1a2b3c4d")
    comparison = compare([*runs("base", BASE, **data("t", "s")), *runs("base", BASE, **variant)])
    for text in ("data=published", "data.variant=published", "published"):
        assert find_row(comparison, text).settings == {"data.variant": "published"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0312, "0.031"), (0.0496, "<0.050"),
        (0.04949, "0.049"), (0.05, "0.050"), (0.0504, "0.050"), (1.0, "1.000"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_a_p_value_reads_on_the_side_of_the_limit_that_it_is_on(value: float, text: str) -> None:
    assert p_value(value) == text
