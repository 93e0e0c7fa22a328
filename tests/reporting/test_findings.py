from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.reporting.findings import answer, findings
from harness.reporting.testing import all_tests
from tests.analysis.records import data, run
from tests.reporting.reports import NOISE, comparison, runs
from tests.tracking.stores import scores


def test_the_answer_names_metric_split_interval_and_n_of_a_difference_that_is_shown() -> None:
    compared = comparison(runs(effect=0.05))
    said = answer(compared, all_tests(compared))
    assert said.startswith("width 64 rather than 8 overfits more: +5.00 points in the gap of accuracy on test (95 % ")
    assert said.endswith(", n=5 seeds).")


def test_without_an_effect_the_words_are_no_difference_shown() -> None:
    records = [run(0.85 + NOISE[(seed + shift) % 5], 0.8, seed=seed, model__name=name)
               for name, shift in (("a", 0), ("b", 2)) for seed in range(5)]  # fmt: skip
    compared = comparison(records)
    tests = all_tests(compared)
    assert answer(compared, tests) == (
        "No difference shown in the gap of accuracy on test between 2 configurations (5 seeds each, "
        f"{tests.tests} tests)."
    )
    told = " ".join(findings(compared, tests))
    assert "no difference shown in the gap of accuracy on test" in told
    assert not any(word in told for word in ("smaller", "larger", "overfits"))


def test_one_seed_each_is_said_to_be_too_few() -> None:
    compared = comparison([run(0.9, 0.8, model__name="a"), run(0.95, 0.8, model__name="b")])
    assert "cannot be tested (one seed each): more seeds are needed" in answer(compared, all_tests(compared))
    told = " ".join(findings(compared, all_tests(compared)))
    assert "too few seeds (n=1)" in told


def test_a_difference_that_only_the_correction_takes_back_is_not_claimed_but_explained() -> None:
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


def test_all_tests_of_a_measure_on_a_page_share_one_correction() -> None:
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
    assert tests.tests > max(block.tests for block in tests.blocks)
    assert smallest.corrected == pytest.approx(smallest.difference.p_value * tests.families[smallest.measure])
    assert tests.tests == sum(tests.families.values())


def test_values_of_a_setting_are_held_to_the_smallest_number_in_order_of_size() -> None:
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
    assert "among the 1 that are accurate enough: a, +5.0 points" in told


def test_a_baseline_holds_every_other_row_to_one() -> None:
    compared = comparison()
    tests = all_tests(compared, "model=a,width=8")
    assert [block.baseline for block in tests.blocks] == ["a 8"]
    assert "rows held to a width=8, gap of accuracy on test" in findings(compared, tests)[0]
    with pytest.raises(RequestError, match="no row of this comparison is called so"):
        all_tests(compared, "nothing")


def test_an_effect_that_nothing_matches_is_said_not_to_be_told() -> None:
    records = [run(0.9, 0.8, model__name="a", model__width=8), run(0.9, 0.8, model__name="b", model__width=64)]
    told = all_tests(comparison(records)).untested
    assert told[0] == "The effect of model cannot be told: no two finished runs of one seed differ in it alone."


def test_nothing_finished_is_the_answer_where_it_is_so() -> None:
    from tests.reporting.reports import failed

    compared = comparison([failed("boom", model__name="a"), failed("boom", model__name="b")])
    tests = all_tests(compared)
    assert answer(compared, tests) == "No run finished: there is nothing to compare."
    findings(compared, tests)


def test_each_group_of_rows_on_the_same_images_has_a_ranking_of_its_own() -> None:
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
    assert any("judged on different test images" in sentence for sentence in told)
    assert any(
        "The effect of test_size is not tested: each value is judged on other test images" in one for one in told
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
def test_no_empty_brackets_and_no_wrong_reason_stand_behind_a_difference(seeds: int) -> None:
    """Three models, of which one has no partner of equal width, and one shares no seed in all widths."""
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


def test_the_headline_has_an_interval_that_allows_for_having_been_picked() -> None:
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
    assert "Picked as the largest of 3 differences, whose intervals here hold all at once." in said


def test_a_difference_that_other_images_might_not_show_is_said_to_hold_for_these_only() -> None:
    """Without predictions the formula stands in for the images: of 100 images it is wide."""
    records = [
        run(0.9 + step + NOISE[seed], 0.8, seed=seed, model__name=name,
            metrics={**scores(0.9 + step * (1 + seed / 20) + NOISE[seed], 0.8), "data/test_images": 100.0})
        for name, step in (("a", 0.0), ("b", 0.02)) for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    told = " ".join(findings(compared, all_tests(compared)))
    assert "not shown beyond these images" in told
    assert "with other images -" in told


def test_the_first_row_is_said_to_be_flattered_and_how_to_confirm_it() -> None:
    told = " ".join(findings(comparison(), all_tests(comparison())))
    assert "which flatters it, and its figures of other splits too" in told
    assert "harness compare --confirm 5" in told


def test_a_baseline_that_ranks_first_is_said_to_flatter_itself() -> None:
    compared = comparison()
    first, other = compared.rows[0].label, compared.rows[1].label
    assert "The baseline ranks first here" in " ".join(findings(compared, all_tests(compared, first)))
    assert "The baseline ranks first here" not in " ".join(findings(compared, all_tests(compared, other)))


def test_places_on_the_front_have_the_share_of_resamples_that_put_them_there() -> None:
    records = [
        run(0.9 + place * 0.02 + NOISE[seed], 0.8 + place * 0.01 + NOISE[-seed], seed=seed, model__name=name)
        for place, name in enumerate("abc") for seed in range(5)
    ]  # fmt: skip
    compared = comparison(records)
    told = " ".join(findings(compared, all_tests(compared)))
    assert "in brackets the share of resamples over seeds" in told
    assert "a (100 %)" in told
