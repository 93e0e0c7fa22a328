"""Which references may be imported: those that the user has named in this command, and code that the user has trained
with before, as long as it is the same.

A recorded `package.module:function` is a name that somebody else may have chosen. So a command that reads runs imports
it only if the user names it (`--import`), or if this user has trained with this very source: then the cache
(`paths.cache_directory`) has a file whose name is the digest of reference and source.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from harness import paths
from harness.errors import ConfigError, RequestError
from harness.user_code.finding import parse, source_digest

log = logging.getLogger(__name__)

KNOWN = "imported"
"""The folder in the cache."""

_allowed: set[str] = set()


def allow(references: Iterable[str]) -> None:
    """Let `load` import these references in this process: the user has named them. Raises `ConfigError` for a text that
    is no reference."""
    named = set(references)
    for reference in named:
        parse(reference)
    _allowed.update(named)


def remember(references: Iterable[str]) -> None:
    """Let this user's later commands import these references too, as long as their source is the same. Raises
    `ConfigError` where there is no such module."""
    for reference in references:
        file = _file(reference)
        if not file.exists():
            try:
                paths.write_text(file, f"{reference}\n", kept=True)
            except OSError as error:
                log.warning("Later commands will want --import %s: %s", reference, error)


def check_allowed(reference: str) -> None:
    """Raise `RequestError` if a reference may not be imported, and `ConfigError` where there is no such module."""
    if reference in _allowed:
        return
    try:
        known = _file(reference).exists()
    except ConfigError as error:
        raise RequestError(f"The run wants the code {error}") from error
    if known:
        return
    raise RequestError(
        f"The run wants the code {reference}, which is not imported: a record may have been written by somebody else, "
        "and you have not trained with this code as it is now. If you trust the code that you have under this name, "
        f"name it: --import {reference}"
    )


def _file(reference: str) -> Path:
    content = f"{reference}\n{source_digest(reference)}"
    return paths.cache_directory() / KNOWN / hashlib.sha256(content.encode()).hexdigest()
