"""Data that a function of the user's own returns, as those of `keras.datasets` do, or one of an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness import user_code
from harness.data.arrays import ARRAYS, RawData
from harness.errors import ConfigError, HarnessError, UnusableData, suggestion

GROUP = "harness.datasets"
"""The group of entry points by which packages offer loaders."""
_SETTING = "dataset.options"
_FORM = "Return ((x_train, y_train), (x_test, y_test)), or a dictionary with these names and perhaps class_names."


def offered() -> dict[str, EntryPoint]:
    """The loaders that installed packages offer, by name."""
    return {found.name: found for found in sorted(entry_points(group=GROUP), key=lambda each: each.name)}


def reference_of(loader: str) -> str:
    """`package.module:function` for a setting `dataset.loader`, which may be the name of an offered one. Raises
    `ConfigError` for a name that no package offers."""
    if user_code.is_reference(loader):
        return loader
    names = offered()
    if loader not in names:
        known = f"Installed packages offer {', '.join(names)}." if names else "No installed package offers one."
        raise ConfigError(
            f"dataset.loader={loader}: must be a function as package.module:function, or the name of one that an "
            f"installed package offers (entry point group {GROUP}). {known}{suggestion(loader, names)}"
        )
    return names[loader].value


def state_of(loader: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What changes when the loader does: its source and its options. Raises `ConfigError`."""
    reference = reference_of(loader)
    return reference, user_code.source_digest(reference), repr(sorted(options.items()))


def call_loader(loader: str, options: Mapping[str, Any]) -> RawData:
    """What the loader returns, for `make_dataset`. Raises `ConfigError` where it cannot be imported or does not take
    the options, and `UnusableData` where it fails or returns something else."""
    source = f"dataset.loader={loader}"
    reference = reference_of(loader)
    if reference != loader:
        user_code.allow([reference])  # the package that the user has installed names it
    function = user_code.load(reference, options, (), _SETTING)
    try:
        answer = function(**options)
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UnusableData(f"{source}: the function failed: {user_code.describe_error(error)}.") from error
    if isinstance(answer, Mapping):
        if absent := [name for name in ARRAYS if name not in answer]:
            raise UnusableData(f"{source}: the dictionary that it returns has no {', '.join(absent)}. {_FORM}")
        names = answer.get("class_names")
        if names is not None and (isinstance(names, str) or not hasattr(names, "__iter__")):
            raise UnusableData(f"{source}: the class_names that it returns are no list of texts.")
        return RawData(source, {name: answer[name] for name in ARRAYS}, None if names is None else [*map(str, names)])
    try:
        (x_train, y_train), (x_test, y_test) = answer
    except (TypeError, ValueError) as error:
        raise UnusableData(f"{source}: returns {_in_words(answer)}. {_FORM}") from error
    return RawData(source, dict(zip(ARRAYS, (x_train, y_train, x_test, y_test), strict=True)))


def _in_words(answer: Any) -> str:
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)}"
    return "nothing" if answer is None else f"an object of type {type(answer).__name__}"
