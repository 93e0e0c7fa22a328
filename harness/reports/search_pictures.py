"""The figures of a search in its report: they are artifacts of its parent run, drawn when it ended."""

from __future__ import annotations

import struct

from harness.errors import RequestError
from harness.records import RunRecord
from harness.reports.content import ReportFigure
from harness.tracking.models import run_artifact
from harness.tracking.selection import SEARCH_TAG
from harness.tracking.store import Store
from harness.untrusted import read_bytes

MOST_BYTES = 20_000_000
PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {
    "best_so_far": (
        "Best so far",
        "The best value of the objective after each trial, against the number of trials and against minutes. Only "
        "trials that were trained under all of their seeds count.",
    ),
    "importance": (
        "What mattered",
        "The share of each setting in what sets the best trials apart from all (PED-ANOVA), for the gap and for the "
        "accuracy. With fewer than 30 trials these shares are uncertain.",
    ),
    "slices": (
        "Trials against each setting",
        "Gap (points) and validation accuracy (percent) of each trial against one setting at a time. Later trials are "
        "lighter; a ring marks the best, hollow points are not accurate enough.",
    ),
    "contour": (
        "The gap over two numbers",
        "The gap (points) over the two numbers that matter most for it, interpolated between the trials.",
    ),
    "parallel": (
        "Settings, accuracy and gap of each trial",
        "A line for each trial through its settings to its validation accuracy (percent) and its gap (points), which "
        "colours it. The best is drawn thick.",
    ),
}
"""The title and the caption of each figure, in the order of a report. The artifact is `figures/search_NAME.png`."""


def search_pictures(store: Store, parent: RunRecord | None) -> tuple[ReportFigure, ...]:
    """The figures that the parent run of a search has; empty for a sweep. Raises `StoreError`."""
    if parent is None or SEARCH_TAG not in parent.tags:
        return ()
    found = []
    for name, (title, caption) in FIGURES.items():
        try:
            with run_artifact(store, parent, f"figures/search_{name}.png") as file:
                png = read_bytes(file, MOST_BYTES)
        except RequestError:  # not drawn: figures=none, or too few trials
            continue
        if not png.startswith(PNG) or len(png) < 24:
            continue
        width, height = struct.unpack(">II", png[16:24])  # their place in the header of a PNG
        alt = f"{title}: {caption}"  # an artifact has half the resolution of a report's own figures
        found.append(ReportFigure(f"search_{name}", title, caption, alt, png, 2 * width, 2 * height))
    return tuple(found)
