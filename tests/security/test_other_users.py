"""What the harness keeps is its user's alone, unless its folder is shared on purpose; what others put in its way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from harness import paths
from harness.cli import main
from harness.errors import HarnessError, StoreError
from harness.tracking.models import run_artifact
from harness.tracking.reading import read_runs
from harness.tracking.spool import Origin, Spool, find_spools
from harness.tracking.store import Store, open_store
from harness.tracking.writing import RunIdentity, tracked_run
from harness.untrusted import planted

ROOT = os.geteuid() == 0
"""Only root can become other users. Elsewhere the tests look at the modes by which the system keeps others out."""
ANN, BOB, EVE = 54331, 54332, 54333
TEAM = 54399
PRIVATE, SHARED = (0o600, 0o700), (0o660, 0o770)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that others can get to, which those of pytest are not; and no project's root."""
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    root = folder / "project"
    root.mkdir()
    monkeypatch.setenv("HARNESS_ROOT", str(root))
    monkeypatch.setenv("HARNESS_CACHE", str(folder / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    yield root
    rmtree(folder)


@contextmanager
def under(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        with paths.private_files():
            yield
    finally:
        assert os.umask(before) == umask, "the command gives the user's umask back"


def modes(folder: Path) -> dict[str, int]:
    """The modes of all that is in a folder, without the bit by which it hands its group on."""
    return {str(path.relative_to(folder)): path.lstat().st_mode & 0o1777 for path in sorted(folder.rglob("*"))}


def as_user(number: int, groups: list[int], work: Callable[[], object]) -> None:
    """Do `work` in a process that has become another user."""
    sys.stderr.flush()
    child = os.fork()
    if not child:
        try:
            os.setgroups(groups)
            os.setgid(number)
            os.setuid(number)
            work()
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def nobody_can_read(folder: Path) -> None:
    """No other user gets at a file in `folder`, nor may list what is kept in it."""
    if ROOT:
        found = subprocess.run(
            ["find", str(folder), "-mindepth", "1", "-readable"], capture_output=True, text=True, check=False,
            user=EVE, group=EVE, extra_groups=[],
        )  # fmt: skip
        assert found.stdout == ""
    assert {path: oct(mode) for path, mode in modes(folder).items() if mode & 0o007} == {}


def keep(root: Path) -> None:
    """Write as commands do, each in its own way."""
    paths.make_folder(root / "outputs")
    run = root / "outputs" / "runs" / "now"
    run.mkdir(parents=True)
    (run / "run.log").write_text("said")
    paths.make_folder(root / "checkpoints")
    paths.write_text(root / "checkpoints" / "state.npz", "state", kept=True)
    paths.make_file(root / "mlflow.db", paths.umask_in(root))
    with Store(f"sqlite:///{root / 'mlflow.db'}").exclusive():
        pass


@pytest.mark.parametrize(
    ("umask", "folder", "expected"),
    [
        (0o022, 0o755, PRIVATE), (0o002, 0o775, PRIVATE), (0o077, 0o700, PRIVATE), (0o000, 0o777, PRIVATE),
        (0o022, 0o2755, PRIVATE), (0o000, 0o1777, PRIVATE), (0o027, 0o750, PRIVATE),
        (0o022, 0o2770, SHARED), (0o002, 0o2775, SHARED), (0o000, 0o2777, SHARED), (0o027, 0o2770, SHARED),
        (0o077, 0o2770, PRIVATE),
    ],
)  # fmt: skip
def test_what_is_kept_is_private_unless_its_folder_is_shared_on_purpose(
    umask: int, folder: int, expected: tuple[int, int], place: Path
) -> None:
    place.chmod(folder)
    with under(umask):
        keep(place)
    found = modes(place)
    assert len(found) == 8
    for path, mode in found.items():
        assert mode == expected[(place / path).is_dir()], f"{path}: {mode:o}"
    for path in place.rglob("*"):
        if path.is_dir():
            assert bool(path.stat().st_mode & stat.S_ISGID) == bool(folder & stat.S_ISGID)
    nobody_can_read(place)


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775), (0o077, *PRIVATE)])
def test_what_the_user_names_has_the_modes_of_the_users_umask(umask: int, file: int, folder: int, place: Path) -> None:
    with under(umask):
        paths.write_text(place / "deep" / "table.csv", "a,b")
        with paths.whole_folder(place / "exported") as exported:
            (exported / "model.keras").write_text("model")
    assert modes(place) == {
        "deep": folder, "deep/table.csv": file, "exported": folder, "exported/model.keras": file,
    }  # fmt: skip


