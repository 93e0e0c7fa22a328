"""The notebooks of examples/ run from top to bottom in a real kernel, on the small data of the tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
DATA = Path(__file__).parent / "data"


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_notebook_runs_from_top_to_bottom(file: Path, project: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:  # the published images, from the repository instead of the network; fewer of them
        cell.source = re.sub(
            r'"train_size": \d+', f'"directory": {str(DATA)!r}, "train_size": 100, "test_size": 50', cell.source
        )
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project)}})
    kept = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # the kernel sets its own
    client.execute(env={**kept, "PYTHONSAFEPATH": ""})
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in _data(output) for output in outputs)
    assert any("<table" in _data(output).get("text/html", "") for output in outputs) == (file.stem != "own_loop")
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Traceback" not in said
    assert len(said.splitlines()) < 60


def test_notebooks_have_no_outputs_of_somebodys_machine() -> None:
    for file in EXAMPLES:
        assert all(not cell.get("outputs") for cell in nbformat.read(file, as_version=4).cells), file


def _data(output: Any) -> dict[str, str]:
    found: dict[str, str] = output.get("data", {})
    return found
