"""The tags of a parent run that list the sweep's reused runs, written and read. `sweeps/plan.py` chooses these runs.

A reused run stays a child of its own parent, if it has one, and nothing is written to it: many sweeps can share a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.errors import StoreError
from harness.text import clean

REUSED_TAG = "harness.reused."
"""Followed by a number: `JOB:RUN_ID` for each reused run, separated by spaces."""
_RUNS_PER_TAG = 100  # 3,900 characters for numbers of five digits; a tag holds 5,000

_JOB = re.compile(r"[0-9]{1,9}")


def reused_tags(reused: Mapping[int, str], before: Mapping[str, str]) -> dict[str, str]:
    """The tags of a parent run for its reused runs, given by job number; tags in `before` that are no longer needed
    become empty."""
    entries = [f"{number}:{run_id}" for number, run_id in sorted(reused.items())]
    parts = [entries[start : start + _RUNS_PER_TAG] for start in range(0, len(entries), _RUNS_PER_TAG)]
    emptied = {key: "" for key in before if key.startswith(REUSED_TAG)}
    return emptied | {f"{REUSED_TAG}{place}": " ".join(part) for place, part in enumerate(parts, 1)}


def reused_runs(tags: Mapping[str, str], run_id: str) -> dict[str, int]:
    """The job numbers by the ids of the reused runs, from the tags of the sweep `run_id`. Raises `StoreError` if they
    are malformed."""
    entries = [entry for key, value in tags.items() if key.startswith(REUSED_TAG) for entry in value.split()]
    found = {}
    for entry in entries:
        number, _, reused = entry.partition(":")
        if not _JOB.fullmatch(number):
            raise StoreError(f"The sweep {run_id} has {REUSED_TAG}N={clean(entry[:50])}, which should be JOB:RUN_ID.")
        found[reused] = int(number)
    return found
