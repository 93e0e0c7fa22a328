"""The figures of a search in its report."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from harness.reports.search_pictures import search_pictures
from harness.tracking.selection import KIND_TAG, SEARCH_TAG
from harness.tracking.store import open_store
from tests.sweeps.test_lease import record


def test_a_report_has_the_figures_of_a_search_and_no_file_that_is_no_picture(project: Path) -> None:
    client, experiment = open_store().client, open_store().ensure_experiment("harness")
    search, sweep = (
        client.create_run(experiment, tags={KIND_TAG: "sweep", **more}).info.run_id for more in ({SEARCH_TAG: "{}"}, {})
    )
    Image.new("RGB", (30, 20)).save(project / "search_slices.png")
    (project / "search_contour.png").write_text("<script>")
    for run in (search, sweep):
        for file in project.glob("search_*.png"):
            client.log_artifact(run, str(file), "figures")
    [slices] = search_pictures(open_store(), record(search))
    assert (slices.name, slices.width, slices.height) == ("search_slices", 60, 40)
    assert search_pictures(open_store(), record(sweep)) == search_pictures(open_store(), None) == ()
