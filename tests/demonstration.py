"""Makes the sample output of `make sweep` in README.md: `make sample`.

It runs the demonstration and writes three things: the sample, its figure, and the values of its runs. From these
values, tests/test_sample.py makes the sample again.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import paths
from harness.composing import check_sweep, expand_sweep
from harness.config.schema import flatten
from harness.records import RunRecord, RunState
from harness.sweeps.run_names import run_name
from tests.conftest import REPOSITORY

COMMAND = ["experiments=demo"]
README = REPOSITORY / "README.md"
VALUES = REPOSITORY / "tests" / "data" / "demonstration.json"
PICTURE = REPOSITORY / "docs" / "images" / "comparison.png"
SAMPLE = re.compile(r"(?<=`make sweep` installs)(.*?ends with\n\n```\n)(.*?)(?=```\n)", re.DOTALL)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def shown() -> str:
    """The sample in the README, without the path of the report and the last line, which `make` prints."""
    found = SAMPLE.search(README.read_text(encoding="utf-8"))
    assert found is not None, "README.md has no output of `make sweep`"
    *lines, report, _ = found[2].splitlines()
    assert report.startswith("Report: "), report
    return "\n".join(lines) + "\n"


def shortened(printed: str) -> str:
    """The output of a sweep, with only the first and the last run, and without the notes below the table."""
    runs = re.compile(r"(\[ *1/.*\n)(?:\[.*\n)+(\[.*\n)")
    notes = re.compile(r"\nGaps: .*?(?=The runs in the MLflow UI)", re.DOTALL)
    return notes.sub("...\n", runs.sub(r"\1...\n\2", printed))


def recorded() -> list[RunRecord]:
    """The runs of the demonstration, with today's configuration and the stored values."""
    stored = json.loads(VALUES.read_text(encoding="utf-8"))
    sweep = expand_sweep(COMMAND)
    configs = check_sweep(sweep)
    return [
        RunRecord(
            run_id=f"{number:032x}",
            name=run_name(configs[run["job"]], list(sweep.jobs[run["job"]]), sweep.swept),
            experiment_id="1",
            experiment="harness",
            state=RunState.FINISHED,
            started=STARTED + timedelta(seconds=run["started"]),
            ended=STARTED + timedelta(seconds=run["ended"]),
            parameters={key: str(value) for key, value in flatten(configs[run["job"]]).items()} | stored["data"],
            metrics=run["metrics"],
            tags={"harness.kind": "run", "mlflow.parentRunId": "demo"},
        )
        for number, run in enumerate(stored["runs"])
    ]


def main() -> None:
    from tests.integration.conftest import Project

    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.root.mkdir()
        project.elsewhere.mkdir()
        cache = {"HARNESS_CACHE": str(paths.cache_directory())}
        program = (sys.executable, "-m", "harness")
        sweeping = project.start("sweep", *COMMAND, program=program, environment=cache, stderr=subprocess.STDOUT)
        printed, _ = sweeping.communicate()
        assert sweeping.returncode == 0, printed
        printed = printed.replace(str(project.root), "...")
        runs = [run for run in project.runs() if run.data.tags["harness.kind"] == "run"]
        [parent] = [run for run in project.runs() if run.data.tags["harness.kind"] == "sweep"]
        VALUES.write_text(json.dumps(values(runs), indent=1) + "\n", encoding="utf-8")
        shutil.copyfile(project.artifact(parent, "figures/comparison.png"), PICTURE)
    text = README.read_text(encoding="utf-8")
    last = "Look at the runs in a browser: make ui\n"
    README.write_text(SAMPLE.sub(lambda found: found[1] + shortened(printed) + last, text), encoding="utf-8")


def values(runs: list[Any]) -> dict[str, Any]:
    """The values to store from MLflow's runs: their images, and for each run its job, times and final scores."""
    first = min(run.info.start_time for run in runs)
    return {
        "data": {key: value for key, value in runs[0].data.params.items() if key.startswith("data.")},
        "runs": [
            {
                "job": int(run.data.tags["harness.job"]),
                "started": (run.info.start_time - first) / 1000,
                "ended": (run.info.end_time - first) / 1000,
                "metrics": {
                    key: value for key, value in sorted(run.data.metrics.items())
                    if re.fullmatch(r"final/(gap_)?(train|test)_(accuracy|loss)|data/\w+_images", key)
                },
            }
            for run in sorted(runs, key=lambda run: run.info.end_time)
        ],
    }  # fmt: skip


if __name__ == "__main__":
    main()
