"""Which code a run records: that of the package, wherever the project lies."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.tracking import provenance
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


def test_files_that_are_not_tracked_yet_are_in_the_diff_which_makes_them_again(checkout: Path, tmp_path: Path) -> None:
    new = {
        "harness/model.py": "width = 3\r\n",
        "my study/größe.yaml": "seed: 1\nno end",
        "empty.txt": "",
        "run.sh": "#!/bin/sh\n",
    }
    for name, text in new.items():
        file = checkout.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode())
    (checkout.parent / "run.sh").chmod(0o755)
    (checkout / "__init__.py").write_text("changed = True\n")
    git(checkout, "config", "status.showUntrackedFiles", "no")
    git(checkout, "config", "diff.noprefix", "true")
    code = state_of(checkout)
    assert code.dirty
    assert code.missing == ""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(checkout.parent), str(clone))
    subprocess.run(["git", "-C", str(clone), "apply", "-"], input=code.diff.encode(), check=True)
    assert {name: (clone / name).read_bytes().decode() for name in new} == new
    assert (clone / "run.sh").stat().st_mode & 0o111
    assert (clone / "harness" / "__init__.py").read_text() == "changed = True\n"


def test_what_is_not_in_the_diff_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "UNTRACKED_FILE_BYTES", 1000)
    monkeypatch.setattr(provenance, "UNTRACKED_BYTES", 1500)
    folder = checkout.parent
    (folder / ".env").write_text("PASSWORD=hush\n")
    (folder / "big.csv").write_text("1,2\n" * 300)
    (folder / "weights.bin").write_bytes(b"\x00\xff\xfe")
    (folder / "lost.py").symlink_to("/nowhere")
    (folder / 'say "hi".py').touch()
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "a.log").touch()
    (folder / "one.py").write_text("x" * 900)
    (folder / "two.py").write_text("y" * 900)
    code = state_of(checkout)
    assert "+" + "x" * 900 in code.diff
    assert "hush" not in code.diff
    assert code.missing.split(", ") == [
        ".env (hidden)", ".gitignore (hidden)", "big.csv (1200 bytes)", "lost.py (no plain file)",
        'say "hi".py (a name that a diff cannot hold)', "two.py (900 bytes)", "weights.bin (no text)",
    ]  # fmt: skip
    assert code_tags(code)["harness.git.missing"] == code.missing


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
