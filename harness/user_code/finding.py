"""References to the user's own code, `package.module:function`: where it is, and what its source is.

A module is found in the directory of the command, or where Python finds installed packages. Nothing is imported here.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import keyword
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.untrusted import planted

FORM = "package.module:function"
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_HARNESS = "harness"
_RECORDED = frozenset({_HARNESS, "keras", "numpy", "tensorflow"})
"""Packages whose versions every run records."""


def parse(reference: str) -> tuple[str, str]:
    """The module and the name in it. Raises `ConfigError` for anything but `package.module:function`.

    Example:
        >>> parse("my_models.nets:residual")
        ('my_models.nets', 'residual')
    """
    module, colon, name = reference.partition(":")
    parts = [*module.split("."), name]
    if not colon or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ConfigError(
            f"{reference!r} is no reference. Write {FORM}, such as my_models:build for the function build in "
            "my_models.py; a lambda, a path or a pickle is not taken."
        )
    if module == "__main__":
        raise ConfigError(
            f"{reference}: a function of a script or a notebook cell cannot be found by other processes. Write it into "
            "a file, such as my_models.py (in a notebook: %%writefile my_models.py), and name my_models:" + name + "."
        )
    return module, name


def is_reference(text: str) -> bool:
    """Whether a setting that also takes built-in names holds a reference: it has a colon."""
    return ":" in text


@dataclass(frozen=True)
class UserSource:
    """Where the code of a reference comes from.

    Attributes:
        modules: the files of the user's own modules by their dotted names; None for a folder without `__init__.py`.
        packages: the installed packages that they import, as `name==version`, without those whose
            versions every run records.
    """

    modules: Mapping[str, Path | None]
    packages: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        """The files of the modules by their paths, such as `my_models/nets.py`."""
        return {
            "/".join([*(name.split(".") if file.stem == "__init__" else name.split(".")[:-1]), file.name]): file
            for name, file in self.modules.items()
            if file is not None
        }

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file of `files`."""
        return {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in self.files().items()}


def find_source(reference: str) -> UserSource:
    """The source of a reference, found without importing it. Raises `ConfigError` where there is none, where it cannot
    be read, or where a file has the name of another module that is installed."""
    importlib.invalidate_caches()
    module, _ = parse(reference)
    modules: dict[str, Path | None] = {}
    packages: set[str] = set()
    if _add(module, modules, packages) is None:
        where = f"{Path.cwd()} and the installed packages"
        raise ConfigError(f"{reference}: there is no module {module} in {where}. Start the command where it lies.")
    return UserSource(modules, tuple(sorted(packages)))


def source_files(reference: str) -> dict[str, Path]:
    """The files of the reference's module and of the user's modules that it imports. Raises as `find_source`."""
    return find_source(reference).files()


def source_digest(reference: str) -> str:
    """64 hex digits for the content of `source_files` and the versions of the packages that they import. Raises as
    `find_source`."""
    source = find_source(reference)
    return hashlib.sha256(repr((sorted(source.digests().items()), source.packages)).encode()).hexdigest()


def module_file(reference: str) -> Path | None:
    """The file of the reference's module, also of an installed one; None for one that is no file of Python's source.
    Raises as `find_source`."""
    module, _ = parse(reference)
    spec = _add(module, {}, set())
    file = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return file if file is not None and file.suffix == ".py" else None


def _add(module: str, modules: dict[str, Path | None], packages: set[str]) -> ModuleSpec | None:
    """Find a module, and add it with all that it imports; None where there is no such module."""
    top = module.partition(".")[0]
    spec, own = _find_top(top)
    for part in range(1, module.count(".") + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        if own:
            _add_file(spec.name, spec, modules, packages)
        spec = PathFinder.find_spec(".".join(module.split(".")[: part + 1]), spec.submodule_search_locations)
    if spec is None:
        return None
    if own:
        _add_file(module, spec, modules, packages)
    elif top not in sys.stdlib_module_names | _RECORDED and (package := _package(top)):
        packages.add(package)
    return spec


def _add_file(name: str, spec: ModuleSpec, modules: dict[str, Path | None], packages: set[str]) -> None:
    if name in modules:
        return
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    modules[name] = file
    if file is None or file.suffix != ".py":
        return
    if problem := planted(file):
        raise ConfigError(f"{file} is not imported: {problem}.")
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for imported in _imports(parsed(file), package):
        _add(imported, modules, packages)


def _find_top(name: str) -> tuple[ModuleSpec | None, bool]:
    """Where a top-level module is, and whether it is the user's own. Raises `ConfigError` for two of the same name."""
    here = PathFinder.find_spec(name, [str(Path.cwd())])
    elsewhere = next((spec for finder in sys.meta_path if (spec := _found(finder, name)) is not None), None)
    if here is not None and here.origin and elsewhere is not None and elsewhere.origin:
        standard = name in sys.stdlib_module_names
        if standard or Path(here.origin).resolve() != Path(elsewhere.origin).resolve():
            what = "the standard library" if standard else f"an installed package ({elsewhere.origin})"
            raise ConfigError(
                f"{here.origin} has the name of a module of {what}, so {name} could mean either of them. Rename it, or "
                "start the command in another folder."
            )
    if here is not None and (here.origin or elsewhere is None):
        return here, True
    if elsewhere is None:
        return None, False
    origin = elsewhere.origin or next(iter(elsewhere.submodule_search_locations or ()), "")
    return elsewhere, not (
        name in sys.stdlib_module_names
        or name == _HARNESS
        or origin in ("built-in", "frozen")
        or _INSTALLED & set(Path(origin).parts)
    )


def _found(finder: Any, name: str) -> ModuleSpec | None:
    if getattr(finder, "serves_user_code", False) or not hasattr(finder, "find_spec"):
        return None
    spec: ModuleSpec | None = finder.find_spec(name, None)
    return spec


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module that the source may mean, wherever it stands: `from a import b` may mean `a.b` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _package(top: str) -> str:
    """The installed distributions of a top-level module as `name==version`; empty where there is none."""
    with suppress(PackageNotFoundError):
        return f"{top}=={version(top)}"
    return ", ".join(f"{name}=={version(name)}" for name in sorted(set(_distributions().get(top, ()))))


@lru_cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def parsed(file: Path) -> ast.Module:
    """The parsed source. Raises `ConfigError` for what is no Python."""
    found = file.stat()
    return _parse(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _parse(file: Path, changed: int, size: int) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigError(f"{file}{line}: this is no Python ({getattr(error, 'msg', error)}).") from error
