"""Says once that a server does not answer, and once that it does again, in place of a line for every retry."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

log = logging.getLogger(__name__)

_SERVER_ERROR = 500

_REASONS = (
    ("NewConnectionError", "nobody listens there"),
    ("NameResolutionError", "its name is not known"),
    ("ConnectTimeoutError", "it cannot be reached"),
    ("ReadTimeoutError", "it takes too long"),
    ("ProtocolError", "the connection broke off"),
)

_told: set[str] = set()
"""The servers that are known not to answer."""
_silent: ContextVar[bool] = ContextVar("_silent", default=False)


@contextmanager
def silent() -> Iterator[None]:
    """Say nothing of this thread's requests in the block: the caller tells what it waits for."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def tell_retries(session: Any) -> None:
    """Let the retries of a `requests` session be told."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    for adapter in session.adapters.values():
        if not hasattr(adapter.max_retries, "is_told"):  # MLflow gives the same session many times
            adapter.max_retries = copy.copy(usual := adapter.max_retries)
            adapter.max_retries.__class__ = _told_class(type(usual))


def answered(url: str, status: int) -> None:
    """A server has answered: an outage of it is over, unless this is an error of its own."""
    if status < _SERVER_ERROR and (found := next((one for one in _told if f"//{one}/" in url), None)):
        _told.discard(found)
        log.warning("The tracking server %s answers again.", found)


def _told_class(usual: type) -> type:
    def increment(
        self: Any, method: Any = None, url: Any = None, response: Any = None, error: Any = None, _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Any:  # fmt: skip
        if self.total and _pool is not None:
            _tell(f"{_pool.host}:{_pool.port}", response, error)
        return usual.increment(self, method, url, response, error, _pool, _stacktrace)  # type: ignore[attr-defined]

    return type(usual.__name__, (usual,), {"increment": increment, "is_told": True})


def _tell(server: str, response: Any, error: BaseException | None) -> None:
    if _silent.get() or server in _told:
        return
    _told.add(server)
    if response is not None:
        reason = f"it answers with the error {response.status}"
    else:
        names = [kind.__name__ for kind in type(error).__mro__]
        reason = next((words for name, words in _REASONS if name in names), names[0])
    log.warning("The tracking server %s does not work: %s. It is asked again, with growing pauses.", server, reason)
