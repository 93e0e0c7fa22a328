"""The Python interface in a real kernel of Jupyter, workers included."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

DATA = Path(__file__).parents[1] / "data"

pytestmark = pytest.mark.slow


@dataclass
class Answer:
    """What a cell has shown."""

    text: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    """The results and pictures, by type."""
    replaced: list[str] = field(default_factory=list)
    """The texts that stood where a later one stands now."""
    error: str = ""


class Notebook:
    """A notebook whose cells are run in a real kernel."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, code: str, interrupt_at: str = "") -> Answer:
        """Run a cell; interrupt it, as the button does, when this is in a text that is replaced."""
        answer = Answer()
        asked = self.client.execute(code)
        until = time.monotonic() + 240
        while time.monotonic() < until:
            try:
                message = self.client.get_iopub_msg(timeout=5)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if kind == "stream":
                answer.text += content["text"]
            elif kind in ("execute_result", "display_data"):
                answer.shown.append(content["data"])
            elif kind == "update_display_data":
                answer.replaced.append(content["data"]["text/plain"])
                if interrupt_at and interrupt_at in answer.replaced[-1]:
                    self.manager.interrupt_kernel()
                    interrupt_at = ""
            elif kind == "error":
                answer.error = f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                return answer
        raise TimeoutError(code)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    root = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MPLBACKEND", raising=False)
        opened = Notebook(root)
        try:
            begun = opened.run(
                "import harness, os, sys\n"
                f"small = ['dataset.directory={DATA}', 'dataset.train_size=100', 'dataset.test_size=50']\n"
                "umask = os.umask(0o22)"
            )
            assert not begun.error
            yield opened
        finally:
            opened.close()


def test_a_run_shows_what_it_has(notebook: Notebook) -> None:
    answer = notebook.run("run = harness.train(*small, 'regime.epochs=40', seed=1); run")
    assert not answer.error
    assert len(answer.text.splitlines()) < 8, answer.text  # the progress is replaced
    assert any("/40" in text for text in answer.replaced)
    assert answer.replaced[-1] == ""
    assert "<table" in answer.shown[-1]["text/html"]
    drawn = notebook.run("run.figure('learning_curves')")
    assert "image/png" in drawn.shown[-1]
    assert "<table" in notebook.run("run.history").shown[-1]["text/html"]


def test_the_notebook_stays_as_it_was(notebook: Notebook) -> None:
    plotted = notebook.run("import matplotlib.pyplot as plt; plt.plot([1, 2]);")
    assert any("image/png" in data for data in plotted.shown)
    said = notebook.run("print(oct(os.umask(0o22)), 'inline' in os.environ['MPLBACKEND'])")
    assert said.text.split() == ["0o22", "True"]


def test_an_interrupted_sweep_is_resumed_in_the_same_kernel(notebook: Notebook) -> None:
    cell = (
        "sweep = harness.sweep(\n"
        "    *small, 'regime.epochs=90', 'hydra.launcher.workers=1', seed=range(2), figures='none'\n"
        ")\n"
        "sweep"
    )
    stopped = notebook.run(cell, interrupt_at="/90")
    assert stopped.error.startswith("KeyboardInterrupt")
    assert "Interrupted." in stopped.text
    resumed = notebook.run(cell)
    assert not resumed.error
    assert notebook.run("print(sweep.runs['state'].tolist())").text.strip() == str(["FINISHED"] * 2)
    assert "<table" in resumed.shown[-1]["text/html"]


def test_a_cell_may_train_in_a_thread(notebook: Notebook) -> None:
    answer = notebook.run(
        "import threading\nfound = []\n"
        "train = lambda: found.append(harness.train(*small, 'regime.epochs=1', figures='none'))\n"
        "one = threading.Thread(target=train)\n"
        "one.start(); one.join(); print(found[0].state)"
    )
    assert answer.text.endswith("FINISHED\n")
