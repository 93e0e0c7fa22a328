"""One password, given in every way that there is, is in nothing that is printed, logged, stored or left on disk."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.tracking.spool import Origin, Spool
from tests.integration.conftest import SMALL, NewProject, Project
from tests.tracking.servers import mlflow_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET = "hush" + "7Xq"  # in two parts: a run may record this file, where it is not committed
FORMS = (SECRET.encode(), base64.b64encode(f"ann:{SECRET}".encode()))
TINY = (*SMALL, "debug=tiny", "figures=none", "tracking.log_model=false", "threads=1")
AWAY = "http://127.0.0.1:9"


@dataclass
class Said:
    """What every command printed, by what was typed and set."""

    project: Project
    server: Path
    printed: dict[str, str] = field(default_factory=dict)

    def command(self, code: int, *arguments: str, **environment: str) -> None:
        done = self.project.run(*arguments, environment=environment)
        assert done.returncode == code, f"{arguments} {environment}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.printed[f"{environment} {arguments}"] = done.stdout + done.stderr


def addresses(host: str) -> Sequence[str]:
    """Addresses that hold the password, at the host and port."""
    return (f"http://ann:{SECRET}@{host}", f"http://{SECRET}@{host}", f"http://{host}/?token={SECRET}",
            f"postgresql://ann:{SECRET}@{host}/db", f"postgresql://{host}/db?user=ann&password={SECRET}")  # fmt: skip


@pytest.fixture(scope="module")
def said(new_project: NewProject, tmp_path_factory: pytest.TempPathFactory) -> Said:
    project, folder = new_project(), tmp_path_factory.mktemp("server")
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with mlflow_server(folder) as url:
        said, host = Said(project, folder), url.removeprefix("http://")
        said.command(0, "train", *TINY, f"tracking.uri=http://ann:{SECRET}@{host}")
        given = {"MLFLOW_TRACKING_URI": f"http://ann:{SECRET}@{host}"}
        said.command(0, "sweep", *TINY, "seed=0,1", **given)
        said.command(0, "compare", **given)
        said.command(0, "compare", "--store", f"http://ann:{SECRET}@{host}")
        apart = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_URI": url}
        said.command(0, "train", *TINY, "seed=2", **apart)
        said.command(0, "compare", MLFLOW_TRACKING_TOKEN=SECRET, MLFLOW_TRACKING_URI=url)
        said.command(0, "ui", **given)
    for address in addresses("127.0.0.1:9"):
        said.command(1, "--debug", "train", *TINY, f"tracking.uri='{address}'", **quick)
        said.command(0, "train", "--cfg", "job", f"tracking.uri='{address}'")
    for address in addresses("127.0.0.1:9")[::4]:
        said.command(1, "compare", "--store", address, **quick)
    said.command(2, f"tracking.uri={address}")
    said.command(2, "ui", f"tracking.uri={address}")
    wrong = ("trackng.uri='{}'", "+tracking.url='{}'", "tracking={}", "{}", "tracking.uri={}==")
    for form, given in zip(wrong, addresses("127.0.0.1:9"), strict=True):
        said.command(2, "train", *TINY, form.format(given))
    said.command(2, "train", f"MLFLOW_TRACKING_PASSWORD={SECRET}")
    said.command(2, "train", f"+tracking.token={SECRET}")
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
