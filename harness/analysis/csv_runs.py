"""Runs in CSV files, as MLflow, W&B and Keras's CSVLogger write them, become external `RunRecord`s.

A file has a row a run, or a row an epoch. Every problem is refused with file, line and reason.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness import untrusted
from harness.analysis.metric_names import GAP_TAG, OWN_TAG, QUANTITIES, Naming, pairs, recognised
from harness.analysis.rows import Stage
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.text import clean

MOST_BYTES, MOST_COLUMNS = 2**26, 5_000
CSV = "csv"
"""The experiment id of these runs, which no store has."""
_IDS = ("run_id", "run id", "id", "run", "name", "run name", "run_name", "tags.mlflow.runname")
"""The columns that name a run, best first; only the first four must differ between runs."""
_UNIQUE = _IDS[:4]
_EPOCHS = ("epoch", "step", "_step")
_STATES = ("status", "state")
_ABOUT = frozenset({
    *_IDS, *_EPOCHS, *_STATES, "", "experiment_id", "experiment", "artifact_uri", "start_time", "end_time",
    "start time", "end time", "duration", "source type", "source name", "source", "user", "version", "created",
    "runtime", "notes", "tags", "updated", "sweep", "hostname", "github", "git", "timestamp",
})  # fmt: skip
"""Columns that say something of a run, but are neither settings nor scores."""
_SPLITS = ("train", "training", "val", "valid", "validation", "test", "gap", "eval", "final")
_MISSING = ("", "NA")
_FAILED = frozenset({"failed", "crashed", "killed"})
_UNFINISHED = frozenset({"running", "scheduled", "pending", "preempting"})


@dataclass(frozen=True)
class _Line:
    place: str
    cells: Mapping[str, str]


def read_csv(files: Sequence[Path], naming: Naming, stage: Stage = "final") -> list[RunRecord]:
    """The runs of CSV files. Of a run with a row an epoch the row of `stage`: its last, or that of least held-out loss.

    Columns `metrics.NAME` and `params.NAME` are what they say (MLflow's `search_runs`). In other files a score is a
    column with a known name, one that `naming` gives, or one that begins with a split (`val_f1`, and so `f1`); the
    others are parameters. A file without a column of `_IDS` is one run if it has a column `epoch` or `step`.

    Raises:
        RequestError: a file cannot be read, or something in it makes no sense: the message has file and line.
    """
    found: dict[str, tuple[str, RunRecord]] = {}
    for file in files:
        for place, run in _runs(file, naming, stage):
            if run.run_id in found:
                raise RequestError(f"{place}: the run {run.run_id} was already read ({found[run.run_id][0]}).")
            found[run.run_id] = place, run
    return [run for _, run in found.values()]


def staged(runs: Sequence[RunRecord], stage: Stage) -> list[RunRecord]:
    """Adapted runs, those of CSV files with their scores under the name of `stage`."""
    return [
        replace(run, metrics={name.replace("final/", f"{stage}/", 1): value for name, value in run.metrics.items()})
        if run.experiment_id == CSV
        else run
        for run in runs
    ]


def _runs(file: Path, naming: Naming, stage: Stage) -> list[tuple[str, RunRecord]]:
    header, lines = _lines(file)
    columns = {name.lower(): name for name in header}
    id_column = next((columns[name] for name in _IDS if name in columns), None)
    epoch_column = next((columns[name] for name in _EPOCHS if name in columns), None)
    unique = id_column is not None and id_column.lower() in _UNIQUE
    groups: dict[str, list[_Line]] = {}
    for number, line in enumerate(lines):
        own = file.stem if epoch_column is not None else f"{file.stem}-{number}"
        name = own if id_column is None else line.cells[id_column]
        if not name:
            raise RequestError(f"{line.place}: no run is named in the column {id_column}.")
        key = name if unique or epoch_column is not None else f"{name} {line.place}"
        groups.setdefault(key, []).append(line)
    if epoch_column is None:
        for name, rows in groups.items():
            if len(rows) > 1:
                raise RequestError(f"{rows[1].place}: the run {name} was already read ({rows[0].place}).")
    scores = _scores(header, naming)
    if any(len(rows) > 1 for rows in groups.values()):
        scores |= {column: column for column in _changing(header, list(groups.values())) if column not in scores}
    runs = []
    for key, rows in groups.items():
        ordered = _ordered(rows, epoch_column) if epoch_column is not None else rows
        chosen = _chosen(ordered, scores, naming, stage, file)
        name = file.stem if id_column is None else rows[0].cells[id_column]
        run_id = key if unique else f"{file}:{key}"
        runs.append((rows[0].place, _record(file, name, run_id, chosen, scores, len(rows), columns)))
    return runs


def _record(
    file: Path, name: str, run_id: str, line: _Line, scores: Mapping[str, str], epochs: int, columns: Mapping[str, str]
) -> RunRecord:
    status = next((line.cells[columns[column]] for column in _STATES if column in columns), "finished").strip().lower()
    state = RunState.FAILED if status in _FAILED else RunState.RUNNING if status in _UNFINISHED else RunState.FINISHED
    with_prefixes = any(column.startswith("params.") for column in line.cells)
    parameters = {
        column.removeprefix("params."): text
        for column, text in line.cells.items()
        if text and column not in scores and _is_parameter(column, with_prefixes)
    }
    moment = datetime.fromtimestamp(0, UTC)
    return RunRecord(
        run_id=run_id, name=name, experiment_id=CSV, experiment=clean(file.name), state=state, started=moment,
        ended=moment, parameters=parameters, metrics=_numbers(line, scores), tags=_tags(line, scores),
        epochs=epochs if epochs > 1 else 0,
    )  # fmt: skip


def _tags(line: _Line, scores: Mapping[str, str]) -> dict[str, str]:
    """The tag of runs whose `train/*` was measured again: by the harness, or by its callback, which writes `gap/*`."""
    cells = line.cells
    marked = any(cells.get(f"tags.{tag}") for tag in (GAP_TAG, OWN_TAG))
    return {GAP_TAG: "csv"} if marked or any(name.startswith("gap/") for name in scores.values()) else {}


def _is_parameter(column: str, with_prefixes: bool) -> bool:
    if with_prefixes:
        return column.startswith("params.")
    return column.lower() not in _ABOUT and not column.startswith(("_", "metrics.", "tags."))


def _scores(header: Sequence[str], naming: Naming) -> dict[str, str]:
    """The columns that are metrics, each with the metric's name."""
    if any(column.startswith("metrics.") for column in header):
        return {column: column.removeprefix("metrics.") for column in header if column.startswith("metrics.")}
    named = {name for _, train, held_out in pairs(naming) for name in (train, held_out)}
    named |= {
        column for column in header if column.lower() in {name for names in QUANTITIES.values() for name in names}
    }
    rests = {rest for column in header if (rest := _after_split(column))}
    return {column: column for column in header if column in named or _after_split(column) or column in rests}


def _after_split(column: str) -> str:
    """`f1` of `val_f1`; empty if the column does not begin with a split."""
    for split in _SPLITS:
        if column.lower().startswith((f"{split}_", f"{split}/")):
            return column[len(split) + 1 :]
    return ""


def _changing(header: Sequence[str], runs: Sequence[Sequence[_Line]]) -> list[str]:
    """The columns of numbers that change within a run: they are no settings."""
    return [
        column
        for column in header
        if column.lower() not in _ABOUT
        and not column.startswith(("params.", "tags.", "_"))
        and any(len({line.cells[column] for line in rows}) > 1 for rows in runs)
        and all(_is_number(line.cells[column]) for rows in runs for line in rows if line.cells[column] not in _MISSING)
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(line: _Line, scores: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for column, name in scores.items():
        text = line.cells[column]
        if text in _MISSING:
            continue
        if not _is_number(text):
            raise RequestError(f"{line.place}: the column {column} has {text!r:.60}, which is no number.")
        found[name] = float(text)
    return found


def _ordered(rows: list[_Line], epoch_column: str) -> list[_Line]:
    numbered: dict[float, _Line] = {}
    for line in rows:
        text = line.cells[epoch_column]
        if not _is_number(text) or not math.isfinite(float(text)):
            raise RequestError(f"{line.place}: the column {epoch_column} has {text!r:.60}, which is no epoch.")
        if (other := numbered.get(float(text))) is not None:
            raise RequestError(
                f"{line.place}: the {epoch_column} {text} of this run was already read ({other.place}). If the file "
                "has several runs, it needs a column run."
            )
        numbered[float(text)] = line
    return [numbered[number] for number in sorted(numbered)]


def _chosen(rows: list[_Line], scores: Mapping[str, str], naming: Naming, stage: Stage, file: Path) -> _Line:
    """The row of a stage."""
    if stage != "best":
        return rows[-1]
    if len(rows) == 1:
        raise RequestError(f"--at best: {file} has a row a run, not a row an epoch. Leave --at out.")
    loss = naming.held_out_loss or recognised(scores.values()).get("val_loss")
    if loss is None:
        raise RequestError(f"--at best: {file} has no validation loss. Name it with --held-out-loss-metric.")
    with_loss = [(_numbers(line, scores).get(loss, math.nan), line) for line in rows]
    finite = [pair for pair in with_loss if math.isfinite(pair[0])]
    return min(finite, key=lambda pair: pair[0])[1] if finite else rows[-1]


def _lines(file: Path) -> tuple[list[str], list[_Line]]:
    """The header and the rows of a file, each with its place (`FILE:LINE`)."""
    try:
        text = untrusted.read_bytes(file, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"--csv {file}: cannot be read ({error.strerror}). Name a CSV file.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"--csv {file}: is no text in UTF-8 (byte {error.start:,}). Save it as UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    lines: list[_Line] = []
    try:
        for row in reader:
            cells = [clean(cell.strip()) for cell in row]
            place = f"{file}:{reader.line_num}"
            if not any(cells):
                continue
            if not header:
                header = _header(cells, place)
                continue
            if len(cells) != len(header):
                raise RequestError(f"{place}: there are {len(cells):,} cells, but {len(header):,} columns.")
            lines.append(_Line(place, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise RequestError(f"{file}:{reader.line_num}: is no CSV ({error}).") from error
    if not lines:
        raise RequestError(f"--csv {file}: there are no rows{' below the header' if header else ''}.")
    return header, lines


def _header(header: list[str], place: str) -> list[str]:
    if len(header) > MOST_COLUMNS:
        raise RequestError(f"{place}: there are {len(header):,} columns; at most {MOST_COLUMNS:,} are read.")
    twice = [name for name in dict.fromkeys(header) if name and header.count(name) > 1]
    if twice:
        raise RequestError(f"{place}: the column {twice[0]!r:.60} is there twice. Rename one.")
    if header.count("") > 1:
        raise RequestError(f"{place}: {header.count(''):,} columns have no name.")
    return header
