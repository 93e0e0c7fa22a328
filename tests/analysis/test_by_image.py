from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as published_mcnemar
from statsmodels.stats.multitest import multipletests

from harness.analysis.by_image import by_image, mcnemar
from harness.analysis.by_image_tables import render
from harness.analysis.comparison import Comparison, compare
from harness.errors import RequestError
from harness.records import Predictions, RunRecord
from tests.analysis.records import data, run

LABELS = (0, 0, 1, 1, 2, 2)
ANSWERS = {
    ("a", 0): (0, 1, 1, 2, 0, 1),
    ("a", 1): (0, 1, 1, 1, 0, 1),
    ("b", 0): (0, 1, 2, 2, 0, 1),
    ("b", 1): (0, 1, 2, 1, 0, 0),
}
"""By model and seed. Image 0 is right in every run, 1, 4 and 5 in none."""

Scored = tuple[list[RunRecord], dict[str, dict[str, Predictions]]]


def evaluated(
    answers: dict[tuple[str, int], Sequence[int]], labels: Sequence[int] = LABELS, split: str = "test"
) -> Scored:
    """A run for each model and seed that answers so, with its loss: 2 for image 4, 3 for image 5, 1 for the others."""
    runs, predictions = [], {}
    for (model, seed), of in answers.items():
        accuracy = float(np.mean(np.array(of) == np.array(labels)))
        runs.append(run(0.95, accuracy, accuracy if split == "val" else None, seed=seed, model__name=model))
        losses = np.ones(len(labels), np.float16)
        losses[4:6] = 2, 3
        kept = Predictions(np.array(labels, np.uint8), np.array(of, np.uint8), losses)
        predictions[runs[-1].run_id] = {split: kept}
    return runs, predictions


def row(comparison: Comparison, model: str) -> object:
    return next(row for row in comparison.rows if row.settings["model.name"] == model)


def test_images_are_counted_by_how_many_runs_have_them_right() -> None:
    runs, predictions = evaluated(ANSWERS)
    found = by_image(compare(runs), predictions)
    assert found.runs == 4
    assert found.right.tolist() == [4, 0, 2, 2, 0, 0]
    assert json.loads(render(found, "json"))["right_in"] == {"all": 1, "some": 2, "none": 3}


def test_the_missed_images_come_most_unanimous_first_then_those_of_the_higher_loss() -> None:
    """4 and 1 are taken for one class by all four runs, 5 by three; of the first two the loss of 4 is higher."""
    runs, predictions = evaluated(ANSWERS)
    missed = json.loads(render(by_image(compare(runs), predictions, class_names=lambda run: "xyz"), "json"))[
        "missed_by_all"
    ]
    shown = [(of["index"], of["class"], of["answered_class"], of["answered_by"], of["loss"]) for of in missed]
    assert shown == [(4, "z", "x", 4, 2.0), (1, "x", "y", 4, 1.0), (5, "z", "y", 3, 3.0)]


def test_the_confusion_is_that_of_a_run_on_average() -> None:
    runs, predictions = evaluated(ANSWERS)
    confusion = by_image(compare(runs), predictions).confusion
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 1], [1.25, 0.75, 0]]
    assert np.trace(confusion) / len(LABELS) == pytest.approx(
        np.mean([of.metrics["final/test_accuracy"] for of in runs])
    )


@pytest.mark.parametrize(("more", "less"), [(0, 0), (1, 0), (3, 9), (12, 12), (40, 61), (150, 90)])
def test_one_run_against_one_has_the_published_p_of_mcnemar(more: int, less: int) -> None:
    assert mcnemar(more, less) == pytest.approx(published_mcnemar([[7, more], [less, 5]], exact=True).pvalue)


def test_two_single_runs_are_compared_by_mcnemar_and_their_accuracies_differ_by_so_much() -> None:
    n, rng = 300, np.random.default_rng(1)
    labels = rng.integers(0, 3, n)
    answers = {
        (model, 0): np.where(rng.random(n) < p, labels, (labels + 1) % 3) for model, p in (("a", 0.7), ("b", 0.6))
    }
    runs, predictions = evaluated(answers, labels)
    comparison = compare(runs)
    [found] = by_image(comparison, predictions, row(comparison, "a")).versus
    right = {model: answers[model, 0] == labels for model in "ab"}
    table = [[np.sum(right["b"] & right["a"]), more := np.sum(right["b"] & ~right["a"])],
             [less := np.sum(~right["b"] & right["a"]), np.sum(~right["b"] & ~right["a"])]]  # fmt: skip
    assert (found.test, found.more, found.less, found.equal) == ("mcnemar", more, less, n - more - less)
    assert found.p_value == pytest.approx(published_mcnemar(table, exact=True).pvalue)
    assert found.difference == pytest.approx(
        runs[1].metrics["final/test_accuracy"] - runs[0].metrics["final/test_accuracy"]
    )


def test_several_runs_are_compared_by_the_t_test_over_images_corrected_by_holm() -> None:
    n, rng = 200, np.random.default_rng(2)
    labels = rng.integers(0, 3, n)
    answers = {
        (model, seed): np.where(rng.random(n) < p, labels, (labels + 1) % 3)
        for model, p in (("a", 0.7), ("b", 0.64), ("c", 0.69))
        for seed in range(3 if model != "b" else 2)
    }
    runs, predictions = evaluated(answers, labels)
    comparison = compare(runs)
    found = by_image(comparison, predictions, row(comparison, "a")).versus
    share = {
        model: np.mean([of == labels for (name, _), of in answers.items() if name == model], axis=0) for model in "abc"
    }
    for of in found:
        expected = stats.ttest_1samp(share[of.settings["model.name"]] - share["a"], 0)
        interval = expected.confidence_interval(0.95)
        assert of.test == "t"
        assert of.p_value == pytest.approx(expected.pvalue)
        assert (of.interval.low, of.interval.high) == pytest.approx((interval.low, interval.high))
        assert of.more + of.less + of.equal == n
    corrected = multipletests([of.p_value for of in found], method="holm")[1]
    assert [of.corrected for of in found] == pytest.approx(list(corrected))


