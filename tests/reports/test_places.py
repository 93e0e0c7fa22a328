"""The place of a row (front, underfit) is the same in table, report, figures and note."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest

from harness.analysis.comparison import Comparison, compare
from harness.analysis.comparison_table import render
from harness.analysis.descriptions import sweep_note
from harness.analysis.ranking import Demand
from harness.figures import gap_bars, pareto
from harness.figures.groups import Measure
from harness.records import Place
from harness.reports.drawing import groups_of
from harness.reports.gathering import gather
from harness.reports.rendering import html, markdown
from tests.calibration.real_runs import drawn, records, settings


@pytest.fixture(scope="module", params=[2.0, 1.0, None])
def compared(request: pytest.FixtureRequest) -> Comparison:
    """Six configurations of real runs with five seeds each.

    Two were made less accurate. They have the least gaps, so both would be on the front if underfit rows counted.
    """
    values = dict(drawn(settings(), 5, np.random.default_rng(1)))
    for key, points in ((("mlp_128_128", "0.2"), 0.04), (("mlp_128", "0.2"), 0.015)):
        accuracies = np.array([points + 0.05, 0, points, 0, points, 0])  # of training, validation and test
        values[key] = values[key] - accuracies
    within = None if request.param is None else request.param / 100
    return compare(records(values), demand=Demand(within=within), swept=("model.name", "model.dropout"))


def test_every_view_of_a_sweep_has_the_same_places(compared: Comparison) -> None:
    said = {row.label: row.place for row in compared.rows}
    assert Place.FRONT in said.values()
    assert any(place.is_underfit for place in said.values()) == (compared.demand.within is not None)
    for form in ("table", "markdown"):
        assert cells(render(compared, form)) == said
    assert cells(sweep_note(compared, {}, ())) == said
    rows = csv.DictReader(io.StringIO(render(compared, "csv")))
    assert [word(row["underfit"], row["underfit_shown"], row["front"]) for row in rows] == list(said.values())
    rows = json.loads(render(compared, "json"))["rows"]
    assert [word(*(str(row[key]).lower() for key in ("underfit", "underfit_shown", "front"))) for row in rows] == list(
        said.values()
    )


def test_the_report_and_its_figures_say_what_the_table_says(compared: Comparison) -> None:
    said = {row.label: row.place for row in compared.rows}
    report = gather(compared)
    assert cells(markdown(report, "pictures")) == said
    page = re.sub(r"<[^>]+>", " ", html(report))
    front = [row for row in compared.rows if row.place is Place.FRONT]
    for text in (markdown(report, "pictures"), page):
        [sentence] = re.findall(r"By their means, (.*?) (?:is|are) beaten by no other", " ".join(text.split()))
        assert len(re.findall(r"\(\d+ %\)", sentence)) == len(front)
        for row in front:
            assert re.search(rf"{row.settings['model.name']}\W+dropout={row.settings['model.dropout']} ", sentence)
    groups = groups_of(compared, compared.rows)
    drawn_front = [point.label for point in pareto.compute(groups, Measure("accuracy", "val")).front]
    assert sorted(drawn_front) == sorted(group.label for group in groups if group.place is Place.FRONT)
    assert len(drawn_front) == len(front)
    bars = gap_bars.compute(groups, Measure("accuracy", "val")).bars
    assert [bar.place for bar in bars] == [row.place for row in compared.rows], "in the order of the table too"


def cells(text: str) -> dict[str, str]:
    """The place of each row in a table (text or Markdown), without the share of resamples after it."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\W*(mlp\S*)[\s|]+(0\.\d)\b", line):
            place = re.search(r"(front|underfit\??)( \d+ %)?[\s|]*$", line)
            found.setdefault(f"{match[1]} {match[2]}", place[1] if place else "")
    return found


def word(underfit: str, shown: str, front: str) -> str:
    if underfit == "true":
        assert front == "false"
        return "underfit" if shown == "true" else "underfit?"
    return "front" if front == "true" else ""
