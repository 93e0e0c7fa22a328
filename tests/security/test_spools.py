"""What came with a folder of somebody else's is not taken for what this user's runs kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.tracking.relocation import plan, relocate
from harness.tracking.spool import JOURNAL, Origin, Spool, find_spools, follow_store
from harness.tracking.store import open_store
from harness.tracking.sync import upload_before
from tests.security.stranger import Stranger
from tests.security.test_places import attacker

__all__ = ["attacker"]


def planted(project: Path, uri: str, run_id: str = "0" * 32, **more: object) -> Path:
    """A spool that lies in the project, but that no run of this user has written."""
    folder = project / "spool" / run_id
    folder.mkdir(parents=True, mode=0o700)
    for place in (folder.parent, folder):
        place.chmod(0o700)
    header = {"part": 1, "uri": uri, "run_id": run_id, "name": "theirs", "experiment_id": "1", "attempt": 1, **more}
    (folder / JOURNAL).write_text(f"{json.dumps(header)}\n")
    return folder


@pytest.mark.parametrize("mark", ["", "0" * 64, "é", None])
def test_a_spool_of_a_stranger_is_sent_nowhere(
    mark: str | None, project: Path, attacker: tuple[str, list[bytes]], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    address, heard = attacker
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "the user's token")
    folder = planted(project, address, mark=mark)
    assert main(["sync"]) == 1
    assert f"If that is right, name it: harness sync --store {address}" in capsys.readouterr().err
    assert heard == []
    assert (folder / JOURNAL).exists()


def test_a_run_that_is_resumed_takes_nothing_to_another_store(
    project: Path, stranger: Stranger, attacker: tuple[str, list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    address, heard = attacker
    planted(project, address, stranger.run)
    upload_before(open_store(stranger.uri), stranger.run)
    assert heard == []
    assert "meant for another store" in caplog.text


def test_what_this_user_kept_is_told_by_its_mark_and_no_change_of_it_is(project: Path, tmp_path: Path) -> None:
    origin = Origin(f"sqlite:///{tmp_path / 'mlflow.db'}", "1" * 32, "mine", "1")
    Spool.create(project / "spool", origin, 1).lock.release()
    folder = project / "spool" / origin.run_id
    assert Spool(folder).is_marked
    content = (folder / JOURNAL).read_text()
    (folder / JOURNAL).write_text(content.replace("mlflow.db", "other.db"))
    assert not Spool(folder).is_marked
    (tmp_path / "cache" / "spool.key").unlink()
    (folder / JOURNAL).write_text(content)
    assert not Spool(folder).is_marked


@pytest.mark.parametrize("header", ["[]", "{}", "5", '{"part": "x"}', '{"part": 1, "evil": 2}', "", "[" * 9000])
def test_a_malformed_spool_costs_a_line(header: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = planted(project, "sqlite:////x.db")
    (folder / JOURNAL).write_text(f"{header}\n")
    assert main(["sync"]) == 1
    assert str(folder) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["/etc/hostname", "../../../secret", "files/../../../secret", "files/link"])
def test_a_file_outside_of_a_spool_is_not_taken_over(name: str, project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = planted(project, f"sqlite:///{tmp_path / 'mlflow.db'}")
    (folder / "files").mkdir()
    (folder / "files" / "link").symlink_to(tmp_path / "secret")
    with (folder / JOURNAL).open("a") as journal:
        journal.write(json.dumps({"kind": "File", "path": name, "folder": None}) + "\n")
    with pytest.raises(StoreError, match="names a file outside of it"):
        list(Spool(folder).operations())


@pytest.mark.parametrize("line", ["[]", '{"kind": "Evil"}', '{"kind": "Metrics", "evil": 1}', '{"kind": ["File"]}'])
def test_a_line_that_is_no_operation_is_an_error(line: str, project: Path) -> None:
    folder = planted(project, "sqlite:////x.db")
    with (folder / JOURNAL).open("a") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(StoreError, match="no operation"):
        list(Spool(folder).operations())


def test_a_store_that_says_it_was_moved_does_not_get_what_waits_for_another(
    stranger: Stranger, project: Path, tmp_path: Path
) -> None:
    """It says that it lay where the user's own store lies."""
    own = tmp_path / "own"
    (own / "mlruns" / "study").mkdir(parents=True)
    (own / "mlflow.db").write_text("the user's own")
    origin = Origin(f"sqlite:///{own / 'mlflow.db'}", "1" * 32, "mine", "1")
    Spool.create(project / "spool", origin, 1).lock.release()
    stranger.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'study'", f"{own}/mlruns/study")
    stranger.execute("UPDATE runs SET artifact_uri = NULL")
    stranger.execute("UPDATE logged_models SET artifact_location = ''")
    move = plan(stranger.database)
    assert str(own / "mlruns") in move.places
    relocate(move)
    follow_store(move, open_store(stranger.uri))
    [[spool]] = find_spools().values()
    assert spool.origin == origin
