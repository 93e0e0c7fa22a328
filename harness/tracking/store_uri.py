"""Checks a store's URI, and makes it mean the same in every working directory."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from harness.errors import RequestError
from harness.tracking import access

OPTIONS = re.compile(r"\?[\w.-]+=[^&/]*(&[\w.-]+=[^&/]*)*")
LONGEST_NAME = 200
"""The longest file name in bytes: file systems allow 255, and the names of lock, journal and backup are longer."""
SQLITE = re.compile(r"(?P<head>sqlite(\+\w+)?:///(file:)?)(?!:memory:)(?P<file>[^?]+)(?P<options>\?.*)?")


def absolute_uri(uri: str) -> str:
    """A URI that means the same store in every working directory, and for MLflow and SQLite alike."""
    if (match := SQLITE.fullmatch(uri)) is None:
        if problem := _problem_of_uri(uri):
            raise RequestError(f"The tracking store {access.shown_uri(uri)} cannot be used: {problem}")
        return uri
    database, options = Path(match["file"]).absolute(), match["options"] or ""
    if problem := _problem_of_file(database, options):
        raise RequestError(
            f"The tracking store {database}{options} cannot be used: {problem} Move it, or name another store with "
            "tracking.uri=sqlite:////PATH."
        )
    return f"{match['head']}{database}{options}"


def _problem_of_uri(uri: str) -> str:
    if uri.startswith("sqlite"):
        written = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        if ":memory:" in uri or uri.rstrip("/").endswith(":"):
            return f"a database in memory keeps nothing. Name a file: {written}"
        return f"a SQLite store is written with the whole path of its file, four strokes in all: {written}"
    if ("://" not in uri or uri.startswith("file:")) and not uri.startswith(("databricks", "uc")):
        place = Path(uri.removeprefix("file:").removeprefix("//")).absolute()
        file = place if place.suffix else place / "mlflow.db"
        return f"MLflow keeps runs in a database or on a server, not in a folder. Write sqlite:///{file}"
    return ""


def _problem_of_file(database: Path, options: str) -> str:
    if unquote(str(database)) != str(database):
        return "MLflow would read the % and the two digits after it as another character."
    if options and not OPTIONS.fullmatch(options):
        return "in a URI a ? ends the path, so that no folder or file may have one in its name."
    if not str(database).isprintable():
        return "its path has characters that cannot be shown."
    if len(database.name.encode()) > LONGEST_NAME:
        return f"the name of its file is longer than {LONGEST_NAME} bytes."
    try:
        database.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it does not exist yet, or opening it reports the problem
    except OSError as error:  # a loop of links, or a name or path that is too long
        return f"{error.strerror}."
    return ""
