"""The facts in a report: question, settings, data, code, machine and commands."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness import paths
from harness.analysis.comparison import Comparison
from harness.analysis.legend import context
from harness.analysis.measures import counted, shortened
from harness.analysis.rows import DRAWS
from harness.analysis.settings import ABSENT, SEED, headings, sortable
from harness.images import DATASET_TAG
from harness.records import VARIANT_PARAMETER, RunRecord
from harness.reports.content import Facts, Rerun
from harness.reports.sentences import by_size, say
from harness.text import requoted, shell
from harness.tracking.access import shown_uri
from harness.tracking.selection import CONFIRMS_TAG, OVERRIDES_TAG, recorded_commit
from harness.untrusted import read_text

VALUES_NAMED = 12
_COMMAND = "harness.command"
_TAG_LIMIT = 5_000  # a longer command was cut when it was recorded
_MODULE = re.compile(r"^(?:-m harness|\S*harness)(?= )")
_HEAD = re.compile(r"^#\s*(\w+):\s*(.*)$")


def question(comparison: Comparison, parent: RunRecord | None) -> tuple[str, str]:
    """The question and the expected result, from the head of the experiment's file or made from the varied settings."""
    said = _head_of_experiment(parent)
    asked = said.get("Question", "") or generated_question(comparison)
    return asked[:1].upper() + asked[1:], said.get("Expected", "")


def generated_question(comparison: Comparison) -> str:
    """`How do model and optimizer change the overfitting gap on fashion_mnist?`"""
    names = list(headings(comparison.settings).values())
    dataset = comparison.constants.get("dataset.name")
    on = f" on {dataset}" if dataset else ""
    if not names:
        return f"How large is the overfitting gap{on}, and how much does it change with the seed?"
    *most, last = names
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"How {'do' if most else 'does'} {listed} change the overfitting gap{on}?"


def head_of(text: str) -> dict[str, str]:
    """The comments at the head of an experiment's file (`# Question: ...`), by their first word, lines joined."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            if found:
                break
            continue
        if matched := _HEAD.match(line):
            name = matched[1]
            found[name] = matched[2].strip()
        elif name and (more := line.lstrip("#").strip()):
            found[name] = f"{found[name]} {more}"
        else:
            name = ""
    return found


def _head_of_experiment(parent: RunRecord | None) -> dict[str, str]:
    if parent is None:
        return {}
    named = re.findall(r"(?:^|\s)\+?experiments=(\w[\w./-]*)", parent.tags.get(OVERRIDES_TAG, ""))
    if len(named) != 1:
        return {}
    recorded = re.findall(r"(?:--config-dir|-cd)[= ](\S+)", parent.tags.get(_COMMAND, ""))
    now = [word.rpartition("=")[2] for word in sys.orig_argv]
    typed = [folder for folder in recorded if folder in now]  # a folder that is only recorded, not typed, is not read
    folders = [*(Path(folder).expanduser() / "experiments" for folder in typed), paths.experiments_directory()]
    files = (folder / f"{named[0]}.yaml" for folder in folders if ".." not in Path(named[0]).parts)
    file = next((file for file in files if file.is_file()), None)
    return head_of(read_text(file)) if file is not None else {}


def varied(comparison: Comparison) -> Facts:
    """Each setting that differs between rows, with its values, then the settings of replicates (draws and seeds)."""
    short = headings(comparison.settings)
    facts = [
        (short[key], shortened(sorted({row.settings[key] for row in comparison.rows}, key=by_size), VALUES_NAMED))
        for key in comparison.settings
    ]
    facts += [(f"{DRAWS[key]} (repeated)", _values(comparison, key)) for key in comparison.replicates]
    return (*facts, ("seed", _values(comparison, SEED)))


def _values(comparison: Comparison, key: str) -> str:
    """The values of a parameter in all runs."""
    found = {run.parameters.get(key, ABSENT) for row in comparison.rows for run in row.runs}
    return shortened(sorted(found, key=sortable), VALUES_NAMED)


def shared(comparison: Comparison) -> Facts:
    """The settings that all runs share."""
    facts = []
    for line in context(comparison):
        name, _, value = line.partition(": ")
        facts.append(("all runs" if name == "All" else name[0].lower() + name[1:], value))
    return tuple(facts)


def origin(runs: Sequence[RunRecord], parent: RunRecord | None = None) -> Facts:
    """Data, engine, versions, machine and code, as the runs recorded them, and how many of them the sweep reuses.

    What no run recorded is left out. `parent` is the run of the sweep that is reported.
    """
    recorded = [_recorded(run) for run in runs]
    known = {
        name: _shared_or_frequent(
            [", ".join(filter(None, (say(f"[{part}]", **of) for part in parts))) for of in recorded]
        )
        for name, parts in ORIGIN.items()
    }
    known["code"] = known["code"] or "no commit (not run from a git checkout)"
    known["trained"] = _when(runs)
    reused = sum(run.parent_id != parent.run_id for run in runs) if parent is not None else 0
    known["reused"] = f"{reused} of {len(runs)} runs, trained by earlier commands" if reused else ""
    return tuple((name, value) for name, value in known.items() if value)


ORIGIN = {
    "data": ("{dataset}", "{variant}", "SHA-256 {digest}…"),
    "images": (
        "{train:,.0f} training", "{val:,.0f} validation", "{test:,.0f} test",
        "{noisy:,.0f} training labels replaced by wrong ones",
    ),
    "engine": ("{engine}", "{intra_op_threads:thread} a run"),
    "versions": ("harness {version}", "Python {python}", "TensorFlow {tensorflow}", "Keras {keras}"),
    "machine": ("{platform}", "{cpus:CPU}"),
    "code": ("commit {commit}, {state}",),
}  # fmt: skip
"""Patterns of `origin`'s facts, filled in with what a run recorded. A part without a value is left out."""


