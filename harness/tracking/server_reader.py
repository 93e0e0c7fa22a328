"""Reads runs from an MLflow server: in JSON, without MLflow's import and objects, many runs in parallel."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness.errors import StoreError
from harness.records import RunRecord, RunState
from harness.tracking.access import check_is_mlflow
from harness.tracking.finished_runs import FinishedRuns
from harness.tracking.found_runs import FoundRun, filters, of_fingerprints, of_json, quoted, records
from harness.tracking.selection import Selection, Series, bounded, in_order
from harness.tracking.server_requests import ask
from harness.tracking.store import Store

_API = "/api/2.0/mlflow"
_PAGE, _PAGES = 1000, 10_000
_FIRST = 200
"""Runs of the first page. If there are more, the others are asked for in parallel, by the beginning of their ids."""
_FEW = 500
"""So many runs that this machine has are named in a single request."""
_AT_ONCE = 8
"""Requests at the same time."""
_IDS = 1000
"""Ids that a request names at most: MLflow's filter language takes a thousand in 0.05 s."""
_DOUBTED = 40
"""If a run of the cache is gone from the store, so many of its neighbours are read again with it."""
_DIGITS = "0123456789abcdef"
_RUNS_OF_HISTORIES, _VALUES_OF_HISTORIES = 100, 2500
"""At most so many runs in a request for histories, and values of each."""


