"""Checks a release from outside (`make release-check`): metadata, links, and the wheel in an empty environment.

The environment has the packages of requirements.lock and the wheel, and nothing else: no checkout is on its path. In an
empty folder it runs the README's first example.
"""

from __future__ import annotations

import argparse
import email
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

from tests.conftest import REPOSITORY

EXAMPLE = ["sweep", "experiments=demo"]
"""What `make sweep`, the first command of README.md, runs after fetching the data."""
CONFIGURATIONS = 6


class NotReady(Exception):
    """What keeps the release from being made."""


def main() -> int:
    """Run every check in turn; the first that fails ends it with exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packages-here",
        action="store_true",
        help="use the packages of this environment, rather than install the lock",
    )
    parser.add_argument("--example", nargs="*", default=EXAMPLE, help="the arguments of harness to run")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            wheel = built(Path(temporary))
            check_metadata(wheel)
            check_links()
            harness = installed(wheel, Path(temporary) / "environment", given.packages_here)
            run_example(harness, Path(temporary) / "empty", given.example)
    except NotReady as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1
    print("Ready to be tagged.")
    return 0


def built(folder: Path) -> Path:
    """The wheel, built without a network."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(REPOSITORY)], check=False)
    if done.returncode:
        raise NotReady("the wheel cannot be built.")
    [wheel] = folder.glob("*.whl")
    print(f"Built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def check_metadata(wheel: Path) -> None:
    """Version and changelog agree, and the wheel says what pyproject.toml says; it has the licence and no test data."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    version = project["version"]
    if not re.search(rf"^## \[{re.escape(version)}\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE):
        raise NotReady(f"CHANGELOG.md has no section [{version}].")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = email.message_from_bytes(packed.read(metadata))
    wanted = {
        "Name": project["name"], "Version": version, "License-Expression": project["license"],
        "Summary": project["description"], "Description-Content-Type": "text/markdown",
    }  # fmt: skip
    for key, value in wanted.items():
        if said[key] != value:
            raise NotReady(f"the wheel's metadata has {key}: {said[key]}, not {value}.")
    if len(str(said.get_payload())) < 1_000:
        raise NotReady("the wheel's metadata has no description: is README.md there?")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        raise NotReady("the wheel has no LICENSE.")
    if strangers := [name for name in names if name.startswith(("tests/", "benchmarks/", "mlruns/"))]:
        raise NotReady(f"the wheel has {strangers[0]}, which belongs to the checkout.")
    print(f"Metadata of {version}: as pyproject.toml and CHANGELOG.md say")


def check_links() -> None:
    """Links of the documents, and their shown commands (tests/test_docs.py)."""
    if subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/test_docs.py"], cwd=REPOSITORY, check=False
    ).returncode:
        raise NotReady("the documents have errors (tests/test_docs.py).")


def installed(wheel: Path, place: Path, packages_here: bool) -> Path:
    """The command `harness` of a new environment with the locked packages and the wheel."""
    venv.create(place, symlinks=True, with_pip=False)
    python = place / "bin" / "python"
    if packages_here:
        site = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    else:
        print("Installing the packages of requirements.lock into an empty environment", flush=True)
        sync = ["uv", "pip", "sync", "--quiet", "--python", str(python), str(REPOSITORY / "requirements.lock")]
        if subprocess.run([sys.executable, "-m", *sync], check=False).returncode:
            raise NotReady("requirements.lock cannot be installed.")
    options = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    if subprocess.run([sys.executable, "-m", "pip", *options], check=False).returncode:
        raise NotReady("the wheel cannot be installed.")
    return python.with_name("harness")


def run_example(harness: Path, folder: Path, example: list[str]) -> None:
    """Run the example in an empty folder, with no variable that names the checkout."""
    folder.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "HARNESS_ROOT", "MLFLOW_TRACKING_URI")
    }
    print(f"Running harness {' '.join(example)} in an empty folder", flush=True)
    done = subprocess.run(
        [str(harness), *example], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    if done.returncode:
        raise NotReady(f"harness {' '.join(example)} ended with exit code {done.returncode}.")
    if example == EXAMPLE and f"{CONFIGURATIONS} configurations" not in done.stdout:
        raise NotReady(f"the example does not show {CONFIGURATIONS} configurations.")
    if not (folder / "mlflow.db").is_file():
        raise NotReady("the example left no store in its folder.")


if __name__ == "__main__":
    sys.exit(main())
