"""A project that is moved, or copied beside the original, by the real commands: said, put right, and then as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import SMALL, NewProject, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TINY = (*SMALL, "engine=keras", "debug=tiny", "figures=none", "threads=1")


@pytest.fixture(scope="module")
def original(new_project: NewProject) -> Project:
    project = new_project()
    done = project.run("train", *TINY)
    assert done.returncode == 0, done.stderr
    return project


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def readable_after_relocating(project: Project) -> None:
    """Runs what was said, and reads what there is."""
    planned = project.run("store", "relocate", "--dry-run")
    assert "2 experiments, 1 run, 1 model" in planned.stdout
    done = project.run("store", "relocate")
    assert (done.returncode, done.stderr) == (0, "")
    predicted = project.run("predict", "latest", "--index", "0-2")
    assert predicted.returncode == 0, predicted.stderr
    assert "relocate" not in predicted.stderr


def test_a_copy_beside_the_original_leaves_it_untouched(original: Project, new_project: NewProject) -> None:
    copied, before = new_project(), contents(original.root)
    shutil.copytree(original.root, copied.root, dirs_exist_ok=True)
    read = copied.run("predict", "latest", "--index", "0-2")
    assert read.returncode == 1
    assert "was moved or copied" in read.stderr
    refused = copied.run("train", *TINY, "seed=1")
    assert refused.returncode == 1
    assert "`harness store relocate` corrects this" in refused.stderr
    assert len(copied.runs()) == 1
    readable_after_relocating(copied)
    assert copied.run("train", *TINY, "seed=1").returncode == 0
    folders = {Path(run.info.artifact_uri.removeprefix("file://")).parents[2] for run in copied.runs()}
    assert folders == {copied.root / "mlruns"}
    assert contents(original.root) == before


def test_a_project_that_was_moved_goes_on_where_it_is(original: Project, new_project: NewProject) -> None:
    first, second = new_project(), new_project()
    shutil.copytree(original.root, first.root, dirs_exist_ok=True)
    assert first.run("store", "relocate").returncode == 0
    second.root.rmdir()
    first.root.rename(second.root)
    unread = second.run("predict", "latest", "--index", "0-2")
    assert unread.returncode == 1
    assert "was moved or copied" in unread.stderr
    readable_after_relocating(second)
    assert not first.root.exists()
