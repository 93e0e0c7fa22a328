from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from harness.analysis.comparison import Comparison, compare
from harness.analysis.difference_tables import render
from harness.analysis.differences import Finding, Findings
from harness.analysis.effects import effects
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.tabular import FORMATS
from tests.analysis.records import data, run

RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.002}


def one(model: str, optimizer: str, seed: int, gap: float, state: RunState = RunState.FINISHED) -> RunRecord:
    return run(
        0.88 + gap, 0.88, seed=seed, model__name=model, optimizer__name=optimizer,
        optimizer__learning_rate=RATES[optimizer], state=state,
    )  # fmt: skip


def grid(cells: dict[tuple[str, str], list[float]]) -> Comparison:
    return compare([one(*cell, seed, gap) for cell, gaps in cells.items() for seed, gap in enumerate(gaps)])


CELLS = {
    ("a", "sgd"): [0.010, 0.012, 0.011],
    ("a", "adam"): [0.020, 0.023, 0.021],
    ("b", "sgd"): [0.030, 0.031, 0.033],
    ("b", "adam"): [0.041, 0.040, 0.044],
}


def of_gap(findings: Findings, level: str) -> Finding:
    (found,) = [
        one for one in findings.findings if one.measure == "gap_test_accuracy" and level in one.cells.values()
    ]  # fmt: skip
    return found


def by_seed(optimizer: str) -> list[float]:
    """The mean over the two models under each seed."""
    return [(a + b) / 2 for a, b in zip(CELLS["a", optimizer], CELLS["b", optimizer], strict=True)]


def test_the_effect_is_tested_over_seeds_with_the_mean_over_configurations_under_each() -> None:
    findings = effects(grid(CELLS), "optimizer", "sgd")
    adam = of_gap(findings, "adam")
    expected = stats.ttest_rel(by_seed("adam"), by_seed("sgd"))
    assert adam.difference is not None
    assert (adam.difference.n, adam.verdict) == (3, "larger gap")
    assert adam.difference.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert adam.difference.interval is not None
    assert adam.difference.interval.low == pytest.approx(expected.confidence_interval().low)
    assert (adam.agreeing, adam.contexts) == (2, 2)
    assert adam.by_configuration == pytest.approx((0.031 / 3, 0.031 / 3))
    assert findings.unmatched == 0


def placebo(random: np.random.Generator, configurations: int, seeds: int) -> Finding:
    """Two levels that do the same: the luck of a seed is half shared by configurations, as in real runs."""
    luck = random.normal(size=(2, seeds))
    cells = {
        (f"m{number}", optimizer): list(0.05 + 0.01 * (luck[level] + random.normal(size=seeds)) / np.sqrt(2))
        for number in range(configurations)
        for level, optimizer in enumerate(("adam", "sgd"))
    }
    return of_gap(effects(grid(cells), "optimizer", "sgd"), "adam")


@pytest.mark.parametrize(("configurations", "seeds"), [(1, 3), (3, 5), (6, 2), (6, 5)])
def test_without_an_effect_one_of_twenty_sweeps_raises_an_alarm_however_many_configurations(
    configurations: int, seeds: int
) -> None:
    random, sweeps = np.random.default_rng(configurations + seeds), 400
    alarms = 0
    for _ in range(sweeps):
        found = placebo(random, configurations, seeds)
        assert found.difference is not None
        alarms += found.difference.p_value < 0.05
    assert stats.binomtest(alarms, sweeps, 0.05).pvalue > 0.001, alarms


def test_only_seeds_that_every_configuration_has_are_averaged() -> None:
    cells = {**CELLS, ("b", "adam"): CELLS["b", "adam"][:2]}
    adam = of_gap(effects(grid(cells), "optimizer", "sgd"), "adam")
    assert adam.difference is not None
    assert (adam.difference.n, adam.seeds) == (2, 3)
    expected = [a - b for a, b in zip(by_seed("adam"), by_seed("sgd"), strict=True)][:2]
    assert adam.difference.mean == pytest.approx(sum(expected) / 2)
    text = render(effects(grid(cells), "optimizer", "sgd"), "table")
    assert "2 of 3 seeds" in text
    assert "Two seeds show next to nothing" in text