def test_a_file_that_is_written_again_keeps_its_modes(place: Path) -> None:
    target = place / "table.csv"
    for mode in (0o600, 0o640):
        target.touch()
        target.chmod(mode)
        with under(0o022):
            paths.write_text(target, "a,b")
        assert modes(place) == {"table.csv": mode}


def test_a_store_of_ones_own_is_read_by_nobody_else(place: Path) -> None:
    with under(0o000):
        with tracked_run(open_store(), RunIdentity("mine", "study"), diff=False) as run:
            run.log_text("code/uncommitted.diff", "a diff")
        Spool.create(place / "spool", Origin(open_store().uri, "ab12", "mine", "1"), 1).lock.release()
    assert set(modes(place).values()) <= set(PRIVATE)
    assert list(place.rglob("uncommitted.diff"))
    nobody_can_read(place)


def test_colleagues_share_a_store_in_a_folder_that_is_shared(place: Path) -> None:
    """The project is elsewhere: each has its own."""

    def work(folder: Path) -> None:
        store, name = Store(f"sqlite:///{folder / 'mlflow.db'}"), f"by {os.geteuid()}"
        with under(0o022), tracked_run(store, RunIdentity(name, "study"), diff=False) as run:
            run.log_text("notes/note.txt", "said")

    def look(folder: Path) -> None:
        store = Store(f"sqlite:///{folder / 'mlflow.db'}")
        for run in read_runs(store):
            with run_artifact(store, run, "notes/note.txt") as file:
                assert file.read_text() == "said"

    own = place.parent / "shared"
    own.mkdir()
    own.chmod(0o2770)
    work(own)  # imports everything: other users may not be able to read the libraries
    look(own)
    if ROOT:
        team = place.parent / "team"
        team.mkdir()
        os.chown(team, ANN, TEAM)
        team.chmod(0o2770)
        for user in (ANN, BOB):
            as_user(user, [TEAM], partial(work, team))
            as_user(user, [TEAM], partial(look, team))
        as_user(ANN, [TEAM], partial(look, team))
        assert {path.stat().st_gid for path in team.rglob("*")} == {TEAM}
        assert {path.stat().st_uid for path in team.rglob("note.txt")} == {ANN, BOB}
    for folder in place.parent.iterdir():
        assert set(modes(folder).values()) <= set(SHARED)
        nobody_can_read(folder)


def test_a_place_in_a_folder_of_everybodys_must_not_be_a_strangers(place: Path) -> None:
    for kind in ("own", "link", "hard link", *(["other"] if ROOT else [])):
        target = place.parent / kind
        target.write_text("")
        path = place / kind.replace(" ", "")
        if kind == "link":
            path.symlink_to(target)
        else:
            os.link(target, path)
        if kind in ("own", "other"):
            target.unlink()
        if kind == "other":
            os.chown(path, EVE, EVE)
        for mode in (0o755, 0o775, 0o2775):
            place.chmod(mode)
            assert planted(path) == "", "only those put it there who may write there"
        for mode in (0o777, 0o1777):
            place.chmod(mode)
            assert ("" if kind == "own" else "everybody may write to") in planted(path)
            assert bool(planted(path)) == (kind != "own")
    assert planted(place / "nothing") == planted(place / "own" / "below") == ""


