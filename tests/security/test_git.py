"""Asking git about the code starts no program that a repository or the environment names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.tracking.provenance import code_state, code_tags, state_of

PROGRAMS = (
    "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "diff.external", "diff.evil.command",
    "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "filter.a=b c.clean",
    "credential.helper", "gpg.program", "remote.origin.uploadpack",
)  # fmt: skip
VARIABLES = ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_PROXY_COMMAND")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A checkout of a package with a submodule, in which everything that can name a program names one."""
    ran, script = tmp_path / "ran", tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> "{ran}"\ncat\n')
    script.chmod(0o755)
    inner, folder = tmp_path / "inner", tmp_path / "checkout"
    for place in (inner, folder):
        (place / "harness").mkdir(parents=True)
        (place / "harness" / "__init__.py").write_text("width = 1\n")
        git(place, "init", "-q")
        git(place, "add", ".")
        git(place, "commit", "-q", "-m", "one")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n*.txt filter=a=b\n")
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "-q", "-m", "two")
    (folder / "harness" / "__init__.py").write_text("width = 2\n")
    (folder / "sub" / "harness" / "__init__.py").write_text("width = 3\n")
    for place in (folder, folder / "sub"):
        for key in PROGRAMS:
            git(place, "config", key, str(script))
        git(place, "config", "filter.evil.required", "true")
        git(place, "config", "remote.origin.url", f"ext::{script}")
        git(place, "config", "remote.origin.promisor", "true")
    for place in (folder / ".git", folder / ".git" / "modules" / "sub"):
        (place / "hooks").mkdir(exist_ok=True)
        for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
            (place / "hooks" / hook).symlink_to(script)
    return folder


def test_a_checkout_whose_configuration_names_programs_is_described_without_them(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / "script"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    code = state_of(hostile / "harness")
    monkeypatch.delenv("GIT_DIR")
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert code.dirty
    assert "+width = 2" in code.diff
    assert "width = 3" not in code.diff
    for name in VARIABLES:
        monkeypatch.delenv(name)
    subprocess.run(["git", "-C", str(hostile), "status"], capture_output=True, check=False)
    assert (tmp_path / "ran").exists(), "the programs would have run"


def test_the_root_of_a_project_is_not_asked(hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ROOT", str(hostile))
    monkeypatch.chdir(hostile)
    code_state.cache_clear()
    tags = code_tags(code_state())
    assert not (tmp_path / "ran").exists()
    assert git(Path(__file__).parent, "rev-parse", "HEAD") == tags["mlflow.source.git.commit"]
