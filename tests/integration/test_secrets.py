"""One password, given in every way that there is, is in nothing that is printed, logged, stored or left on disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.cli import main
from harness.tracking.spool import Origin, Spool
from tests.integration.conftest import SMALL, NewProject, Project, waited
from tests.tracking.servers import mlflow_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET = "hush" + "7Xq"  # in two parts: a run may record this file, where it is not committed
FORMS = (SECRET.encode(), base64.b64encode(f"ann:{SECRET}".encode()))
TINY = (*SMALL, "engine=keras", "debug=tiny", "figures=none", "tracking.log_model=false", "threads=1")
AWAY = "http://127.0.0.1:9"


@dataclass
class Said:
    """What every command printed, by what was typed and set."""

    project: Project
    server: Path
    printed: dict[str, str] = field(default_factory=dict)

    def commands(self, code: int, *commands: Sequence[str], **environment: str) -> None:
        """Real commands, side by side."""
        started = [self.project.start(*arguments, environment=environment) for arguments in commands]
        for arguments, process in zip(commands, started, strict=True):
            done = waited(process)
            self._note(code, arguments, environment, done.returncode, done.stdout + done.stderr)

    def here(self, code: int, *arguments: str, **environment: str) -> None:
        """A command that is refused early, or only shows something: in this process."""
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
            for name, value in {"HARNESS_ROOT": str(self.project.root), **environment}.items():
                patch.setenv(name, value)
            patch.chdir(self.project.elsewhere)
            ended = main(arguments)
        self._note(code, arguments, environment, ended, out.getvalue())

    def _note(self, code: int, arguments: Sequence[str], environment: dict[str, str], ended: int, text: str) -> None:
        assert ended == code, f"{arguments} {environment}: {ended}\n{text}"
        self.printed[f"{environment} {arguments}"] = text


def addresses(host: str) -> Sequence[str]:
    """Addresses that hold the password, at the host and port."""
    return (f"http://ann:{SECRET}@{host}", f"http://{SECRET}@{host}", f"http://{host}/?token={SECRET}",
            f"postgresql://ann:{SECRET}@{host}/db", f"postgresql://{host}/db?user=ann&password={SECRET}")  # fmt: skip


@pytest.fixture(scope="module")
def said(new_project: NewProject, tmp_path_factory: pytest.TempPathFactory) -> Said:
    project, folder = new_project(), tmp_path_factory.mktemp("server")
    quick, dead = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, "127.0.0.1:9"
    with mlflow_server(folder) as url:
        said, host = Said(project, folder), url.removeprefix("http://")
        said.commands(0, ("train", *TINY, f"tracking.uri=http://ann:{SECRET}@{host}"))
        given = {"MLFLOW_TRACKING_URI": f"http://ann:{SECRET}@{host}"}
        apart = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_URI": url}
        said.commands(0, ("sweep", *TINY, "seed=0,1"), ("compare",), **given)
        said.commands(0, ("train", *TINY, "seed=2"), **apart)
        said.here(0, "compare", "--store", f"http://ann:{SECRET}@{host}")
        said.here(0, "compare", MLFLOW_TRACKING_TOKEN=SECRET, MLFLOW_TRACKING_URI=url)
        said.here(0, "ui", **given)
    away = addresses(dead)[::2]
    said.commands(1, *(("--debug", "train", *TINY, f"tracking.uri='{address}'") for address in away), **quick)
    for address in addresses(dead):
        said.here(0, "train", "--cfg", "job", f"tracking.uri='{address}'")
    for address in addresses(dead)[1::2]:
        said.here(1, "compare", "--store", address, **quick)
    said.here(2, f"tracking.uri={address}")
    said.here(2, "ui", f"tracking.uri={address}")
    for form, given in zip(
        ("trackng.uri='{}'", "+tracking.url='{}'", "tracking={}", "{}"), addresses(dead)[1:], strict=True
    ):
        said.here(2, "train", *TINY, form.format(given))
    said.here(2, "train", f"MLFLOW_TRACKING_PASSWORD={SECRET}")
    said.here(2, "train", f"+tracking.token={SECRET}")
    return said


def test_nothing_that_was_printed_holds_it(said: Said) -> None:
    assert [command for command, text in said.printed.items() if any(form.decode() in text for form in FORMS)] == []


def test_no_file_that_a_run_or_its_server_left_holds_it(said: Said) -> None:
    files = [file for place in (said.project.folder, said.server) for file in place.rglob("*") if file.is_file()]
    assert {"config.yaml", "multirun.yaml", "run.log", "mlflow.db"} <= {file.name for file in files}
    assert [file for file in files if any(form in file.read_bytes() for form in FORMS)] == []


def test_the_runs_were_kept_where_the_address_says(said: Said) -> None:
    runs = said.project.runs(f"sqlite:///{said.server / 'mlflow.db'}")
    assert sorted(run.data.tags["harness.kind"] for run in runs) == ["run", "run", "run", "sweep"], (
        "the sweep reuses the first"
    )
    assert not (said.project.root / "mlflow.db").exists()


def test_the_one_file_that_must_hold_it_is_for_its_owner_alone(project: Path) -> None:
    spool = Spool.create(project / "spool", Origin(f"http://ann:{SECRET}@{AWAY}", "0" * 32, "a run", "1"), 1)
    spool.lock.release()
    assert [folder.stat().st_mode & 0o777 for folder in (spool.folder, spool.folder.parent)] == [0o700, 0o700]