@pytest.mark.parametrize("name", ["outputs", "checkpoints", "mlruns", "mlflow.db", "outputs/runs"])
def test_nothing_is_trained_into_what_a_stranger_has_put_there(
    name: str, place: Path, subset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = place.parent / "theirs"
    theirs.mkdir()
    path = place / name
    path.parent.mkdir(exist_ok=True)
    for folder in (path.parent, place):
        folder.chmod(0o1777)
    path.symlink_to(theirs)
    if ROOT:
        os.chown(path, EVE, EVE, follow_symlinks=False)
    assert main(["train", f"dataset.directory={subset}", "dataset.train_size=100", "dataset.test_size=100"]) == 2
    said = capsys.readouterr().err
    assert f"{path.name} in it" in said or "is a link" in said or "folder" in said
    assert "Traceback" not in said
    assert sorted(theirs.iterdir()) == []
    assert sorted(file.name for file in place.iterdir()) == [path.relative_to(place).parts[0]]


def test_a_store_that_a_stranger_has_put_there_takes_no_run(place: Path) -> None:
    place.chmod(0o1777)
    (place / "real.db").touch()
    os.link(place / "real.db", place / "mlflow.db")
    with pytest.raises(HarnessError, match=r"everybody may write to .* is a link\. Use a folder of your own"):
        open_store(f"sqlite:///{place / 'mlflow.db'}").check_writable()


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "another's"])
def test_a_lock_that_is_none_is_waited_for_by_nobody(kind: str, place: Path) -> None:
    lock = place / "mlflow.db.lock"
    if kind == "fifo":
        os.mkfifo(lock)
    elif kind == "link":
        lock.symlink_to(place.parent / "diary")
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.touch(0o000 if ROOT else 0o400)
    began = time.monotonic()

    def take() -> None:
        store = Store(f"sqlite:///{place / 'mlflow.db'}")
        with pytest.raises(StoreError, match=r"no plain file|cannot be taken"), store.exclusive():
            pass

    if kind == "another's" and ROOT:
        place.chmod(0o777)
        as_user(EVE, [], take)
    else:
        take()
    assert time.monotonic() - began < 5
    assert not (place.parent / "diary").exists()


@pytest.mark.parametrize("name", ["outputs", "outputs/runs", "checkpoints"])
def test_a_file_in_the_place_of_a_folder_is_told_before_anything_is_written(
    name: str, place: Path, subset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / name).parent.mkdir(exist_ok=True)
    os.mkfifo(place / name)
    assert main(["train", f"dataset.directory={subset}", "dataset.train_size=100", "dataset.test_size=100"]) == 2
    assert f"{place / name} is not a folder" in capsys.readouterr().err
    assert not (place / "mlflow.db").exists()


def test_a_spool_whose_journal_is_a_fifo_is_left_alone(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "spool" / "ab12").mkdir(0o700, parents=True)
    os.mkfifo(place / "spool" / "ab12" / "journal.jsonl", 0o600)
    assert find_spools() == {}
    assert "is left alone" in caplog.text


PLANTED = (
    "multiprocessing",
    "numpy",
    "socket",
    "pickle",
    "runpy",
    "sitecustomize",
    "usercustomize",
    "harness",
    "hydra",
)
SPAWNING = """
import os
from harness.surroundings import prepare
if __name__ == "__main__":
    prepare()
    import multiprocessing
    child = multiprocessing.get_context("spawn").Process(target=os.getpid)
    child.start()
    child.join()
    print(child.exitcode)
"""


def test_nothing_in_the_working_directory_is_imported(place: Path) -> None:
    """Workers are started with `python -c`, to which the working directory is the first place to look for modules."""
    for name in PLANTED:
        (place / f"{name}.py").write_text(f"open({str(place / 'ran')!r}, 'a').write({name!r})\n")
    (place / "hydra_plugins").mkdir()
    (place / "hydra_plugins" / "evil.py").write_text(f"open({str(place / 'ran')!r}, 'a').write('plugin')\n")
    (place / "conf").mkdir()
    (place / "conf" / "config.yaml").write_text("evil: true\n")
    command = place.parent / "command.py"
    command.write_text(SPAWNING)
    spawned = subprocess.run([sys.executable, str(command)], cwd=place, capture_output=True, text=True, check=False)
    assert spawned.stdout == "0\n", spawned.stderr
    composed = subprocess.run(
        [str(Path(sys.executable).with_name("harness")), "train", "--cfg", "job"],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert composed.returncode == 0
    assert "evil" not in composed.stdout
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    "header",
    ["", "x", "[]", "5", "null", '{"part": 1}', '{"part": "x", "uri": 1}', '{"part": 1, "evil": true}', "\\xff"],
)
def test_a_malformed_spool_is_an_error_that_names_it(header: str, place: Path) -> None:
    journal = place / "spool" / "ab12" / "journal.jsonl"
    journal.parent.mkdir(0o700, parents=True)
    journal.write_text(f"{header}\n")
    with pytest.raises(StoreError, match=r"The spool .*ab12 cannot be read"):
        find_spools()
