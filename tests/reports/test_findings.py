from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.comparison import compare
from harness.analysis.contrasts import dunnett_quantile
from harness.analysis.external_runs import Reading
from harness.analysis.statistics import t_quantile
from harness.errors import RequestError
from harness.records import RunRecord
from harness.reports.findings import answer, findings
from harness.reports.gathering import gather
from harness.reports.testing import all_tests
from tests.analysis.records import data, run
from tests.reports.reports import NOISE, comparison, parent, runs
from tests.tracking.stores import scores


def test_the_answer_names_metric_split_interval_and_n_of_a_difference_that_is_shown() -> None:
    compared = comparison(runs(effect=0.05))
    said = answer(compared, all_tests(compared))
    assert said.startswith("width 64 rather than 8 overfits more: +5.00 points in the gap of accuracy on test (95 % ")
    assert said.endswith(", n=5 seeds).")


def test_without_an_effect_the_report_says_no_difference_shown() -> None:
    records = [run(0.85 + NOISE[(seed + shift) % 5], 0.8, seed=seed, model__name=name)
               for name, shift in (("a", 0), ("b", 2)) for seed in range(5)]  # fmt: skip
    compared = comparison(records)
    tests = all_tests(compared)
    assert answer(compared, tests) == (
        "No difference shown in the gap of accuracy on test between 2 configurations (5 seeds each, 1 test)."
    )
    told = " ".join(findings(compared, tests))
    assert "no difference shown in the gap of accuracy on test" in told
    assert not any(word in told for word in ("smaller", "larger", "overfits"))


def test_one_seed_per_row_is_too_few_to_test() -> None:
    compared = comparison([run(0.9, 0.8, model__name="a"), run(0.95, 0.8, model__name="b")])
    assert "cannot be tested (one seed each): more seeds are needed" in answer(compared, all_tests(compared))
    told = " ".join(findings(compared, all_tests(compared)))
    assert "too few seeds (n=1)" in told


