"""Which artifact locations are allowed: every location that a store records is checked before it is used.

A store may come from somebody else. A location in it could be a private folder, a link to one, or another server, which
would then receive files and the token of the store's own server. What a store records, and how it is corrected
after a move, is in `relocation.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness import paths
from harness.errors import OutsideStore, StoreError
from harness.tracking.relocation import artifact_root, check_in_place, local_path

NAMED = "HARNESS_ARTIFACTS"
"""The environment variable with further allowed places for artifacts (folders, buckets), separated by commas."""
SERVED = ("http", "https", "mlflow-artifacts")
MOST_FILES = 10_000
"""The largest number of files in an artifact folder that is read completely; a model has ten."""


def named_places() -> list[str]:
    """The places that the user has named."""
    return [place.strip() for place in os.environ.get(NAMED, "").split(",") if place.strip()]


def artifact_path(uri: str, database: Path | None, location: str) -> Path | None:
    """The local path of an artifact or artifact folder at `location`; None if it is not on this machine.

    `uri` and `database` are those of the store. Allowed are locations in the store's own artifact folder, on the
    store's own server, or in a place that `HARNESS_ARTIFACTS` names; no part of the path may be a link.

    Raises `OutsideStore` for any other location, before anything is read, written or sent.
    """
    named = named_places()
    path = local_path(location) if _is_plain(location) else None
    if path is not None and path.is_absolute():
        own = paths.default_artifact_directory() if database is None else artifact_root(database)
        owns = [own] if database is None else [own, artifact_root(database.resolve())]
        roots = [root.parent.resolve() / root.name for root in owns if not uri.startswith("http")]
        named_roots = [found.resolve() for place in named if (found := local_path(place)) is not None]
        try:
            for root in (*named_roots, *roots):
                if (below := _below(path, root)) is not None:
                    for part in (*reversed(below.parents), below):  # the root itself first
                        _refuse_link(root / part)
                    return path
        except OSError as error:
            raise StoreError(f"The artifacts in {path} cannot be reached: {error.strerror}.") from error
        if database is not None:
            check_in_place(database)
    elif (
        _is_plain(location)
        and path is None
        and (_is_on_server(uri, location) or any(location.startswith(f"{place.rstrip('/')}/") for place in named))
    ):
        return None
    raise OutsideStore(
        f"The store records that artifacts lie in {location!r}, which is neither in its own folder nor on its own "
        f"server. Nothing was read there or written. If that place is yours, name it: {NAMED}=PLACE in the environment."
    )


def _is_plain(location: str) -> bool:
    """Whether a location has only one interpretation. MLflow also decodes %-escapes in plain paths, sometimes twice,
    and treats some other forms as a path in the working directory."""
    address = urlsplit(location)
    if not location.isprintable() or location != location.strip() or ".." in address.path:
        return False
    if address.scheme == "file":
        decoded = unquote(address.path)
        rest = (address.netloc.replace("localhost", ""), address.query, address.fragment)
        return location.startswith("file:") and ".." not in decoded and decoded == unquote(decoded) and not any(rest)
    return unquote(location) == location if not address.scheme else ".." not in unquote(unquote(address.path))


def check_files(folder: Path) -> None:
    """Check that an artifact folder has only plain files and folders.

    Raises `OutsideStore` for links, FIFOs and the like (they lead elsewhere, or block), and for too many files.
    """
    count = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _refuse_link(Path(parent, name))
        count += len(files) + len(folders)
        if count > MOST_FILES:
            raise OutsideStore(f"The artifacts in {folder} are more than {MOST_FILES:,} files, so they are not read.")


def _below(path: Path, root: Path) -> Path | None:
    """The part of `path` below `root`, even if the path is written through other links or mounts above `root`."""
    if path.is_relative_to(root):
        return path.relative_to(root)
    if not root.exists():
        return None
    same = (place for place in (path, *path.parents) if place.exists() and place.samefile(root))
    return next((path.relative_to(place) for place in same), None)


def _refuse_link(place: Path) -> None:
    if place.is_symlink():
        raise OutsideStore(
            f"{place} is a link. Artifacts are neither read nor written through links. Put a plain file or folder in "
            f"its place; or, if it is a folder that leads where you want it, name that place: {NAMED}=PLACE in the "
            "environment."
        )
    if place.exists() and not (place.is_file() or place.is_dir()):
        raise OutsideStore(f"{place} is neither a file nor a folder, so it is not read.")


def _is_on_server(uri: str, location: str) -> bool:
    """Whether a location is on the store's own server. One with its own user or password is not."""
    own, other = urlsplit(uri), urlsplit(location)
    if uri.startswith(("databricks", "uc")):
        return other.scheme == "dbfs"
    if own.scheme not in ("http", "https") or other.scheme not in SERVED:
        return False
    host = own.netloc.rpartition("@")[2].lower()
    if other.scheme == "mlflow-artifacts":
        return other.netloc.lower() in ("", host)
    return other.scheme == own.scheme and other.netloc.lower() == host
