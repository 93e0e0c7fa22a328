"""The words of the house: the field's own, each with one meaning."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

OLD = {
    "crew": "worker pool", "slot": "worker", "conduct": "run", "conducting": "runner", "vigil": "lease, heartbeat",
    "claiming": "lease", "judge": "evaluate", "judges": "evaluates", "judged": "evaluated, scored",
    "judging": "evaluation", "repeating": "reproduce", "foreign": "external", "soundness": "preflight checks",
    "lettering": "text", "goes on with": "continues", "gone on with": "resumed", "brought home": "uploaded",
    "held to": "compared with", "by hand": "manually", "at work": "running",
}  # fmt: skip
"""Words that a reader had to translate, and what is written instead."""
WRITTEN = re.compile(r'["`]judged_on["`]|foreign[ _]key\w*|\bslots=True')
"""What is called so elsewhere: a column of `harness compare --format csv`, of databases, of dataclasses."""
TOLD = re.compile(r"CHANGELOG|CONTRIBUTING|docs/(studies/|benchmarks\.md)|tests/(test_(words|docs)\.py|data/)")
"""Old entries, the lists of these words, what a program wrote, and data."""


def tracked() -> list[str]:
    names = subprocess.run(
        ["git", "ls-files", "*.md", "*.py", "*.yaml", "*.toml", "*.html", "*.jinja", "Makefile"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [name for name in names if not TOLD.search(name) and (REPOSITORY / name).is_file()]


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_the_words_are_those_of_the_field(old: str, new: str) -> None:
    pattern = r"\s+".join(old.split())
    wanted = re.compile(rf"(?<![A-Za-z]){pattern}(?![A-Za-z])", re.IGNORECASE)
    found = [name for name in tracked() if wanted.search(WRITTEN.sub("", (REPOSITORY / name).read_text()))]
    assert not found, f"{old}: write {new}"


def test_a_name_has_one_meaning() -> None:
    """A class is defined once in the package; two modules of one name are a subject and its subcommand."""
    classes, modules = defaultdict(list), defaultdict(list)
    for file in sorted((REPOSITORY / "harness").rglob("*.py")):
        name = str(file.relative_to(REPOSITORY))
        if file.stem != "__init__" and file.parent.name != "commands":
            modules[file.stem].append(name)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(name)
    assert not {name: places for name, places in (classes | modules).items() if len(places) > 1}


def test_a_file_is_named_by_the_words_too() -> None:
    parts = {part for name in tracked() for part in re.split(r"[_/.]", str(Path(name).with_suffix("")))}
    assert not parts & {old for old in OLD if " " not in old}