def test_configurations_without_a_common_seed_are_not_tested_together() -> None:
    runs = [one("a", name, seed, 0.01 * seed) for name in ("sgd", "adam") for seed in (1, 2)]
    runs += [one("b", name, seed, 0.01 * seed) for name in ("sgd", "adam") for seed in (3, 4)]
    adam = of_gap(effects(compare(runs), "optimizer", "sgd"), "adam")
    assert (adam.difference, adam.contexts, adam.verdict) == (None, 2, "no seed in all configurations")
    for form in FORMATS:
        assert "no seed in all configurations" in render(effects(compare(runs), "optimizer", "sgd"), form)


def test_what_follows_from_the_level_is_part_of_it_and_named() -> None:
    text = render(effects(grid(CELLS), "optimizer"), "table")
    assert "Effect of optimizer (and what follows from it: learning_rate): differences to optimizer.name=adam" in text
    with pytest.raises(RequestError, match=r"learning_rate follows from optimizer\.name"):
        effects(grid(CELLS), "learning_rate")


def test_runs_without_a_partner_are_left_out_and_counted() -> None:
    lonely = [one("c", "adam", 0, 0.9), one("a", "adam", 7, 0.9), one("b", "sgd", 8, 0.9, RunState.FAILED)]
    usual = [one(*cell, seed, gap) for cell, gaps in CELLS.items() for seed, gap in enumerate(gaps)]
    findings = effects(compare([*usual, *lonely]), "optimizer")
    sgd = of_gap(findings, "sgd")
    assert sgd.difference is not None
    assert (sgd.difference.n, sgd.seeds) == (3, 3)
    assert findings.unmatched == 2
    assert "2 of 14 finished runs have no partner" in render(findings, "table")


def test_configurations_that_go_the_other_way_are_counted_and_their_spread_is_shown() -> None:
    crossed = {**CELLS, ("b", "adam"): [0.021, 0.021, 0.024]}  # here adam's gap is smaller
    findings = effects(grid(crossed), "optimizer", "sgd")
    adam = of_gap(findings, "adam")
    assert (adam.agreeing, adam.contexts) == (1, 2)
    assert re.search(r"-0\.93 to \+1\.03 +1 of 2", render(findings, "table"))


def test_every_level_is_held_to_the_first_and_all_are_corrected_for() -> None:
    cells = {**CELLS, ("a", "adamw"): [0.022, 0.024, 0.023], ("b", "adamw"): [0.041, 0.043, 0.045]}
    findings = effects(grid(cells), "optimizer.name")
    assert findings.baseline == "optimizer.name=adam"
    assert [one.cells["optimizer.name"] for one in findings.findings[:2]] == ["adamw", "sgd"]
    assert findings.tests == 4
    for form in FORMATS:
        assert "smaller gap" in render(findings, form)


@pytest.mark.parametrize(
    ("setting", "reference", "message"),
    [
        ("optimzer", None, "no run here has such a setting.*Did you mean 'optimizer'"),
        ("engine", None, "engine is keras in every run"),
        ("optimizer", "rmsprop", "no such value here. Choose from adam, sgd"),
        ("optimizer", "model=sgd", "no such value here"),
    ],
)
def test_what_has_no_effect_to_show_is_refused(setting: str, reference: str | None, message: str) -> None:
    runs = [one(*cell, 0, gaps[0]) for cell, gaps in CELLS.items()]
    every = [run(0.9, 0.88, **{**{k.replace(".", "__"): v for k, v in r.parameters.items() if k != "seed"},
                               "engine": "keras"}) for r in runs]  # fmt: skip
    with pytest.raises(RequestError, match=message):
        effects(compare(every), setting, reference)


def test_levels_that_never_meet_in_one_configuration_are_refused() -> None:
    with pytest.raises(RequestError, match=r"no finished run has a partner.*--baseline"):
        effects(grid({("a", "sgd"): [0.01, 0.02], ("b", "adam"): [0.02, 0.03]}), "optimizer")


def test_values_that_are_scored_on_different_images_have_no_effect() -> None:
    few, every = {"dataset__test_size": 100, **data("t", "few")}, data("t", "all")
    runs = [
        run(0.9, 0.8 + seed / 100 + gain, seed=seed, model__name=name, **of)
        for of in (few, every)
        for name, gain in (("a", 0.0), ("b", 0.01))
        for seed in range(3)
    ]
    comparison = compare(runs)
    with pytest.raises(RequestError, match=r"each value of dataset\.test_size is scored on other test images"):
        effects(comparison, "test_size")
    model = of_gap(effects(comparison, "model"), "b")
    assert (model.seeds, model.contexts) == (3, 2), "pairs within each of the two"


