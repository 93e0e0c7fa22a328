"""Opening a store changes no file but its own; reading it changes none at all."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.tracking.preflight import JOURNAL_MAGIC
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.security.stranger import Stranger


def name_super_journal(journal: Path, victim: Path) -> None:
    """End a journal as SQLite does where a transaction spans several files, which `victim` is to list."""
    content, name = journal.read_bytes(), str(victim).encode()
    [page] = struct.unpack(">I", content[24:28])
    check = sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF
    end = struct.pack(">I", 2**30 // page + 1) + name + struct.pack(">II", len(name), check) + JOURNAL_MAGIC
    journal.write_bytes(content + end)


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*")
            if file.is_file() and file.suffix != ".lock"}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "RUN"), ("report", "SWEEP"), ("predict", "RUN"), ("export", "RUN", "out"), ("inspect", "RUN"),
        ("reproduce", "RUN"), ("register", "RUN", "name"), ("store", "relocate"), ("ui",),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
@pytest.mark.parametrize("linked", [False, True])
def test_a_journal_that_names_another_file_is_refused_before_sqlite_deletes_that(
    words: tuple[str, ...], linked: bool, stranger: Stranger, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name_super_journal(stranger.cut_off(), private / "diary")
    database = stranger.database
    if linked:
        database = private.parent / "link.db"
        database.symlink_to(stranger.database)
    before = contents(stranger.root)
    given = [{"RUN": stranger.run, "SWEEP": stranger.sweep}.get(word, word) for word in words]
    assert main([*given, "--store", f"sqlite:///{database}"]) in (1, 2)
    assert "names another file, which SQLite would delete" in capsys.readouterr().err
    assert (private / "diary").read_text() == "root:x:private\n"
    assert contents(stranger.root) == before


def test_what_a_killed_writer_left_is_undone_in_a_copy_for_a_reader(stranger: Stranger) -> None:
    store = open_store(stranger.uri)
    expected = read_runs(store)
    stranger.cut_off()
    before = contents(stranger.root)
    assert read_runs(store) == expected
    assert contents(stranger.root) == before


@pytest.mark.parametrize("end", ["-journal", "-wal", "-shm"])
def test_links_in_place_of_sqlites_own_files_are_refused(end: str, stranger: Stranger, private: Path) -> None:
    stranger.database.with_name(f"mlflow.db{end}").symlink_to(private / "diary")
    for use in (lambda: read_runs(open_store(stranger.uri)), lambda: open_store(stranger.uri).client):
        with pytest.raises(StoreError, match="is no plain file"):
            use()
    assert (private / "diary").read_text() == "root:x:private\n"


def test_a_view_without_end_is_refused_at_once(stranger: Stranger) -> None:
    stranger.execute("ALTER TABLE params RENAME TO were")
    stranger.execute(
        "CREATE VIEW params AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT run_uuid, key || i AS key, value FROM were, n"
    )
    began = time.monotonic()
    with pytest.raises(StoreError, match="is a view, a trigger"):
        read_runs(open_store(stranger.uri))
    assert time.monotonic() - began < 5
