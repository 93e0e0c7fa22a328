"""What a store records is no reason to delete anything outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from tests.security.stranger import Stranger


@pytest.mark.parametrize("words", [("delete", "RUN", "--yes"), ("gc", "--yes")], ids=lambda words: words[0])
@pytest.mark.parametrize("run_id", ["documents", "../documents", "0" * 32])
def test_a_folder_elsewhere_is_not_deleted_for_a_run(
    words: tuple[str, ...], run_id: str, stranger: Stranger, private: Path
) -> None:
    victim = private / run_id
    victim.mkdir()
    (victim / "thesis").write_text("years of work")
    stranger.bend("PRAGMA foreign_keys = OFF")
    for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
        stranger.bend(f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?", run_id, stranger.run)
    stranger.bend("UPDATE experiments SET artifact_location = ?", private.as_uri())
    stranger.bend("UPDATE runs SET artifact_uri = ?", victim.as_uri())
    if words[0] == "gc":
        stranger.bend("UPDATE runs SET lifecycle_stage = 'deleted'")
    main([run_id if word == "RUN" else word for word in words] + ["--store", stranger.uri])
    assert (victim / "thesis").read_text() == "years of work"
