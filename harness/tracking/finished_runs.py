"""Finished runs of a server, kept on this machine: a comparison asks only for the others.

A run that the harness has finished never changes its parameters, metrics and times. Its tags may change, so a run is
read again after `MOST_DAYS`, with `--refresh`, and after `harness tag`. Whether it still exists is asked each time
(`server_reader`). The files are in the cache folder, for this user alone, one for each experiment; a damaged one counts
as none. They have no passwords: of the user of the server they have a hash, in their name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from harness import paths
from harness.errors import RequestError
from harness.records import RunRecord, RunState, from_milliseconds
from harness.tracking.refusals import TOKEN, USER
from harness.tracking.selection import is_sweep
from harness.tracking.store import Store
from harness.untrusted import array_headers, check_archive, check_regular

_log = logging.getLogger(__name__)

FORMAT = 1
MOST_DAYS = 7.0
MOST_BYTES = 2**31
DAY = 86_400.0


class FinishedRuns:
    """The finished runs of a store that this machine has. `refresh`: use none of them, but keep what is read now.
    `is_short`: only those that this object has seen, for a sweep that is watched; no file is used, and it is not asked
    whether they still exist."""

    def __init__(self, store: Store, refresh: bool = False, is_short: bool = False) -> None:
        self._store, self._refresh, self.is_short = store, refresh, is_short
        self._known: dict[str, dict[str, tuple[RunRecord, float]]] = {}

    def load(self, experiment_ids: Iterable[str], names: Mapping[str, str]) -> dict[str, RunRecord]:
        """The runs of these experiments by id, with the present names of the experiments."""
        found: dict[str, RunRecord] = {}
        for identity in experiment_ids:
            if identity not in self._known:
                new = self._refresh or self.is_short
                self._known[identity] = {} if new else _read(file_of(self._store, identity), identity)
            for run_id, (run, _) in self._known[identity].items():
                found[run_id] = replace(run, experiment=names.get(identity, ""))
        return found

    def tell(self, used: Collection[str]) -> None:
        """Say of the runs that were `used` how old they are (`told`)."""
        times = [read for runs in self._known.values() for run_id, (_, read) in runs.items() if run_id in used]
        if times and not self.is_short:
            self.told = f"{len(times):,} of the runs are finished and were read {_ago(time.time() - min(times))}"

    told = ""
    """In words, what came from this machine; empty if nothing did."""

    def save(self, read: Iterable[RunRecord], gone: Collection[str]) -> None:
        """Keep the finished ones of the runs that were just `read`, and forget those that are `gone`."""
        now = time.time()
        changed = set[str]()
        for run in read:
            if run.state is RunState.FINISHED and run.ended is not None and run.is_own and not is_sweep(run):
                self._known.setdefault(run.experiment_id, {})[run.run_id] = (run, now)
                changed.add(run.experiment_id)
        for identity, runs in self._known.items():
            for run_id in runs.keys() & gone:
                del runs[run_id]
                changed.add(identity)
        for identity in () if self.is_short else changed:
            _write(file_of(self._store, identity), identity, list(self._known[identity].values()))


def forget(store: Store, run: RunRecord) -> None:
    """Read this run again next time: its tags have changed."""
    if store.is_server:
        file = file_of(store, run.experiment_id)
        known = _read(file, run.experiment_id)
        if known.pop(run.run_id, None) is not None:
            _write(file, run.experiment_id, list(known.values()))


def file_of(store: Store, experiment_id: str) -> Path:
    """The file for an experiment of a store, as the user of the server sees it who is set in the environment."""
    who = [store.shown, os.environ.get(USER, ""), os.environ.get(TOKEN, ""), os.getuid(), experiment_id]
    return paths.cache_directory() / "runs" / f"{hashlib.sha256(json.dumps(who).encode()).hexdigest()[:32]}.npz"


def _ago(seconds: float) -> str:
    for unit, length in (("days", DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"up to {seconds / length:.0f} {unit} ago"
    return "a moment ago"


def _read(file: Path, experiment_id: str) -> dict[str, tuple[RunRecord, float]]:
    """The runs of a file that are not too old, each with the time at which it was read; none if it is damaged."""
    try:
        status = file.stat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return {}
        check_regular(file, MOST_BYTES)
        check_archive(file, 2)
        array_headers(file)
        with np.load(file, allow_pickle=False) as arrays:
            return _unpacked({name: arrays[name] for name in arrays.files}, experiment_id)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, LookupError, TypeError, OverflowError, EOFError, zipfile.BadZipFile) as error:
        _log.info("%s is damaged and is not used: %r", file, error)
    except RequestError as error:
        _log.info("%s is not used: %s", file, error)
    return {}


def _write(file: Path, experiment_id: str, runs: Sequence[tuple[RunRecord, float]]) -> None:
    packed = BytesIO()
    np.savez(packed, **_packed(runs, experiment_id))
    with suppress(OSError):  # a cache that cannot be written costs only time
        paths.make_folder(file.parent)
        with paths.atomic_path(file) as temporary:
            temporary.write_bytes(packed.getvalue())
            temporary.chmod(stat.S_IRUSR | stat.S_IWUSR)


def _packed(runs: Sequence[tuple[RunRecord, float]], experiment_id: str) -> dict[str, Any]:
    """The runs as arrays: each text once, and the runs as numbers of texts. `shapes` are the keys of the parameters,
    tags and metrics of a run, which many runs share."""
    texts: dict[str, int] = {}
    shapes: dict[tuple[tuple[int, ...], ...], int] = {}

    def numbers(words: Iterable[str]) -> tuple[int, ...]:
        return tuple(texts.setdefault(word, len(texts)) for word in words)

    info, times, values, metrics = [], [], list[int](), list[float]()
    for run, read in runs:
        assert run.ended is not None
        shape = tuple(numbers(part) for part in (run.parameters, run.tags, run.metrics))
        named = numbers((run.run_id, run.name, run.artifacts))
        info.append([*named, shapes.setdefault(shape, len(shapes)), run.epochs])
        times.append([run.started.timestamp(), run.ended.timestamp(), read])
        values += numbers(run.parameters.values())
        values += numbers(run.tags.values())
        metrics += run.metrics.values()
    header = {"format": FORMAT, "experiment": experiment_id, "texts": list(texts), "shapes": list(shapes)}
    return {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "info": np.array(info, np.int64).reshape(-1, 5),
        "times": np.array(times, np.float64).reshape(-1, 3),
        "values": np.array(values, np.int32),
        "metrics": np.array(metrics, np.float64),
    }


def _unpacked(arrays: Mapping[str, Any], experiment_id: str) -> dict[str, tuple[RunRecord, float]]:
    """The runs of `_packed` arrays. Raises `ValueError`, `LookupError`, `TypeError` if they are none."""
    header = json.loads(arrays["header"].tobytes())
    if (header["format"], header["experiment"]) != (FORMAT, experiment_id):
        raise ValueError("it is of another experiment or version")
    texts = np.array([*header["texts"], None], object)[:-1]
    shapes = [tuple(texts[np.array(part, np.int64)].tolist() for part in shape) for shape in header["shapes"]]
    values, metrics = texts[arrays["values"]].tolist(), arrays["metrics"].tolist()
    found: dict[str, tuple[RunRecord, float]] = {}
    at = at_metric = 0
    now = time.time()
    for (run_id, name, artifacts, shape, epochs), (started, ended, read) in zip(
        arrays["info"].tolist(), arrays["times"].tolist(), strict=True
    ):
        keys, tags, names = shapes[shape]
        middle, end, last = at + len(keys), at + len(keys) + len(tags), at_metric + len(names)
        if end > len(values) or last > len(metrics):
            raise ValueError("it has not all values")
        if 0 <= now - read < MOST_DAYS * DAY:
            found[texts[run_id]] = RunRecord(
                texts[run_id], texts[name], experiment_id, "", RunState.FINISHED,
                from_milliseconds(round(started * 1000)), from_milliseconds(round(ended * 1000)),
                dict(zip(keys, values[at:middle], strict=True)),
                dict(zip(names, metrics[at_metric:last], strict=True)),
                dict(zip(tags, values[middle:end], strict=True)),
                epochs, None, texts[artifacts],
            ), read  # fmt: skip
        at, at_metric = end, last
    return found