def test_rows_that_answer_alike_have_no_p() -> None:
    runs, predictions = evaluated({(model, seed): ANSWERS["a", seed] for model in "ab" for seed in range(2)})
    comparison = compare(runs)
    [found] = by_image(comparison, predictions, comparison.rows[0]).versus
    assert (found.more, found.less, found.equal) == (0, 0, 6)
    assert np.isnan(found.p_value)
    assert "0 nan" not in render(by_image(comparison, predictions, comparison.rows[0]), "table")


def test_what_is_left_out_is_said_and_not_counted() -> None:
    """A run on other images, one that kept nothing, and one that repeats a seed."""
    runs, predictions = evaluated(ANSWERS)
    runs = [run(0.95, 0.4, seed=n % 2, model__name="ab"[n // 2], **data("t", "same")) for n in range(4)]
    predictions = dict(zip((of.run_id for of in runs), predictions.values(), strict=True))
    apart = run(0.95, 0.4, model__name="a", **data("t", "other"))
    silent = run(0.95, 0.4, seed=3, model__name="a", **data("t", "same"))
    again = run(0.95, 0.4, seed=0, model__name="a", **data("t", "same"))
    predictions |= {of.run_id: predictions[runs[0].run_id] for of in (apart, again)}
    found = by_image(compare([*runs, apart, silent, again]), predictions)
    assert found.right.tolist() == [4, 0, 2, 2, 0, 0]
    assert found.left_out == (
        "1 run without predictions", "1 run scored on other test images", "1 run that repeat a configuration and seed",
    )  # fmt: skip
    assert "Left out: 1 run without predictions; " in render(found, "table")


def test_a_baseline_is_compared_on_its_own_images_though_more_runs_have_others() -> None:
    runs, predictions = [], {}
    kept = evaluated(ANSWERS)[1].values()
    for number, of in enumerate([*kept, *kept]):
        images = "few" if number < 3 else "many"
        runs.append(run(0.9, 0.4, seed=number, model__name="ab"[number % 2], **data("t", images)))
        predictions[runs[-1].run_id] = of
    comparison = compare(runs)
    few = next(of for of in comparison.rows if of.scored_on == "few" and of.settings["model.name"] == "a")
    found = by_image(comparison, predictions, few)
    assert (found.runs, found.left_out) == (3, ("5 runs scored on other test images",))


def test_runs_without_predictions_are_refused_with_what_to_do() -> None:
    runs, predictions = evaluated(ANSWERS)
    comparison = compare(runs)
    with pytest.raises(RequestError, match=r"none of these runs kept .* Train them again .* resume=false"):
        by_image(comparison, {})
    silent = {of.run_id: predictions[of.run_id] for of in row(comparison, "a").runs}
    with pytest.raises(RequestError, match="none of the runs of --baseline b kept"):
        by_image(comparison, silent, row(comparison, "b"))
    with pytest.raises(RequestError, match="--baseline a: no other row"):
        by_image(comparison, silent, row(comparison, "a"))


def test_other_weights_than_the_final_ones_are_refused() -> None:
    runs, predictions = evaluated(ANSWERS)
    with pytest.raises(RequestError, match="--at last: runs keep what their final weights answer"):
        by_image(compare(runs, stage="last"), predictions)


def test_csv_has_every_image_hardest_first_and_the_table_says_how_to_see_one() -> None:
    runs, predictions = evaluated(ANSWERS)
    found = by_image(compare(runs), predictions)
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert [of["index"] for of in rows] == ["4", "1", "5", "2", "3", "0"]
    assert [of["right"] for of in rows] == ["0", "0", "0", "2", "2", "4"]
    assert f"harness predict {found.example.run_id[:8]} --index 4" in render(found, "table")
    assert "| 4 | 2 | 0 | 4 of 4 | 2.00 |" in render(found, "markdown")


def test_of_validation_images_it_is_said_that_predict_does_not_show_them() -> None:
    runs, predictions = evaluated(ANSWERS, split="val")
    text = render(by_image(compare(runs), predictions), "table")
    assert "6 validation images" in text
    assert "`harness predict --index` shows test images only" in text.replace("\n  ", " ")


def test_where_no_image_is_missed_by_all_there_is_no_list_of_them() -> None:
    runs, predictions = evaluated({("a", 0): LABELS, ("b", 0): (0, 0, 1, 1, 2, 0)})
    text = render(by_image(compare(runs), predictions), "table")
    assert "none       0" in text
    assert "Images that no run has right" not in text


def test_of_many_classes_the_most_frequent_confusions_are_shown() -> None:
    labels = tuple(range(40))
    answers = [(5, 5, *labels[2:]), (5, *labels[1:])]
    runs, predictions = evaluated({("a", seed): of for seed, of in enumerate(answers)}, labels)
    shown = render(by_image(compare(runs), predictions), "markdown")
    confusions = shown[shown.index("The 2 most frequent confusions of 40 classes") :].splitlines()
    assert [line.replace(" ", "") for line in confusions if line.startswith("| ")][2:] == ["|0|5|1.0|", "|1|5|0.5|"]
