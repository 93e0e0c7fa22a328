"""One PostgreSQL and one MLflow server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import empty, new_project
from tests.services.services import Server, login, running_service

__all__ = ["empty", "new_project"]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_service(tmp_path_factory.mktemp("service")) as server:
        yield server


@pytest.fixture(autouse=True)
def as_ann(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in login("ann").items():
        monkeypatch.setenv(key, value)
