"""What a person sees who opens the MLflow UI after a sweep, in a real browser, from a real server, with real runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser import PATIENCE, Browser, browsing, serving
from tests.integration.conftest import Outcome

pytestmark = pytest.mark.slow

expect.set_options(timeout=PATIENCE)
PLOT = ".js-plotly-plot"


@pytest.fixture(scope="module")
def ui(swept: Outcome) -> Iterator[dict[str, str]]:
    assert swept.done.returncode == 0, swept.done.stderr
    with serving(swept.project) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def card(page: Page, title: str) -> list[dict[str, list[str]]]:
    """The traces of the chart with this title, as plotly was given them."""
    cards = page.locator('[data-testid="experiment-view-compare-runs-card"]')
    wanted = cards.filter(has=page.get_by_role("heading", name=title, exact=True))
    wanted.scroll_into_view_if_needed()  # the page draws what is in sight
    chart = wanted.locator(PLOT)
    expect(chart.locator("svg.main-svg").first).to_be_visible()
    traces: list[dict[str, list[str]]] = chart.evaluate(
        "plot => plot.data.map(trace => ({x: Array.from(trace.x).map(String), y: Array.from(trace.y).map(String)}))"
    )
    return traces


def rows(swept: Outcome) -> list[str]:
    """The rows of the sweep's table, as `harness compare` ranks and marks them."""
    table = json.loads(swept.project.run("compare", "--format", "json").stdout)
    marks = {(True, True): " (underfit)", (True, False): " (underfit?)"}
    return [
        f"{rank} {row['settings']['optimizer.name']}{marks.get((row['underfit'], row['underfit_shown']), '')}"
        for rank, row in enumerate(table["rows"], 1)
    ]