def _recorded(run: RunRecord) -> dict[str, object]:
    """The values for `ORIGIN`: the run's tags `harness.*` without this prefix, and the others by name."""
    dirty = run.tags.get("harness.git.dirty") == "true"
    return {
        **{name.removeprefix("harness."): value for name, value in run.tags.items() if value},
        "dataset": run.parameters.get("dataset.name") or None,
        "variant": run.parameters.get(VARIANT_PARAMETER) or None,
        "digest": run.tags.get(DATASET_TAG, "")[:16] or None,
        **{split: run.metrics.get(f"data/{split}_images") for split in ("train", "val", "test")},
        "noisy": run.metrics.get("data/noisy_labels") or None,
        "commit": recorded_commit(run.tags)[:12] or None,
        "state": "with uncommitted changes (artifact code/uncommitted.diff)" if dirty else "nothing uncommitted",
    }


def _shared_or_frequent(texts: Sequence[str]) -> str:
    """The text that all runs share; if they differ, the most frequent texts, each with its number of runs."""
    counts = Counter(filter(None, texts))
    if len(counts) < 2:
        return next(iter(counts), "")
    parts = [f"{text} ({counted(count, 'run')})" for text, count in counts.most_common(4)]
    more = len(counts) - len(parts)
    return "; ".join(parts) + (f"; and {more} more kinds" if more else "")


def _when(runs: Sequence[RunRecord]) -> str:
    started = min(run.started for run in runs)
    ended = [run.ended for run in runs if run.ended is not None]
    if not ended:
        return f"from {started:%Y-%m-%d %H:%M} UTC"
    last = max(ended)
    return f"{started:%Y-%m-%d %H:%M} to {last:{'%H:%M' if last.date() == started.date() else '%Y-%m-%d %H:%M'}} UTC"


def rerun(comparison: Comparison, parent: RunRecord | None, runs: Sequence[RunRecord], report: str) -> Rerun:
    """The commands that reproduce the runs and this report; `report` are the arguments of `harness report`."""
    commands, notes = [], []
    commits = Counter(recorded_commit(run.tags) for run in runs)
    commit = commits.most_common(1)[0][0] if commits else ""
    if commit:
        commands.append((f"git checkout {commit}", "the code"))
    if any(run.tags.get("harness.git.dirty") == "true" for run in runs):
        notes.append(
            "The code had uncommitted changes: each run keeps them as code/uncommitted.diff, for `git apply` after the "
            "checkout."
        )
    if parent is not None:
        commands.append((shown_uri(_command(parent)), "the runs; finished runs in the store are not trained again"))
    else:
        notes.append("These runs are not of one sweep: the tag harness.command of each run has its command.")
    commands.append((requoted(f"harness report {report}"), "this report"))
    notes.append(
        f"Seeds: {_values(comparison, SEED)}. The same seed on the same versions, engine and number "
        "of threads gives the same numbers; elsewhere the last digits may differ."
    )
    return Rerun(tuple(commands), tuple(notes))


def _command(parent: RunRecord) -> str:
    """The sweep's command line, quoted for a shell. If it was cut when recorded, it is made from the overrides."""
    typed = parent.tags.get(_COMMAND, "")
    if _MODULE.match(typed) and (" sweep" in typed or CONFIRMS_TAG in parent.tags) and len(typed) < _TAG_LIMIT:
        return requoted(_MODULE.sub("harness", typed))
    return shell(["harness", "sweep", *parent.tags.get(OVERRIDES_TAG, "").split()])
