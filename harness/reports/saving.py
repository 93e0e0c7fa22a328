"""Saves a report as artifacts of the sweep's parent run, or to a file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from harness import paths
from harness.analysis.comparison import Comparison
from harness.errors import RequestError
from harness.records import RunRecord
from harness.reports.content import Report
from harness.reports.gathering import gather, read_curves, with_figures
from harness.reports.rendering import html, markdown
from harness.reports.search_pictures import search_pictures
from harness.tracking.shared_writes import attach
from harness.tracking.store import Store

PAGE, TEXT, FIGURES = "report.html", "report.md", "report_figures"
"""The artifacts of the parent run."""
SUFFIXES = (".html", ".md")
LESS_THAN_OF_A_SEARCH = ("heat_map", "parallel_coordinates")
"""Figures that the search's own ones show better."""


def make(
    store: Store, comparison: Comparison, parent: RunRecord | None = None, baseline: str | None = None, words: str = ""
) -> Report:
    """A report with its figures; see `gather` for the arguments. Reads the curves of the first rows from the store.

    Raises:
        RequestError: no row matches `baseline`.
        StoreError: the store cannot be read.
    """
    series = read_curves(store, comparison)
    report = gather(comparison, parent, baseline, words, series)
    report = with_figures(report, comparison, series, baseline)
    own = search_pictures(store, parent)
    usual = [figure for figure in report.figures if not own or figure.name not in LESS_THAN_OF_A_SEARCH]
    return replace(report, figures=(*own, *usual))


def save(store: Store, run_id: str, report: Report) -> None:
    """Save the page, the text and the figures as artifacts of a run. Earlier ones are replaced.

    Raises:
        StoreError: the store cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / PAGE).write_text(html(report), encoding="utf-8")
        (root / TEXT).write_text(markdown(report, FIGURES), encoding="utf-8")
        _write_figures(report, root / FIGURES)
        attach(store, run_id, root)


def write(report: Report, target: Path) -> list[Path]:
    """Write the report as HTML or Markdown, by the suffix of `target`. Markdown has its figures in a folder beside it.

    Returns the written paths, `target` first.

    Raises:
        RequestError: see `check_target`; or the file cannot be written.
    """
    check_target(target)
    try:
        if target.suffix.lower() == ".html":
            paths.write_text(target, html(report))
            return [target]
        folder = target.with_name(f"{target.stem}_figures")
        if report.figures:
            with paths.whole_folder(folder) as temporary:
                _write_figures(report, temporary)
        paths.write_text(target, markdown(report, folder.name))
    except OSError as error:
        raise RequestError(f"--output {target}: cannot be written ({error.strerror}). Name another file.") from error
    return [target, folder] if report.figures else [target]


def check_target(target: Path) -> None:
    """Raise `RequestError` if no report can be written to `target`."""
    if target.suffix.lower() not in SUFFIXES:
        raise RequestError(
            f"--output {target}: reports are HTML or Markdown. Give a name that ends in {' or '.join(SUFFIXES)}."
        )
    if target.is_dir():
        raise RequestError(f"--output {target}: is a folder. Name a file in it, such as {target / PAGE}.")


def _write_figures(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        (folder / f"{figure.name}.png").write_bytes(figure.png)
