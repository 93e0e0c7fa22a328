"""Takes screenshots of the MLflow UI for docs/images: `make screenshots`.

It trains a small sweep in its own project (a minute), opens it with `harness ui`, and saves the pages as pictures.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page

from harness import paths
from tests.conftest import REPOSITORY
from tests.integration.browser import Browser, browsing, serving
from tests.integration.conftest import Project

IMAGES = REPOSITORY / "docs" / "images"
SWEEP = (
    "sweep", "model=mlp_128,mlp_300_100", "optimizer=sgd,adam", "seed=range(3)", "dataset.train_size=5000",
    "regime.epochs=10", "regime.validation.strategy=stratified", "regime.validation.size=1000",
)  # fmt: skip
SETTLED = 4_000  # milliseconds until the page has drawn all charts


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.root.mkdir()
        project.elsewhere.mkdir()
        cache = {"HARNESS_CACHE": str(paths.cache_directory())}
        done = project.run(*SWEEP, environment=cache, program=(sys.executable, "-m", "harness"))
        assert done.returncode == 0, done.stderr
        with serving(project) as addresses, browsing() as browser:
            picture(browser, project, addresses)


def picture(browser: Browser, project: Project, addresses: Mapping[str, str]) -> None:
    """Take every picture of the UI at these addresses."""
    keep(browser.open(addresses["sweep"]), "ui_gap", "points/gap_test_accuracy", 900)
    keep(browser.open(addresses["sweep"].replace("CHART", "TABLE")), "ui_runs", "(underfit", 820)
    for key, name, text, height in (
        ("harness-settings", "ui_settings", "Parallel Coordinates", 900),
        ("harness-curves", "ui_curves", "val/loss", 1000),
    ):
        address = re.sub("viewStateShareKey=[^&]*", f"viewStateShareKey={key}", addresses["sweep"])
        keep(browser.open(address), name, text, height)
    compare(browser, project, addresses["MLflow UI"])
    report(browser, project, addresses["MLflow UI"])


def compare(browser: Browser, project: Project, host: str) -> None:
    """Take a picture of two runs side by side: those with the least and the greatest gap."""
    runs = [run for run in project.runs() if run.data.tags["harness.kind"] == "run"]
    runs.sort(key=lambda run: run.data.metrics["final/gap_val_accuracy"])
    identities = quote(json.dumps([runs[0].info.run_id, runs[-1].info.run_id]))
    experiments = quote(json.dumps([runs[0].info.experiment_id]))
    page = browser.open(
        f"{host}/#/compare-runs?runs={identities}&experiments={experiments}&workflowType=machine_learning"
    )
    for part in ("Parameters", "Metrics"):
        page.get_by_role("switch", name=f"{part} - Show diff only").click()
    page.get_by_role("switch", name="Parameters - Show diff only").evaluate("element => element.scrollIntoView()")
    keep(page, "ui_compare", "optimizer.name", 900)


def report(browser: Browser, project: Project, host: str) -> None:
    """Take a picture of the sweep's report in the artifact viewer."""
    [info] = [run.info for run in project.runs() if run.data.tags["harness.kind"] == "sweep"]
    page = browser.open(f"{host}/#/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/report.html")
    page.get_by_text("Path: file").evaluate("element => { element.style.visibility = 'hidden' }")  # has a local path
    keep(page, "ui_report", "report.md", 1150)


def keep(page: Page, name: str, text: str, height: int = 1000) -> None:
    """Save a picture of the page when it shows `text`, with few colours so that the file is small."""
    from PIL import Image

    page.set_viewport_size({"width": 1400, "height": height})
    page.get_by_text(text).last.wait_for()
    page.wait_for_timeout(SETTLED)
    file = IMAGES / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as taken:
        reduced = taken.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(file, optimize=True)
    print(f"{file.relative_to(REPOSITORY)}: {file.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