def test_a_value_that_is_scored_on_other_images_than_the_reference_is_left_out() -> None:
    few = {"dataset__test_size": 100, **data("t", "few")}
    runs = [
        run(0.9 + seed / 100, 0.8, seed=seed, model__name=name, **data("t", "all")) for name in "ab" for seed in (0, 1)
    ]
    runs += [run(0.9, 0.8, seed=seed, model__name="c", **few) for seed in (0, 1)]
    found = effects(compare(runs), "model", "b")
    assert {one.cells["model.name"] for one in found.findings} == {"a"}
    assert (found.apart, found.unmatched) == (1, 2)


def test_pairs_are_made_of_runs_that_are_scored_on_the_same_images_only() -> None:
    """`b` ran on the published files and on a variant, `a` on the published ones alone."""
    variant = data("u", "r", variant="variant 1a2b3c4d")
    runs = [
        run(0.9, 0.8 + seed / 100, seed=seed, model__name=name, **data("t", "s")) for name in "ab" for seed in (0, 1)
    ]
    runs += [run(0.9, 0.7 - seed / 100, seed=seed, model__name="b", **variant) for seed in (0, 1)]
    found = effects(compare(runs), "model")
    assert (of_gap(found, "b").seeds, found.unmatched) == (2, 2)


def test_values_count_where_they_are_scored_on_the_same_images_only() -> None:
    """Of the smaller dataset both sizes are all test images; of the larger one they are not."""
    digests = {("small", 100): "s", ("small", 200): "s", ("large", 100): "l100", ("large", 200): "l200"}
    runs = [
        run(0.9 + seed / 100, 0.8, seed=seed, dataset__name=name, dataset__test_size=size, **data(name, digest))
        for (name, size), digest in digests.items()
        for seed in (0, 1)
    ]
    found = of_gap(effects(compare(runs), "test_size"), "200")
    assert (found.seeds, found.contexts) == (2, 1)


def test_the_first_value_that_has_others_on_its_images_is_what_they_are_compared_with() -> None:
    """The whole test set has 500 images, so 500 and None are the same; 100 are others."""
    images = {100: "few", 500: "all", None: "all"}
    runs = [
        run(0.9 + seed / 100, 0.8, seed=seed, dataset__test_size=size, **data("t", digest))
        for size, digest in images.items()
        for seed in (0, 1)
    ]
    found = effects(compare(runs), "test_size")
    assert (found.baseline, found.apart) == ("dataset.test_size=500", 1)
    assert of_gap(found, "None").seeds == 2
    with pytest.raises(RequestError, match=r"no other value is scored on the test images of .*100.*from 500, None"):
        effects(compare(runs), "test_size", "100")


def test_a_value_without_a_partner_is_not_said_to_have_no_finished_run() -> None:
    cells = {**CELLS, ("c", "rmsprop"): [0.01, 0.02]}
    rates = {"rmsprop": 0.001}
    runs = [
        run(0.88 + gap, 0.88, seed=seed, model__name=model, optimizer__name=name,
            optimizer__learning_rate=(RATES | rates)[name])
        for (model, name), gaps in cells.items() for seed, gap in enumerate(gaps)
    ]  # fmt: skip
    runs += [run(0.9, 0.88, seed=0, model__name="a", optimizer__name="failed", state=RunState.FAILED)]
    found = effects(compare(runs), "optimizer", "sgd")
    assert (of_gap(found, "rmsprop").verdict, of_gap(found, "rmsprop").underfit) == ("no partner", False)
    assert of_gap(found, "failed").verdict == "no finished run"


def test_one_seed_is_counted_in_the_singular() -> None:
    text = render(effects(grid({cell: gaps[:1] for cell, gaps in CELLS.items()}), "optimizer"), "table")
    assert "1 seed " in text
    assert "1 seeds" not in text


def test_the_first_value_whose_runs_have_partners_is_the_reference() -> None:
    cells = {("z", "adam"): [0.02], ("a", "sgd"): [0.01, 0.02], ("a", "rmsprop"): [0.02, 0.03]}
    runs = [
        run(0.88 + gap, 0.88, seed=seed, model__name=model, optimizer__name=optimizer)
        for (model, optimizer), gaps in cells.items()
        for seed, gap in enumerate(gaps)
    ]
    assert effects(compare(runs), "optimizer").baseline == "optimizer.name=rmsprop"