def test_a_difference_lost_by_the_correction_is_not_claimed_but_explained() -> None:
    shifts = (0.002, 0.004, 0.001, 0.005, 0.0035)
    records = [
        run(0.85 + shifts[seed] * (name == "b") + NOISE[(seed + ord(name)) % 5], 0.8, seed=seed, model__name=name)
        for name in "abcdefghij"
        for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    tests = all_tests(compared)
    alone = [f for _, f in tests.of("gap_test_accuracy") if f.difference and f.difference.p_value < 0.05 <= f.corrected]
    assert alone, "the example must have one"
    told = [sentence for sentence in findings(compared, tests) if "gap of accuracy on test:" in sentence]
    assert "no difference shown for any" in told[0]


def test_all_tests_of_a_measure_are_corrected_together() -> None:
    records = [
        run(0.9 + 0.004 * (width == 65) + NOISE[(seed + width + ord(name)) % 5], 0.8, seed=seed, model__name=name,
            model__width=width)
        for name in "ab"
        for width in (8, 65)
        for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    tests = all_tests(compared)
    every = [finding for block in tests.blocks for finding in block.findings if finding.corrected < 1]
    smallest = min(every, key=lambda finding: finding.corrected)
    assert smallest.difference is not None
    assert sum(tests.families.values()) > max(block.tests for block in tests.blocks)
    assert smallest.corrected == pytest.approx(smallest.difference.p_value * tests.families[smallest.measure])


def test_values_of_a_setting_are_compared_with_the_smallest_in_order_of_size() -> None:
    records = [
        run(0.8 + width / 10_000 + NOISE[seed], 0.8, seed=seed, model__hidden=f"[{width}]")
        for width in (512, 64, 8)
        for seed in range(3)
    ]
    block = all_tests(comparison(records)).blocks[0]
    assert block.baseline == "model.hidden=[8]"
    assert [finding.cells["model.hidden"] for finding in block.findings[:2]] == ["[64]", "[512]"]


def test_a_smaller_gap_of_an_underfit_model_is_not_praised() -> None:
    records = [run(0.9 + NOISE[seed], 0.85, seed=seed, model__name="a") for seed in range(5)]
    records += [run(0.5 + NOISE[-seed], 0.49, seed=seed, model__name="b") for seed in range(5)]
    compared = comparison(records)
    assert "b rather than a overfits less, but is underfit" in answer(compared, all_tests(compared))
    told = " ".join(findings(compared, all_tests(compared)))
    assert "1 of 2 configurations is underfit" in told
    assert "Only a is accurate enough to be ranked by its gap: gap of accuracy on test +5.0 points" in told
    assert "Its lead" not in told


def test_every_other_row_is_compared_with_the_baseline() -> None:
    compared = comparison()
    tests = all_tests(compared, "model=a,width=8")
    assert [block.baseline for block in tests.blocks] == ["a 8"]
    assert "rows compared with a width=8, gap of accuracy on test" in findings(compared, tests)[0]
    with pytest.raises(RequestError, match="no row of this comparison is called so"):
        all_tests(compared, "nothing")


def test_an_effect_without_matching_runs_is_not_tested() -> None:
    records = [run(0.9, 0.8, model__name="a", model__width=8), run(0.9, 0.8, model__name="b", model__width=64)]
    told = all_tests(comparison(records)).untested
    reason = "no two finished runs with the same seed differ only in this setting."
    assert told[0] == f"The effect of model cannot be tested: {reason}"


def test_nothing_finished_is_the_answer_where_it_is_so() -> None:
    from tests.reports.reports import failed

    compared = comparison([failed("boom", model__name="a"), failed("boom", model__name="b")])
    tests = all_tests(compared)
    assert answer(compared, tests) == "No run finished: there is nothing to compare."
    findings(compared, tests)


def test_each_group_of_rows_on_the_same_images_has_its_own_ranking() -> None:
    few, every = {"dataset__test_size": 100, **data("t", "few")}, data("t", "all")
    gaps = {"a": 0.02, "b": 0.03}
    records = [
        run(0.9 + gap + NOISE[seed], 0.9, seed=seed, model__name=name, **of)
        for of in (few, every)
        for name, gap in gaps.items()
        for seed in range(3)
    ]
    compared = comparison(records)
    told = findings(compared, all_tests(compared))
    assert sum(sentence.startswith("Least mean gap of accuracy on test among all 2") for sentence in told) == 2
    assert any("scored on different test images" in sentence for sentence in told)
    assert any(
        "The effect of test_size is not tested: each value is scored on different test images" in one for one in told
    )


def test_a_setting_with_values_on_the_same_images_is_tested_among_these() -> None:
    images = {100: "few", 500: "all", 1000: "all"}
    records = [
        run(0.9 + NOISE[seed], 0.8, seed=seed, dataset__test_size=size, **data("t", digest))
        for size, digest in images.items()
        for seed in range(3)
    ]
    made = all_tests(comparison(records))
    assert (made.untested, [block.baseline for block in made.blocks]) == ((), ["dataset.test_size=500"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_difference_has_no_empty_brackets_and_no_wrong_reason(seeds: int) -> None:
    """Three models: one has no partner of equal width, and one has no seed in common for all widths."""
    records = [
        run(0.9 + 0.01 * place + NOISE[seed], 0.88, seed=seed, model__name=name, model__width=width)
        for place, name in enumerate(("a", "b", "c"))
        for width in (8, 64)
        for seed in range(seeds)
    ]
    records += [run(0.9, 0.88, seed=0, model__name="lonely", model__width=16)]
    records += [run(0.9, 0.88, seed=seed, model__name=n, model__width=1000 + seed) for seed in (20, 30) for n in "ad"]
    told = " ".join(findings(comparison(records), all_tests(comparison(records))))
    assert "()" not in told
    assert "no finished run" not in told
    assert "no partner for lonely" in told
    assert "no seed in all configurations for d" in told


def test_the_headline_has_a_simultaneous_interval() -> None:
    records = [
        run(0.85 + 0.02 * place + NOISE[(seed + place) % 5], 0.8, seed=seed, model__name=name)
        for place, name in enumerate("abcd") for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    tests = all_tests(compared)
    largest = max(
        (of for _, of in tests.of("gap_test_accuracy")), key=lambda of: of.difference.mean if of.difference else 0
    )
    assert largest.simultaneous is not None
    assert largest.difference is not None
    assert largest.difference.interval is not None
    assert largest.simultaneous.half_width > largest.difference.interval.half_width
    said = answer(compared, tests)
    assert f"95 % interval {100 * largest.simultaneous.low:+.2f} to {100 * largest.simultaneous.high:+.2f}" in said
    assert said.endswith("Picked among 3 differences for its size: the interval allows for that.")
    assert "standard deviations" not in said


def test_a_difference_not_shown_on_other_images_is_limited_to_these() -> None:
    """Without predictions, a formula gives the interval over images, which is wide for 100 images."""
    records = [
        run(0.9 + step + NOISE[seed], 0.8, seed=seed, model__name=name,
            metrics={**scores(0.9 + step * (1 + seed / 20) + NOISE[seed], 0.8), "data/test_images": 100.0})
        for name, step in (("a", 0.0), ("b", 0.02)) for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    told = " ".join(findings(compared, all_tests(compared)))
    assert "not shown beyond these 100 test images" in told
    assert "not shown beyond these 100 test images" in answer(compared, all_tests(compared))
    assert "with other images -" in told


def test_the_report_says_that_the_first_row_looks_too_good_and_how_to_confirm_it() -> None:
    sweep = parent()
    told = " ".join(gather(comparison(), sweep).findings)
    assert "which flatters it, as its figures of other splits do" in told
    assert f"`harness compare {sweep.run_id[:12]} --confirm 5`" in told
    assert "`harness compare --experiment main --confirm 5`" in " ".join(gather(comparison()).findings)


def test_equal_intervals_with_and_without_images_are_given_once() -> None:
    """Each draw has its own held-out images, so the spread over draws already includes their effect."""
    records = [
        run(0.85 + 0.02 * (name == "b") + NOISE[draw] * (2 + (name == "b")), 0.8, val=0.8, model__name=name,
            regime__validation__seed=draw, **data(f"train {draw}", "test", f"val {draw}"))
        for name in "ab" for draw in range(5)
    ]  # fmt: skip
    told = " ".join(gather(comparison(records)).findings)
    assert ", the same with other images, n=5 draws" in told
    assert "with other images +" not in told


def test_no_command_is_given_to_train_external_runs_again() -> None:
    theirs = compare(runs(), reading=Reading(keys=("model.name", "model.width")))
    assert "--confirm" not in " ".join(gather(theirs).findings)


def test_the_report_warns_of_a_baseline_that_ranks_first() -> None:
    compared = comparison()
    first, other = compared.rows[0].label, compared.rows[1].label
    assert "The baseline ranks first here" in " ".join(findings(compared, all_tests(compared, first)))
    assert "The baseline ranks first here" not in " ".join(findings(compared, all_tests(compared, other)))


def test_rows_on_the_front_have_their_share_of_resamples() -> None:
    records = [
        run(0.9 + place * 0.02 + NOISE[seed], 0.8 + place * 0.01 + NOISE[-seed], seed=seed, model__name=name)
        for place, name in enumerate("abc") for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    told = " ".join(findings(compared, all_tests(compared)))
    assert "in brackets the share of resamples over seeds" in told
    assert "a (100 %)" in told


def varied(steps: dict[str, float], seeds: int = 5, luck: int = 0, **settings: object) -> list[RunRecord]:
    """Runs of models with these gaps above 5 points, and with the noise `luck`."""
    noise = np.random.default_rng(luck).normal(0, 0.002, (len(steps), seeds))
    return [
        run(0.85 + step + noise[place, seed], 0.8, seed=seed, model__name=name, **settings)
        for place, (name, step) in enumerate(steps.items()) for seed in range(seeds)
    ]  # fmt: skip


def test_intervals_of_one_baseline_are_dunnetts_and_those_of_several_settings_bonferronis() -> None:
    steps = {"a": 0.0, "b": 0.01, "c": 0.02}
    one = all_tests(comparison(varied(steps)))
    two = [record for width in (8, 64) for record in varied(steps, luck=width, model__width=width)]
    several = all_tests(comparison(two))
    for tests, quantile in ((one, dunnett_quantile), (several, t_quantile)):
        of_gap = [finding for _, finding in tests.of("gap_test_accuracy")]
        for finding in of_gap:
            assert finding.difference is not None
            assert finding.simultaneous is not None
            assert finding.difference.error is not None
            reach = quantile(finding.difference.degrees, len(of_gap)) * finding.difference.error
            assert finding.simultaneous.half_width == pytest.approx(reach)


def test_gaps_that_do_not_vary_do_not_need_more_seeds() -> None:
    compared = comparison([run(0.9, 0.8, seed=seed, model__name=name) for name in "ab" for seed in range(3)])
    assert answer(compared, all_tests(compared)).endswith("cannot be tested (3 seeds each): nothing varies.")


def test_the_report_warns_that_two_seeds_show_little() -> None:
    few, more = (comparison(varied({"a": 0.0, "b": 0.01}, seeds)) for seeds in (2, 3))
    assert "Two seeds show next to nothing" in " ".join(findings(few, all_tests(few)))
    assert "next to nothing" not in " ".join(findings(more, all_tests(more)))


def test_underfit_and_perhaps_underfit_rows_are_distinguished() -> None:
    """Both are less accurate than the limit of 2 points allows; one of them has very different seeds."""
    accuracies = {"a": (0.9, 0.901, 0.899), "b": (0.86, 0.861, 0.859), "c": (0.86, 0.9, 0.85)}
    compared = comparison(
        [run(0.95, of[seed], seed=seed, model__name=name) for name, of in accuracies.items() for seed in range(3)]
    )
    told = " ".join(findings(compared, all_tests(compared)))
    assert "1 of 3 configurations is underfit (" in told
    assert "1 of 3 configurations is underfit? (" in told


def test_a_collapsed_run_is_named_and_counts() -> None:
    more = [run(0.1, 0.1, seed=9, model__name="a"), run(0.85, 0.8, seed=9, model__name="b")]
    records = [*varied({"a": 0.0, "b": 0.0}), *more]
    made = gather(comparison(records))
    [said] = [line for line in made.warnings if "collapsed" in line]
    assert "10.0 %" in said
    assert "far below the row's others (80.0 %)" in said
    assert "supposes normal scores" in said
    assert [line.cells[1].text for line in made.ranking.lines] == ["6", "6"]


def test_n_counts_draws_of_the_data_and_their_variances_are_shown() -> None:
    records = [
        run(0.85 + 0.02 * (name == "b") + NOISE[draw] * 3 + NOISE[(draw + seed * ord(name)) % 5], 0.8, seed=seed,
            model__name=name, dataset__seed=draw, **data(f"train {draw}", "test"))
        for name in "ab" for draw in range(5) for seed in range(2)
    ]  # fmt: skip
    made = gather(comparison(records))
    assert "n=5 draws" in made.answer
    assert "Means over draws" in made.ranking.caption
    notes = " ".join(made.ranking.notes)
    assert "between draws" in notes
    assert "between seeds" in notes
    assert dict(made.varied)["dataset.seed (repeated)"] == "0, 1, 2, 3, 4"
