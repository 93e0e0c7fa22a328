"""The habits of the house that no other tool checks."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

MODULES = sorted((REPOSITORY / "harness").rglob("*.py"))
TRACKED = subprocess.run(
    ["git", "ls-files", "*.md", "*.toml", "*.yaml", "*.py", "Makefile", "requirements.lock", ".ci/run"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()
LONGEST = 360  # about 300


def named(module: Path) -> str:
    return str(module.relative_to(REPOSITORY))


def test_a_module_is_short_enough_to_read_at_once() -> None:
    assert [named(module) for module in MODULES if len(module.read_text().splitlines()) > LONGEST] == []


def test_a_module_has_a_name_that_says_what_it_owns_and_a_docstring() -> None:
    assert [named(module) for module in MODULES if module.stem in {"utils", "util", "helpers", "common", "misc"}] == []
    sources = {named(module): source for module in MODULES if (source := module.read_text())}
    assert [name for name, source in sources.items() if not ast.get_docstring(ast.parse(source))] == []


def test_the_lock_has_exact_versions_and_no_addresses() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    assert len(lines) > 100
    for line in lines:
        requirement = line.partition(";")[0]
        assert "==" in requirement
        assert "/" not in requirement
        assert not line.startswith(("-", "#"))


def test_every_dependency_is_locked() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    locked = {line.partition("==")[0] for line in (REPOSITORY / "requirements.lock").read_text().splitlines()}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    named = {item.partition(">")[0].partition("[")[0].lower() for item in wanted}
    assert named - {project["name"]} <= locked  # its own extras for clusters are for the tests too


def test_no_tracked_file_names_this_machine() -> None:
    texts = {name: file.read_text() for name in TRACKED if (file := REPOSITORY / name).exists()}
    assert len(texts) > 100
    assert [name for name, text in texts.items() if f"{REPOSITORY}/" in text or f"{Path.home()}/" in text] == []


WRONG = {
    ("config/schema.py", "def later() -> None:\n    import harness.cli"): "harness.config.schema -> harness.cli",
    ("data/__init__.py", "import harness.tracking.store"): "harness.data is not allowed to import harness.tracking",
    ("strays.py", '"""Has no floor."""'): "strays",
    ("commands/ui.py", "import mlflow"): "harness.commands.ui -> mlflow",
    ("analysis/__init__.py", "import keras"): "harness.analysis -> keras",
    ("config/schema.py", "from omegaconf import OmegaConf"): "harness.config.schema -> omegaconf",
    ("commands/compare.py", "import matplotlib.pyplot"): "harness.commands.compare -> matplotlib",
    ("paths.py", "import click"): "harness.paths -> click",
}
"""What somebody could add to a module, and how lint reports it."""


def test_imports_from_a_higher_floor_are_reported_by_lint(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for module, line in WRONG:
        with (tmp_path / "harness" / module).open("a") as source:
            source.write(f"\n{line}\n")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for report in WRONG.values():
        assert report in done.stdout
