"""The user's own code of a run: recorded with it, and compared when the run is trained again."""

from __future__ import annotations

import json
from typing import Any

from harness.config.fingerprint import code_digests
from harness.config.schema import Config, references
from harness.errors import RequestError
from harness.records import RunRecord
from harness.tracking.masking import without_secrets
from harness.tracking.models import run_artifact
from harness.tracking.store import Store
from harness.tracking.writing import RunWriter
from harness.untrusted import read_text
from harness.user_code import UserSource, check_allowed, find_source

SHOWN = 8
"""Digits of a digest that are a run's parameter."""
FOLDER = "code/user"
DIGESTS = "code/user.json"
"""The artifact with the SHA-256 of each file and the versions of the packages that they import, by setting."""


def log_code(tracked: RunWriter, config: Config) -> None:
    """Log the source of each reference to the user's own code (without secrets), its digests and its parameters."""
    sources = {key: find_source(reference) for key, reference in references(config).items()}
    if not sources:
        return
    tracked.log_parameters({key: digest[:SHOWN] for key, digest in code_digests(config).items()})
    tracked.log_text(DIGESTS, json.dumps({key: _described(source) for key, source in sources.items()}, indent=2))
    for path, file in {path: file for source in sources.values() for path, file in source.files().items()}.items():
        tracked.log_text(f"{FOLDER}/{path}", without_secrets(file.read_text(errors="replace"))[0])


def check_code(store: Store, record: RunRecord, config: Config) -> None:
    """Make sure, before a recorded run is trained again, that its references may be imported and have the recorded
    source. Raises `RequestError`, which names the files that differ."""
    named = references(config)
    for reference in named.values():
        check_allowed(reference)
    different = changed_code(record, config)
    if not different:
        return
    key = different[0]
    now = _described(find_source(named[key]))
    with run_artifact(store, record, DIGESTS) as file:
        then = _recorded(read_text(file), key)
    changed = [
        path for path in sorted({**now["files"], **then["files"]}) if now["files"].get(path) != then["files"].get(path)
    ]
    changed += sorted({*now["packages"]} ^ {*then["packages"]})
    raise RequestError(
        f"The run {record.name} ({record.run_id}) was trained with another source of {named[key]}: "
        f"{', '.join(changed) or 'its digest'} differs. Bring back the source, which the run has as artifacts in "
        f"{FOLDER}, or train a new run: harness train {key}={named[key]} ..."
    )


def changed_code(record: RunRecord, config: Config) -> list[str]:
    """The settings whose code is not that of the recorded run any more. Raises `ConfigError` where it is gone."""
    found = {key: digest[:SHOWN] for key, digest in code_digests(config).items()}
    return [key.removeprefix("code.") for key, digest in found.items() if record.parameters.get(key) != digest]


def _described(source: UserSource) -> dict[str, Any]:
    return {"files": source.digests(), "packages": list(source.packages)}


def _recorded(text: str, key: str) -> dict[str, Any]:
    """What `log_code` recorded of a setting; nothing where it was not written so. Raises `RequestError`."""
    try:
        found = json.loads(text)[key]
        return {
            "files": {str(path): str(digest) for path, digest in found["files"].items()},
            "packages": [str(package) for package in found["packages"]],
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"The run's {DIGESTS} is none of the harness ({type(error).__name__}).") from error
