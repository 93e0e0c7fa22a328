"""What a person without our environment meets: the Makefile's set-up and the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FAKE_PYTHON = """#!/bin/sh
# Stands for an interpreter: its environments hold tools that note each call, and fail when FAILING names them.
case "$*" in
*"-m venv"*)
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    for tool in uv harness; do cp "$0" .venv/bin/$tool; done ;;
esac
echo "$(basename "$0") $*" >> calls
[ "$(basename "$0")" != "$FAILING" ]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what set-up reads, and a fake interpreter: the logic of the Makefile is tested, not the network."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, tmp_path)
    fake = tmp_path / "fake-python"
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    return tmp_path


def setup(checkout: Path, failing: str = "", python: str = "./fake-python") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "setup", f"PYTHON={python}"],
        cwd=checkout,
        env={**environment, "FAILING": failing},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(checkout: Path) -> list[str]:
    """What set-up has called since the last look."""
    log = checkout / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_a_second_set_up_does_nothing(checkout: Path) -> None:
    assert setup(checkout).returncode == 0
    first = calls(checkout)
    assert any(call.startswith("uv pip sync") and call.endswith("requirements.lock") for call in first)
    assert setup(checkout).returncode == 0
    assert calls(checkout) == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_dependency_sets_up_again(checkout: Path, name: str) -> None:
    setup(checkout)
    calls(checkout)
    with (checkout / name).open("a") as file:
        file.write("\n")
    assert setup(checkout).returncode == 0
    assert any(call.startswith("uv pip sync") for call in calls(checkout))


def test_a_failed_set_up_is_repeated(checkout: Path) -> None:
    assert setup(checkout, failing="uv").returncode != 0
    calls(checkout)
    assert setup(checkout).returncode == 0
    assert any(call.startswith("uv pip sync") for call in calls(checkout))


def test_a_missing_python_version_is_one_message_that_says_what_to_do(checkout: Path) -> None:
    done = setup(checkout, python="/no/such/python")
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (checkout / ".venv").exists()


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "sweep", "ui", "test", "test-fast", "lint", "format", "lock", "clean"):
        assert f"make {target} " in listed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel, built with the tools of this environment and no network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--wheel-dir", str(folder), str(REPOSITORY)],
        check=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_contains_configuration_and_experiments(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "experiments"):
        files = list((REPOSITORY / folder).rglob("*.yaml"))
        assert files
        assert {f"harness/{path.relative_to(REPOSITORY).as_posix()}" for path in files} <= packed
    assert not [name for name in packed if name.startswith(("tests/", "mlruns/"))]


@pytest.mark.slow
def test_the_wheel_contains_the_templates_of_pages(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = list((REPOSITORY / "harness").glob("**/templates/*"))
    assert {path.suffix for path in files} == {".html", ".jinja", ".css", ".js"}
    assert {path.relative_to(REPOSITORY).as_posix() for path in files} <= packed


@pytest.mark.slow
def test_an_installed_wheel_works_from_any_folder_and_keeps_its_files_there(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    # Behind the installed wheel, the dependencies of this environment (but not its editable harness).
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "MLFLOW_"))}

    def harness(*arguments: str) -> str:
        done = subprocess.run(
            [str(python.with_name("harness")), *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Neither the repository in which the environment lies, nor that of the project, has the harness's code.
    for place in (tmp_path, folder):
        git = ["git", "-C", str(place), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Not the harness"], check=True)
    code = "from harness.tracking.provenance import code_state, code_tags; print(code_tags(code_state()))"

    def known() -> str:
        rooted = environment | {"HARNESS_ROOT": str(folder)}
        return subprocess.check_output([str(python), "-c", code], cwd=folder, env=rooted, text=True).strip()

    tags = {"harness.version": version("overfitting-harness"), "harness.source": "wheel"}
    assert known() == str(tags)
    # As pip leaves it behind after `pip install git+https://...` (PEP 610).
    [information] = site.glob("overfitting_harness-*.dist-info")
    (information / "direct_url.json").write_text(
        '{"url": "https://host/it", "vcs_info": {"vcs": "git", "commit_id": "0123"}}'
    )
    assert known() == str(tags | {"mlflow.source.git.commit": "0123"})

    assert "Train a grid of settings" in harness("--help")
    assert "learning_rate: 0.01" in harness("train", "optimizer=sgd", "optimizer.learning_rate=0.01", "--cfg", "job")
    where = "import harness.paths as p; print(p.PACKAGE); print(p.default_store_uri())"
    answer = subprocess.check_output([str(python), "-c", where], cwd=folder, env=environment, text=True)
    assert answer.splitlines() == [str(site / "harness"), f"sqlite:///{folder / 'mlflow.db'}"]
