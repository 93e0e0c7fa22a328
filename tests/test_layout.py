"""The habits of the house that no other tool checks."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_is_short_enough_to_read_at_once(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_has_a_name_that_says_what_it_owns_and_a_docstring(module: Path) -> None:
    assert module.stem not in {"utils", "util", "helpers", "common", "misc"}
    source = module.read_text()
    assert not source or ast.get_docstring(ast.parse(source))


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
    assert {item.partition(">")[0].lower() for item in wanted} <= locked


@pytest.mark.parametrize("name", TRACKED)
def test_no_tracked_file_names_this_machine(name: str) -> None:
    file = REPOSITORY / name
    if file.exists():
        text = file.read_text()
        assert str(REPOSITORY) + "/" not in text
        assert str(Path.home()) + "/" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("config/schema.py", "def later() -> None:\n    import harness.cli", "A module imports lower floors"),
        ("data/__init__.py", "import harness.tracking.store", "A module imports lower floors"),
        ("strays.py", '"""Has no floor."""', "A module imports lower floors"),
        ("commands/ui.py", "import mlflow", "Only tracking imports MLflow"),
        ("analysis/__init__.py", "import keras", "Only models and training import Keras"),
        ("config/schema.py", "from omegaconf import OmegaConf", "Only composing, sweep and commands import Hydra"),
        ("commands/compare.py", "import matplotlib.pyplot", "Only figures imports matplotlib"),
        ("paths.py", "import click", "Only the command line imports click"),
    ],
)
def test_an_import_that_goes_up_is_reported_by_lint(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(REPOSITORY / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    with (tmp_path / "harness" / module).open("a") as source:
        source.write(f"\n{line}\n")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    broken = [verdict for verdict in done.stdout.splitlines() if "BROKEN" in verdict]
    assert done.returncode == 1
    assert len(broken) == 1, done.stdout
    assert broken[0].startswith(contract)