class ServerReader:
    """A `Reader` of an MLflow server. `kept`: the finished runs that this machine has from earlier reads, if they may
    be used; see `finished_runs`."""

    def __init__(self, store: Store, kept: FinishedRuns | None = None) -> None:
        self._store, self._kept = store, kept

    def experiments(self) -> dict[str, str]:
        with self._understood():
            found = {str(one["experiment_id"]): bounded(str(one["name"])) for one in self._experiments()}
        self._store.remember_experiments(found)
        if not found:
            with self._store.explained():
                check_is_mlflow(self._store.uri, self._store.shown)
        return found

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        with self._understood():
            every = self._experiments()
            found: dict[str, Any] = next((one for one in every if str(one["experiment_id"]) == experiment_id), {})
            return {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", [])}

    def select(self, selection: Selection) -> list[RunRecord]:
        asked, known = selection.experiment_ids, self._store.remembered_experiments()
        if known is not None and (known.keys() >= {*(asked or ())} if asked is not None else selection.running):
            return self._select(selection, known)
        known = self._store.remembered_experiments(math.inf)  # of these runs, only the names of the experiments are new
        if known is not None and asked is None and selection.parent_id is not None:
            return self._select(selection, known)
        if known is not None and asked is None and selection.run_ids is not None:
            found = self._select(selection, known)
            if len(found) == len(selection.run_ids):
                return found  # else some may be of an experiment that is newer
        return self._select(selection, self.experiments())

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        found: Series = {}
        for key in metrics:
            for start in range(0, len(run_ids), _RUNS_OF_HISTORIES):
                with self._understood():
                    points = self._points(run_ids[start : start + _RUNS_OF_HISTORIES], key)
                    for point in sorted(points, key=lambda point: int(point["timestamp"])):
                        steps = found.setdefault(str(point["run_id"]), {}).setdefault(key, {})
                        steps[int(point.get("step", 0))] = float(point["value"])
        return found

    def _points(self, run_ids: Sequence[str], key: str) -> list[dict[str, Any]]:
        """The values of a metric: in one request, or run by run if a run has more than this request gives."""
        if len(run_ids) > 1:
            asked = {"run_ids": list(run_ids), "metric_key": key, "max_results": _VALUES_OF_HISTORIES}
            found = list(ask(self._store, f"{_API}/metrics/get-history-bulk-interval", params=asked).get("metrics", []))
            counts = [str(point["run_id"]) for point in found]
            if all(counts.count(run_id) < _VALUES_OF_HISTORIES for run_id in set(counts)):  # more would be a sample
                return found
        points = []
        for run_id in run_ids:
            asked = {"run_id": run_id, "metric_key": key, "max_results": 25_000}
            for point in self._pages("metrics", partial(self._get, "metrics/get-history", asked)):
                points.append({**point, "run_id": run_id})
        return points

    def _get(self, what: str, asked: Mapping[str, Any], token: dict[str, str]) -> dict[str, Any]:
        return ask(self._store, f"{_API}/{what}", params={**asked, **token})

    def _experiments(self) -> Iterator[Any]:
        asked = {"max_results": _PAGE, "view_type": "ACTIVE_ONLY"}
        return self._pages(
            "experiments", lambda token: ask(self._store, f"{_API}/experiments/search", json={**asked, **token})
        )

    def _select(self, selection: Selection, experiments: Mapping[str, str]) -> list[RunRecord]:
        asked = selection.experiment_ids
        wanted = [identity for identity in experiments if asked is None or identity in asked]
        if not wanted:  # for MLflow an empty list is an error
            return []
        texts = filters(selection)
        with self._understood():
            if selection.is_wide:
                return self._every(wanted, texts[0], selection, experiments)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                search = partial(self._search, wanted, newest=selection.newest)
                found = [run for page in (map if len(texts) == 1 else pool.map)(search, texts) for run in page]
            return records(of_fingerprints(found, selection), experiments)

    def _every(
        self, wanted: list[str], text: str, selection: Selection, experiments: Mapping[str, str]
    ) -> list[RunRecord]:
        """All runs of experiments or of a sweep: those that this machine has, and the others."""
        kept = self._kept.load(wanted, experiments) if self._kept is not None else {}
        if selection.parent_id is not None:
            kept = {run_id: run for run_id, run in kept.items() if run.parent_id == selection.parent_id}
        new: list[FoundRun] = []
        if len(kept) <= _FEW:
            new, more = self._page(wanted, _but(text, kept), _FIRST, {})
            if not more:
                every = self._few(wanted, kept, records(new, experiments))
                return self._every(wanted, text, selection, experiments) if every is None else every
        ended = {run.run_id for run in new if run.status == RunState.FINISHED}
        kept = {run_id: run for run_id, run in kept.items() if run_id not in ended}
        if any(run.run_id[:1] not in _DIGITS for run in new):  # ids of another kind of server
            return records(self._search(wanted, text), experiments)
        parts = [part for digit in _DIGITS for part in _split(digit, [*kept], [*ended])]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            trusted = pool.submit(self._counts_pages, wanted, next(iter(kept), None))
            tasks = [pool.submit(self._part, wanted, text, *part) for part in parts]
            alive, others = set[str](), list[FoundRun]()
            for task in tasks:
                there, more_of_part = task.result()
                alive.update(there)
                others += more_of_part
            if not trusted.result():
                again = [pool.submit(self._part, wanted, text, part, [], done) for part, _, done in parts]
                alive, others = set(), [run for task in again for run in task.result()[1]]
        by_id = {run.run_id: run for run in (*new, *others)}  # a run that ended meanwhile was read twice
        read = records(by_id.values(), experiments)
        if self._kept is not None:
            self._kept.tell(alive)
            self._kept.save(read, kept.keys() - alive)
        return in_order([*read, *(run for run_id, run in kept.items() if run_id in alive and run_id not in by_id)])

    def _few(self, wanted: list[str], kept: dict[str, RunRecord], new: list[RunRecord]) -> list[RunRecord] | None:
        """All runs, where those that this machine did not have fit into a page; None if some that it has are gone:
        these are forgotten."""
        if self._kept is None:
            return new
        gone = set[str]()
        if kept and not self._kept.is_short:
            trusted = self._counts_pages(wanted, next(iter(kept)))
            gone = kept.keys() - (self._alive(wanted, list(kept)) if trusted else set())
        self._kept.tell(kept.keys() - gone)
        if kept or self._kept.is_short:
            self._kept.save(new, gone)
        return None if gone else in_order([*new, *kept.values()])

    def _part(
        self, wanted: list[str], text: str, part: str, kept: list[str], ended: list[str]
    ) -> tuple[set[str], list[FoundRun]]:
        """Of the runs whose ids begin with `part`: those in `kept` that the store still has, and what it has besides
        these and those that have `ended`."""
        alive = self._alive(wanted, kept) if kept else set[str]()
        of_part = " AND ".join([*([text] if text else []), f"attributes.run_id LIKE '{part}%'"])
        return alive, self._search(wanted, _but(of_part, [*alive, *ended]))

    def _alive(self, wanted: list[str], run_ids: list[str]) -> set[str]:
        """Those of the runs that are in the store and not deleted. Of many, it is asked for the last: it is there only
        if the others are. A few runs are taken for gone together."""
        page = {} if len(run_ids) == 1 else {"page_token": _after(len(run_ids) - 1)}
        found, _ = self._page(wanted, f"attributes.run_id IN ({_listed(run_ids)})", 1, page)
        if found:
            return set(run_ids)
        if len(run_ids) <= _DOUBTED:
            return set()
        half = len(run_ids) // 2
        return self._alive(wanted, run_ids[:half]) | self._alive(wanted, run_ids[half:])

    def _counts_pages(self, wanted: list[str], run_id: str | None) -> bool:
        """Whether the server understands the token for a later page as it must for `_alive`: the second of one run is
        none."""
        if run_id is None:
            return True
        found, _ = self._page(wanted, f"attributes.run_id IN ({_listed([run_id])})", 1, {"page_token": _after(1)})
        return not found

    def _search(self, wanted: list[str], text: str, newest: int | None = None) -> list[FoundRun]:
        if newest is not None:
            return self._page(wanted, text, newest, {})[0]
        return [of_json(run) for run in self._pages("runs", partial(self._answer, wanted, text, _PAGE))]

    def _page(
        self, wanted: list[str], text: str, most: int, token: dict[str, str]
    ) -> tuple[list[FoundRun], str | None]:
        answer = self._answer(wanted, text, most, token)
        return [of_json(run) for run in answer.get("runs", [])], answer.get("next_page_token")

    def _answer(self, wanted: list[str], text: str, most: int, token: dict[str, str]) -> dict[str, Any]:
        asked = {
            "experiment_ids": wanted, "filter": text, "run_view_type": "ACTIVE_ONLY", "max_results": most,
            "order_by": ["attributes.start_time DESC"],
        }  # fmt: skip
        return ask(self._store, f"{_API}/runs/search", json={**asked, **token})

    def _pages(self, what: str, page: Callable[[dict[str, str]], dict[str, Any]]) -> Iterator[Any]:
        token: dict[str, str] = {}
        seen = set[str]()
        while True:
            answer = page(token)
            yield from answer.get(what, [])
            following = answer.get("next_page_token")
            if not following:
                return
            if following in seen or len(seen) >= _PAGES:
                shown = self._store.shown
                raise StoreError(f"The store {shown} says that there is more, again and again. Use another.")
            seen.add(following)
            token = {"page_token": following}

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Translate what answers of another form cause into a `StoreError`."""
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{self._store.shown} gives answers that an MLflow server does not give ({type(error).__name__})."
            ) from error


def _after(count: int) -> str:
    """MLflow's token for what follows the first `count` runs."""
    return b64encode(json.dumps({"offset": count}).encode()).decode()


def _split(part: str, kept: list[str], ended: list[str]) -> list[tuple[str, list[str], list[str]]]:
    """Parts of the runs whose ids begin with `part`, each small enough for a request, with those of `kept` and `ended`
    that are in it."""
    kept, ended = ([run_id for run_id in ids if run_id.startswith(part)] for ids in (kept, ended))
    if len(kept) + len(ended) <= _IDS:
        return [(part, kept, ended)]
    return [smaller for digit in _DIGITS for smaller in _split(part + digit, kept, ended)]


def _but(text: str, run_ids: Collection[str]) -> str:
    """The filter `text` without these runs."""
    conditions = [text] if text else []
    return " AND ".join([*conditions, *([f"attributes.run_id NOT IN ({_listed(run_ids)})"] if run_ids else [])])


def _listed(run_ids: Collection[str]) -> str:
    return ", ".join(map(quoted, run_ids))
