"""Checks and imports the user's own code: the modules of a reference and those beside them, and no others."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import FunctionType
from typing import Any

from harness.errors import ConfigError, suggestion
from harness.user_code.finding import UserSource, find_source, module_file, parse, parsed
from harness.user_code.signatures import check_call, definition, written_signature
from harness.user_code.trust import check_allowed

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 240
"""Characters of an error of the user's code that are shown."""


def check_options(reference: str, options: Mapping[str, Any], positional: Sequence[str], setting: str = "") -> None:
    """Make sure, without importing it, that a function takes `options` as keywords besides the arguments `positional`.

    What the source does not say (a decorated function, an imported one) is checked by `load`. `setting` is the
    beginning of the options' names in messages (`model.options`). Raises `ConfigError`.
    """
    find_source(reference)
    _, name = parse(reference)
    file = module_file(reference)
    if file is None:
        return
    found = definition(parsed(file), name)
    if found is None:
        names = [node.name for node in parsed(file).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        has = ", ".join(item for item in names if not item.startswith("_")) or "none"
        raise ConfigError(
            f"{reference}: {file.name} has no function {name}. Its functions are: {has}.{suggestion(name, names)}"
        )
    if (signature := written_signature(found)) is not None:
        check_call(reference, signature, options, positional, setting)


def load(
    reference: str, options: Mapping[str, Any] | None = None, positional: Sequence[str] = (), setting: str = ""
) -> Callable[..., Any]:
    """Import the module of a reference, as its files are now, and return the function (or class).

    With `options` it is checked that the function takes them, as by `check_options`. Raises `ConfigError`, also for an
    error in the module; and `RequestError` for a reference that is only recorded (`trust.check_allowed`).
    """
    module, name = parse(reference)
    check_allowed(reference)
    source = find_source(reference)
    _finder.serve(source)
    try:
        found: Any = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"{reference} cannot be imported: {describe_error(error)}") from error
    if not callable(found):
        raise ConfigError(f"{reference}: {module} has no function {name}.")
    if getattr(found, "__name__", "") == "<lambda>":
        raise ConfigError(f"{reference} is a lambda, which is not taken. Write it as: def {name}(...):")
    if options is not None:
        with suppress(ValueError):  # of a built-in function, which shows no signature
            check_call(reference, inspect.signature(found), options, positional, setting)
    function: Callable[..., Any] = found
    return function


def objects(reference: str) -> dict[str, Any]:
    """The classes and functions of the modules of a reference that was loaded, by name."""
    modules = [sys.modules[name] for name in find_source(reference).modules if name in sys.modules]
    return {
        name: found
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, type | FunctionType) and found.__module__ == module.__name__
    }


def describe_error(error: BaseException) -> str:
    """An error of the user's code on one line, with the place where it arose."""
    text = " ".join(_COLOURS.sub("", str(error)).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} ..."
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in _finder.names()]
    if isinstance(error, SyntaxError) or not frames:
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


class _Loader(SourceFileLoader):
    """Runs the source as it is now: the cached bytecode of a file that was changed within a second may be older."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder(MetaPathFinder):
    """Finds the user's modules that were asked for, and nothing else in the directory of the command."""

    serves_user_code = True

    def __init__(self) -> None:
        self._files: dict[str, tuple[Path | None, str]] = {}
        """The modules that are served: their files and the digests of these."""

    def names(self) -> set[str]:
        return {str(file) for file, _ in self._files.values() if file is not None}

    def serve(self, source: UserSource) -> None:
        """Let the modules of a source be imported; those whose files have changed since are imported again."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        wanted = {
            name: (file, "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest())
            for name, file in source.modules.items()
        }
        if any(self._files.get(name) != found for name, found in wanted.items()):
            for name in wanted:
                sys.modules.pop(name, None)
        self._files |= wanted

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self._files:
            return None
        file, _ = self._files[fullname]
        if file is None:
            parent, _, name = fullname.rpartition(".")
            folders = [str(Path(place) / name) for place in (path if parent else [Path.cwd()])]
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = folders
            return spec
        if file.suffix != ".py":
            return spec_from_file_location(fullname, file)
        package = [str(file.parent)] if file.name == "__init__.py" else None
        return spec_from_file_location(
            fullname, file, loader=_Loader(fullname, str(file)), submodule_search_locations=package
        )


_finder = _Finder()
