"""Which code a run records: that of the package, wherever the project lies."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.tracking.provenance import code_state, code_tags, other_code, other_libraries, state_of
from tests.conftest import REPOSITORY


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> Path:
    """A repository with one commit in a new folder, of a file that says what it is."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "notes.txt").write_text("mine\n")
    git(folder, "add", "notes.txt")
    git(folder, "commit", "-q", "-m", "Notes")
    return folder


def package(folder: Path) -> Path:
    """A package of the harness's name in a folder."""
    (folder / "harness").mkdir(parents=True)
    (folder / "harness" / "__init__.py").touch()
    return folder / "harness"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package that its repository tracks."""
    folder = repository(tmp_path / "checkout")
    found = package(folder)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "The package")
    return found


def test_the_code_is_that_of_the_package_and_not_of_the_projects_root(project: Path) -> None:
    theirs = repository(project)
    code_state.cache_clear()
    code = code_state()
    assert code.commit == git(REPOSITORY, "rev-parse", "HEAD") != git(theirs, "rev-parse", "HEAD")
    assert (code.source, code.version) == ("checkout", version("overfitting-harness"))
    assert code_tags(code)["mlflow.source.git.commit"] == code.commit


def test_what_is_not_committed_makes_a_checkout_dirty_and_is_kept(checkout: Path) -> None:
    clean = state_of(checkout)
    assert (clean.source, clean.branch, clean.dirty, clean.diff) == ("checkout", "trunk", False, "")
    (checkout / "__init__.py").write_text("width = 2\n")
    changed = state_of(checkout)
    assert changed.commit == clean.commit == git(checkout, "rev-parse", "HEAD")
    assert changed.dirty
    assert "+width = 2\n" in changed.diff


@pytest.mark.parametrize("place", [".venv/lib/python/site-packages", "vendored", "."])
def test_a_repository_that_does_not_track_the_package_says_nothing_of_its_code(tmp_path: Path, place: str) -> None:
    found = package(repository(tmp_path / "theirs") / place)
    code = state_of(found)
    assert (code.commit, code.branch, code.source) == ("", "", "copy")
    assert code.version == version("overfitting-harness")
    assert not [tag for tag in code_tags(code) if "git" in tag]


def test_the_environment_points_git_at_no_other_repository(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert state_of(checkout).commit != state_of(package(other)).commit == ""
    monkeypatch.undo()
    assert state_of(checkout).commit == git(checkout, "rev-parse", "HEAD")


def test_no_program_that_the_repository_names_is_started_and_nothing_is_written(checkout: Path) -> None:
    trap = checkout.parent / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {checkout.parent}/sprung\nexit 1\n")
    trap.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(trap))
    git(checkout, "config", "diff.external", str(trap))
    git(checkout, "config", "diff.mine.textconv", str(trap))
    (checkout.parent / ".gitattributes").write_text("*.py diff=mine\n")
    hook = checkout.parent / ".git" / "hooks" / "post-index-change"
    shutil.copy(trap, hook)
    (checkout / "__init__.py").write_text("width = 2\n")
    index = (checkout.parent / ".git" / "index").stat().st_mtime_ns
    assert "+width = 2\n" in state_of(checkout).diff
    assert not (checkout.parent / "sprung").exists()
    assert (checkout.parent / ".git" / "index").stat().st_mtime_ns == index


def test_no_git_at_all_leaves_the_version(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_tags(state_of(checkout)) == {"harness.version": version("overfitting-harness"),
                                             "harness.source": "copy"}  # fmt: skip


def test_versions_of_the_libraries_differ_where_either_does_and_are_said() -> None:
    same = {"harness.tensorflow": version("tensorflow"), "harness.keras": version("keras")}
    assert other_libraries(same) == other_libraries({}) == ""
    for tag in same:
        assert "1.0" in other_libraries({**same, tag: "1.0"})


def test_code_is_other_by_version_commit_or_what_was_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    same = code_tags(code_state()) | {"harness.git.dirty": "false"}
    monkeypatch.setattr("harness.tracking.provenance.code_tags", lambda code: same)
    assert other_code(same) == ""
    assert "0.0.1" in other_code({**same, "harness.version": "0.0.1"})
    assert "abcdef12" in other_code({**same, "mlflow.source.git.commit": "abcdef1234"})
    assert "uncommitted" in other_code({**same, "harness.git.dirty": "true"})
    assert other_code({}), "what nobody recorded is not known to be the same"
    dirty = same | {"harness.git.dirty": "true"}
    monkeypatch.setattr("harness.tracking.provenance.code_tags", lambda code: dirty)
    assert other_code(dirty), "what was not committed may be something else by now"
