"""A database that computes, acts, or gives out more than it holds is refused; what is in it stays what it says."""

from __future__ import annotations

import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.tracking.deleting import delete_runs
from harness.tracking.disk import take_inventory
from harness.tracking.models import find_run
from harness.tracking.preflight import check_sqlite
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from tests.security.stranger import Stranger

ACTING = {
    "trigger": "CREATE TRIGGER mine AFTER UPDATE ON runs BEGIN DELETE FROM params; END",
    "trigger of another": "CREATE TRIGGER prevent_secrets_aad_mutation BEFORE UPDATE ON runs BEGIN SELECT 1; END",
    "computed column": "ALTER TABLE runs ADD COLUMN more TEXT AS (hex(zeroblob(100000000)))",
    "view": "CREATE VIEW more AS SELECT * FROM runs",
    "virtual table": "CREATE VIRTUAL TABLE more USING fts5(text)",
}


@pytest.mark.parametrize("kind", ACTING)
def test_what_computes_or_acts_in_a_database_is_refused(kind: str, stranger: Stranger) -> None:
    if kind == "trigger of another":
        stranger.execute("DROP TRIGGER prevent_secrets_aad_mutation")
    stranger.execute(ACTING[kind])
    store = open_store(stranger.uri)
    for use in (lambda: read_runs(store), lambda: take_inventory(stranger.database), lambda: store.client):
        with pytest.raises(StoreError, match="none of MLflow's"):
            use()


def test_a_virtual_table_is_known_however_its_maker_wrote_it(stranger: Stranger) -> None:
    stranger.execute("CREATE VIRTUAL TABLE more USING fts5(text)")
    content = stranger.database.read_bytes()
    stranger.database.write_bytes(content.replace(b"CREATE VIRTUAL TABLE more", b"CREATE/**/VIRTUAL TABLE x"))
    with pytest.raises(StoreError, match=r"none of MLflow's|damaged|malformed"):
        read_runs(open_store(stranger.uri))


def endless(database: Path, table: str) -> None:
    """Make a table a tree of pages that each name one page two hundred times: rows without end in a small file."""
    with closing(sqlite3.connect(database)) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(database.read_bytes())
    child = len(content) // size + 1
    content += content[(root - 1) * size : root * size]

    def inner(child: int) -> bytes:
        page, top = bytearray(size), size
        for place in range(200):
            top -= 5
            page[top : top + 5] = struct.pack(">IB", child, place % 100 + 1)
            struct.pack_into(">H", page, 12 + 2 * place, top)
        struct.pack_into(">BHHHBI", page, 0, 5, 0, 200, top, 0, child)
        return bytes(page)

    for _ in range(15):
        content += inner(child)
        child += 1
    content[(root - 1) * size : root * size] = inner(child)
    struct.pack_into(">I", content, 28, len(content) // size)
    database.write_bytes(content)


def test_a_table_whose_pages_name_each_other_has_no_end(stranger: Stranger) -> None:
    endless(stranger.database, "experiments")
    began = time.monotonic()
    from harness.tracking.relocation import moved
    from harness.tracking.sqlite_reader import SqliteReader

    for use in (
        lambda: SqliteReader(stranger.database).experiments(),
        lambda: take_inventory(stranger.database),
        lambda: moved(stranger.database),
        lambda: check_sqlite(stranger.database, stranger.artifacts),
    ):
        with pytest.raises(StoreError, match="is damaged"):
            use()
    assert time.monotonic() - began < 60


def test_one_long_text_does_not_come_out_once_for_every_run(stranger: Stranger) -> None:
    """The name of an experiment stands beside each of its runs."""
    stranger.execute("UPDATE experiments SET name = hex(zeroblob(5000000)) WHERE name = 'study'")
    for place in range(40):
        stranger.execute(
            "INSERT INTO runs (run_uuid, name, experiment_id, status, start_time, lifecycle_stage) "
            "SELECT ?, name, experiment_id, status, start_time, lifecycle_stage FROM runs LIMIT 1", f"{place:032x}",
        )  # fmt: skip
    began = time.monotonic()
    with pytest.raises(StoreError, match="more than a file of its size can hold"):
        read_runs(open_store(stranger.uri))
    assert time.monotonic() - began < 10


NAMES = (
    "'; DROP TABLE runs; --",
    '"; DROP TABLE runs; --',
    "' OR '1'='1",
    "a' UNION SELECT 1 --",
    "%",
    "_",
    "\\'",
    "x\x00",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_sql(name: str, stranger: Stranger, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither one that the user gives nor one in the store."""
    before = len(read_runs(open_store(stranger.uri), include_parents=True))
    stranger.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", name, stranger.run)
    stranger.execute("UPDATE experiments SET name = ? WHERE name = 'study'", name)
    for words in (("compare", name), ("compare", "--experiment", name), ("delete", name, "--dry-run"), ("list", name)):
        assert main([*words, "--store", stranger.uri]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert len(read_runs(open_store(stranger.uri), include_parents=True)) == before


@pytest.mark.parametrize("column", ['"1 OR run_uuid"', '"run_uuid"" OR 1 --"'])
def test_a_column_is_no_sql_where_a_run_is_deleted(column: str, stranger: Stranger) -> None:
    stranger.execute(f'CREATE TABLE "more\') --" ({column} TEXT REFERENCES runs (run_uuid), run_uuid TEXT)')
    stranger.execute("INSERT INTO \"more') --\" VALUES (NULL, 'kept')")
    store = open_store(stranger.uri)
    before = {run.run_id for run in read_runs(store, include_parents=True)}
    delete_runs(store, [find_run(store, stranger.run)])
    assert before - {run.run_id for run in read_runs(store, include_parents=True)} == {stranger.run}
    with closing(sqlite3.connect(stranger.database)) as connection:
        assert connection.execute('SELECT count(*) FROM "more\') --"').fetchone() == (1,)
