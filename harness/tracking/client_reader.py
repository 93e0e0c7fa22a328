"""Reads runs through MLflow's client, page by page: databases, and SQLite files of a schema that is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType

from harness.errors import StoreError
from harness.records import RunRecord
from harness.tracking.found_runs import FoundRun, filters, of_fingerprints, records
from harness.tracking.preflight import check_journal
from harness.tracking.selection import CONTEXT_TAG, EPOCH_METRIC, Selection, Series, bounded
from harness.tracking.store import Store

_PAGE = 1000
_PAGES = 10_000


class ClientReader:
    """A `Reader` of any store."""

    def __init__(self, store: Store) -> None:
        """Connect to the store.

        Raises:
            StoreError: MLflow cannot use it.
        """
        self._store = store
        if store.database is not None:
            check_journal(store.database)
        store.check_tables()
        with store.explained():
            self._client = MlflowClient(tracking_uri=store.uri)  # `store.client` would create missing tables

    def experiments(self) -> dict[str, str]:
        return {experiment.experiment_id: bounded(experiment.name) for experiment in self._experiments()}

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        return next((dict(one.tags) for one in self._experiments() if one.experiment_id == experiment_id), {})

    def select(self, selection: Selection) -> list[RunRecord]:
        experiments, asked = self.experiments(), selection.experiment_ids
        wanted = [identity for identity in experiments if asked is None or identity in asked]
        if not wanted:  # for MLflow an empty list is an error
            return []
        found = [run for text in filters(selection) for run in self._search(wanted, text, selection.newest)]
        return records(of_fingerprints(found, selection), experiments)

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        found: Series = {}
        for key in metrics:
            for identity in run_ids:
                with self._store.explained():
                    points = self._client.get_metric_history(identity, key)
                if points:
                    ordered = sorted(points, key=lambda point: point.timestamp)
                    found.setdefault(identity, {})[key] = {point.step: float(point.value) for point in ordered}
        return found

    def _experiments(self) -> Iterator[Any]:
        search = partial(self._client.search_experiments, view_type=ViewType.ACTIVE_ONLY, max_results=_PAGE)
        return _pages(self._store, lambda token: (page := search(page_token=token), page.token))

    def _search(self, experiment_ids: list[str], text: str, newest: int | None) -> list[FoundRun]:
        most, order = newest or _PAGE, ["attributes.start_time DESC"]

        def page(token: str | None) -> tuple[list[FoundRun], str | None]:
            found = self._client.search_runs(experiment_ids, text, ViewType.ACTIVE_ONLY, most, order, token)
            return [_of_entity(run) for run in found], found.token if newest is None else None

        return list(_pages(self._store, page))


def _pages(store: Store, page: Callable[[str | None], tuple[Sequence[Any], str | None]]) -> Iterator[Any]:
    """What all pages have; `page` gives one, and the token of the next. Raises `StoreError` if they have no end."""
    token: str | None = None
    seen = set[str]()
    while True:
        with store.explained():
            found, token = page(token)
        yield from found
        if not token:
            return
        if token in seen or len(seen) >= _PAGES:
            raise StoreError(f"The store {store.shown} says that there is more, again and again. Use another.")
        seen.add(token)


def _of_entity(run: Any) -> FoundRun:
    info, data = run.info, run.data
    inputs = [] if run.inputs is None else run.inputs.dataset_inputs
    contexts = [next((tag.value for tag in one.tags if tag.key == CONTEXT_TAG), "") for one in inputs]
    # The run object has the steps of the last values, but MLflow has no public attribute for them.
    epochs = next((metric.step for metric in data._metric_objs if metric.key == EPOCH_METRIC), 0)
    return FoundRun(
        info.run_id, info.run_name, info.experiment_id, info.status, (info.start_time, info.end_time),
        info.artifact_uri, data.params, data.tags, data.metrics, epochs,
        {context: one.dataset.digest for context, one in zip(contexts, inputs, strict=True)},
    )  # fmt: skip
