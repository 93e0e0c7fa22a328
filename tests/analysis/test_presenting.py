from __future__ import annotations

import csv
import io
import json
import math

import pytest
from statsmodels.stats.weightstats import DescrStatsW

from harness.analysis.comparison import Comparison, compare
from harness.analysis.comparison_table import render
from harness.errors import RequestError
from harness.records import RunState
from harness.tabular import FORMATS
from tests.analysis.records import run


def sample() -> Comparison:
    return compare(
        [
            run(0.9, 0.8, seed=0, model__name="a|b"),
            run(0.92, 0.8, seed=1, model__name="a|b"),
            run(model__name="c", state=RunState.RUNNING),
        ],
        title="T",
    )


def test_json_keeps_fractions_and_full_names() -> None:
    document = json.loads(render(sample(), "json"))
    row = document["rows"][0]
    assert row["settings"] == {"model.name": "a|b"}
    assert row["scores"]["train_accuracy"]["mean"] == pytest.approx(0.91)
    assert row["scores"]["train_accuracy"]["n"] == 2
    assert [entry["seed"] for entry in row["runs"]] == ["0", "1"]
    assert row["scores"]["train_accuracy"]["interval"] == pytest.approx(DescrStatsW([0.9, 0.92]).tconfint_mean())
    assert row["scores"]["train_accuracy"]["bca"] == pytest.approx([0.9, 0.92])
    assert (row["incomplete"], document["rows"][1]["incomplete"]) == (False, True)
    assert document["selected_on"] == {"test": ["it ranks the rows"]}
    assert document["rows"][1]["unfinished"] == {"running": 1}
    assert (document["sorted_by"], document["ascending"], document["finished"]) == ("gap_test_accuracy", True, 2)


def test_json_has_null_for_nan() -> None:
    text = render(compare([run(metrics={"final/train_accuracy": math.nan})]), "json")
    assert "NaN" not in text
    assert json.loads(text)["rows"][0]["scores"]["train_accuracy"]["mean"] is None


def test_csv_has_a_line_for_each_row_with_fractions() -> None:
    first, second = csv.DictReader(io.StringIO(render(sample(), "csv")))
    assert first["model.name"] == "a|b"
    assert float(first["gap_test_accuracy"]) == pytest.approx(0.11)
    assert float(first["train_accuracy_sd"]) == pytest.approx(0.0141421, abs=1e-6)
    limits = DescrStatsW([0.9, 0.92]).tconfint_mean()
    assert (float(first["train_accuracy_low"]), float(first["train_accuracy_high"])) == pytest.approx(limits)
    assert (float(first["train_accuracy_bca_low"]), float(first["train_accuracy_bca_high"])) == (0.9, 0.92)
    assert (first["expected"], first["missing_seeds"], second["missing_seeds"]) == ("2", "", "1")
    assert (first["underfit"], first["front"]) == ("false", "true")
    assert (first["n"], first["finished"], first["seeds"]) == ("2", "2", "0 1")
    assert (second["running"], second["train_accuracy"], second["train_accuracy_n"]) == ("1", "", "0")


def test_markdown_is_one_table_whose_cells_keep_their_bars() -> None:
    text = render(sample(), "markdown")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {line.replace("\\|", "").count("|") for line in table} == {table[0].count("|")}
    assert "+11.0 ± 12.7" in text
    assert "Sorted by `gap_test_accuracy`, ascending." in text


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_takes_an_empty_comparison_and_ends_with_a_line_break(form: str) -> None:
    assert render(compare([]), form).endswith("\n")


def test_an_unknown_form_is_refused_with_the_choices() -> None:
    with pytest.raises(RequestError, match=r"'markdwon'.*mean 'markdown'.*table, json, csv, markdown"):
        render(sample(), "markdwon")