def test_the_table_of_a_sweep_shows_its_runs_and_their_gaps(
    ui: dict[str, str], browser: Browser, swept: Outcome
) -> None:
    page = browser.open(ui["sweep"].replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    for run in swept.children:
        expect(page.get_by_role("link", name=run.info.run_name, exact=True)).to_be_visible()
    headers = page.locator(".ag-header-cell")
    expect(headers.filter(has_text="points/gap_val_accuracy")).to_be_visible()
    expect(headers.filter(has_text="points/gap_test_accuracy")).to_be_visible()
    gaps = [f"{run.data.metrics['points/gap_val_accuracy']:g}" for run in swept.children]
    for gap in gaps:
        expect(page.locator(".ag-cell", has_text=gap).first).to_be_visible()
    # The parent, which has no gap, is left out: a group for each optimizer and a row for each run.
    expect(page.get_by_role("link", name=swept.parent.info.run_name, exact=True)).to_have_count(0)
    groups = page.get_by_text(re.compile("^Group: "))
    expect(groups).to_have_count(2)
    assert [text.removeprefix("Group: ") for text in groups.all_inner_texts()] == rows(swept), "in the table's order"
    assert all(group.evaluate("of => of.scrollWidth <= of.clientWidth") for group in groups.all()), "none is cut"


def test_the_link_to_a_sweep_opens_charts_of_the_gap_averaged_over_seeds(
    ui: dict[str, str], browser: Browser, swept: Outcome
) -> None:
    page = browser.open(ui["sweep"])
    expect(page.get_by_text("Overfitting gap").last).to_be_visible()
    [bars] = card(page, "points/gap_val_accuracy")
    by_optimizer: dict[str, list[float]] = {}
    for run in swept.children:
        by_optimizer.setdefault(run.data.params["optimizer.name"], []).append(
            run.data.metrics["points/gap_val_accuracy"]
        )
    means = sorted(sum(gaps) / len(gaps) for gaps in by_optimizer.values())
    assert sorted(map(float, bars["x"])) == pytest.approx(means)
    assert len(means) == 2
    for row in rows(swept):
        expect(page.get_by_text(row, exact=True).first).to_be_in_viewport()
    page.get_by_text("Learning curves").last.scroll_into_view_if_needed()  # a section is filled when it is in sight
    card(page, "train/loss vs val/loss")
    page.mouse.move(700, 600)
    page.mouse.wheel(0, 600)
    curves = card(page, "gap/loss")
    assert [trace["x"] for trace in curves if len(trace["x"]) == 3].count(["1", "2", "3"]) >= 2


def test_the_experiment_lists_its_views_by_name(ui: dict[str, str], browser: Browser, swept: Outcome) -> None:
    page = browser.open(ui["runs"])
    page.get_by_role("button", name=re.compile("Views")).first.click()
    for name in (
        "Overfitting gap by setting",
        "Learning curves",
        "Settings against the gap",
        swept.parent.info.run_name,
    ):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_text("Settings against the gap", exact=True).first.click()
    expect(page).to_have_url(re.compile("harness-settings"))


def test_parallel_coordinates_lead_from_the_settings_to_the_gap(ui: dict[str, str], browser: Browser) -> None:
    address = re.sub("viewStateShareKey=[^&]*", "viewStateShareKey=harness-settings", ui["sweep"])
    page = browser.open(address)
    chart = page.locator(".parcoords")
    expect(chart).to_be_visible()
    expect(chart.get_by_text("optimizer.name")).to_be_visible()
    expect(chart.get_by_text("points/gap_val_accuracy")).to_be_visible()


def test_comparing_two_runs_shows_the_settings_that_differ(
    ui: dict[str, str], browser: Browser, swept: Outcome
) -> None:
    first, *_, last = swept.children
    runs = quote(json.dumps([first.info.run_id, last.info.run_id]))
    experiments = quote(json.dumps([first.info.experiment_id]))
    page = browser.open(f"{ui['MLflow UI']}/#/compare-runs?runs={runs}&experiments={experiments}")
    page.get_by_role("switch", name="Parameters - Show diff only").click()
    row = page.get_by_role("row").filter(has_text="optimizer.name")
    row.scroll_into_view_if_needed()
    expect(row).to_contain_text("sgd")
    expect(row).to_contain_text("adam")
    expect(page.get_by_role("row").filter(has_text="model.name")).to_be_hidden()  # it is the same in both


def test_a_run_and_its_sweep_say_what_they_are(ui: dict[str, str], browser: Browser, swept: Outcome) -> None:
    run = swept.children[0]
    page = browser.open(f"{ui['MLflow UI']}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    expect(page.get_by_text("harness train optimizer=sgd").first).to_be_visible()
    page = browser.open(f"{ui['MLflow UI']}/#/experiments/{run.info.experiment_id}/runs/{swept.parent.info.run_id}")
    expect(page.get_by_text("harness sweep optimizer=sgd,adam").first).to_be_visible()
    expect(page.get_by_role("columnheader", name="gap val")).to_be_visible()


def test_the_report_of_a_sweep_opens_in_the_artifact_viewer_and_its_tables_sort(
    ui: dict[str, str], browser: Browser, swept: Outcome
) -> None:
    info = swept.parent.info
    run = f"{ui['MLflow UI']}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
    page = browser.open(f"{run}/artifacts/report.html")
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", level=1)).to_have_text(info.run_name)
    expect(report.get_by_role("img").first).to_be_visible()
    assert report.get_by_role("img").first.evaluate("image => image.complete && image.naturalWidth > 1000")
    table = report.locator("#table table")
    heading = table.get_by_role("columnheader", name="optimizer")
    expect(heading).to_have_attribute("aria-sort", "none")
    for way, order in (("ascending", ["adam", "sgd"]), ("descending", ["sgd", "adam"])):
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", way)
        expect(table.locator("tbody th")).to_have_text(order)
    runs = report.locator("#runs table")
    runs.get_by_role("button", name="seed").click()  # by number, whatever the rows were sorted by
    assert runs.locator("tbody tr td:nth-child(2)").all_inner_texts() == ["0", "0", "1", "1"]
    report.get_by_role("link", name="Run it again").click()
    expect(report.get_by_text("harness sweep optimizer=sgd,adam")).to_be_in_viewport()
    assert browser.refused == []


def test_no_page_asked_for_anything_outside_this_machine(ui: dict[str, str], browser: Browser) -> None:
    page = browser.open(ui["sweep"])
    expect(page.get_by_text("Overfitting gap").last).to_be_visible()
    assert browser.refused == []
