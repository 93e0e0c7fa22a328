from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from harness.data import cache
from harness.data.catalogue import FILES, TRAIN_LABELS
from harness.data.network import Limits
from harness.data.sources import Source
from harness.errors import DataError
from tests.dataset.tiny import TINY, counting_source, fetch_at_once, raw_files, write


def fails(label: str, reason: str, dataset: str = "tiny") -> Source:
    def obtain(workspace: Path, limits: Limits) -> Path:
        raise DataError(reason)

    return Source(dataset, label, obtain)


def fetches(journal: Path) -> int:
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def test_a_fetched_dataset_is_kept_and_not_fetched_again(tmp_path: Path) -> None:
    source = counting_source(tmp_path / "journal")
    first = cache.obtain(TINY, tmp_path / "root", [source])
    second = cache.obtain(TINY, tmp_path / "root", [source])
    assert fetches(tmp_path / "journal") == 1
    assert (first.fetched_from, second.fetched_from) == ("a source that counts", None)
    assert "fetched from a source that counts" in second.source
    assert {file.name: file.content for file in second.files} == raw_files()


def test_files_placed_by_hand_are_used(tmp_path: Path) -> None:
    write(tmp_path / "tiny")
    assert "placed there manually" in cache.obtain(TINY, tmp_path, []).source


@pytest.mark.parametrize("content", [b"", b"scribble"])
def test_a_damaged_file_is_named_and_fetched_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    damaged = write(tmp_path / "tiny") / TRAIN_LABELS
    damaged.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        cache.obtain(TINY, tmp_path, [counting_source(tmp_path / "journal")])
    assert str(damaged) in caplog.text
    assert damaged.read_bytes() == raw_files()[TRAIN_LABELS]
    assert fetches(tmp_path / "journal") == 1


def test_a_source_that_delivers_something_else_is_not_believed(tmp_path: Path) -> None:
    def obtain(workspace: Path, limits: Limits) -> Path:
        folder = write(workspace)
        (folder / TRAIN_LABELS).write_bytes(b"not what was published")
        return folder

    liar = Source("tiny", "a liar", obtain)
    obtained = cache.obtain(TINY, tmp_path, [liar, counting_source(tmp_path / "journal")])
    assert obtained.fetched_from == "a source that counts"
    with pytest.raises(DataError, match=f"a liar: {TRAIN_LABELS} has SHA-256"):
        cache.obtain(TINY, tmp_path / "other", [liar])
    assert not (tmp_path / "other" / "tiny" / TRAIN_LABELS).exists()


def test_when_nothing_works_the_message_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    sources = [fails("one", "no answer"), fails("two", "not installed"), fails("three", "unused", "mnist")]
    with pytest.raises(DataError) as refusal:
        cache.obtain(TINY, tmp_path, sources)
    message = str(refusal.value)
    for words in ("one: no answer", "two: not installed", "none of the four files", *FILES, "dataset.directory="):
        assert words in message
    assert str(tmp_path / "tiny") in message
    assert "three" not in message


def test_a_source_that_fails_leaves_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(DataError):
        cache.obtain(TINY, tmp_path / "root", [fails("one", "no answer")])
    assert not list(temporary.iterdir())


def test_processes_that_want_it_at_once_fetch_it_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    journal = tmp_path / "journal"
    arguments = (tmp_path / "root", journal, time.time() + 3)
    processes = [spawn.Process(target=fetch_at_once, args=arguments) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 5
    assert fetches(journal) == 1


def test_waiting_for_another_process_has_an_end(tmp_path: Path) -> None:
    begun = time.monotonic()
    with FileLock(tmp_path / ".tiny.lock"), pytest.raises(DataError, match=r"another process has held .*\.tiny\.lock"):
        cache.obtain(TINY, tmp_path, [], Limits(lock=0.2))
    assert time.monotonic() - begun < 5


def test_a_process_that_was_killed_while_fetching_blocks_nobody(tmp_path: Path) -> None:
    script = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / ".tiny.lock"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert cache.obtain(TINY, tmp_path, [counting_source(tmp_path / "journal")], Limits(lock=5)).fetched_from


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="HARNESS_CACHE"):
        cache.obtain(TINY, tmp_path / "file" / "root", [counting_source(tmp_path / "journal")])


def test_the_summary_tells_states_apart_without_reading(tmp_path: Path) -> None:
    assert cache.summary(TINY, tmp_path)[0] == "not fetched"
    folder = write(tmp_path / "tiny")
    assert cache.summary(TINY, tmp_path) == ("in the cache", folder)
    (folder / FILES[0]).write_bytes(b"short")
    assert cache.summary(TINY, tmp_path)[0] == "damaged (1 of 4 files)"
    (folder / FILES[0]).unlink()
    assert cache.summary(TINY, tmp_path)[0] == "incomplete (1 of 4 files missing)"
