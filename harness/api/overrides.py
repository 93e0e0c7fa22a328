"""Python values as Hydra's overrides: `seed=1`, `model={"hidden": [64, 64]}`, `optimizer=["sgd", "adam"]`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.schema import Config, flatten
from harness.errors import RequestError
from harness.user_code import parse

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"null", "none", "true", "false", "nan", "inf", "yes", "no", "on", "off"})
_LISTS = frozenset(key for key, value in flatten(Config()).items() if isinstance(value, list))


def overrides(words: Sequence[str], settings: Mapping[str, Any], sweeps: bool = False) -> list[str]:
    """The words as they are, and the settings as overrides behind them.

    A dictionary is a section: `regime={"epochs": 5}` is `regime.epochs=5`. A value is exactly itself: the text "1.10"
    stays a text. In a sweep, a list, a range or a tuple has the values to try; for a setting that is a list itself
    (`model.hidden`) it is one value, and a list of lists has several. Raises `RequestError` for a flag, and for a value
    that no setting can have; `ConfigError` for a function of a notebook's cell.

    A function is its reference (`my_models:build`); as `model` it is `model.builder`.

    Example:
        >>> overrides(["model=cnn"], {"seed": range(3), "regime": {"epochs": 5}}, sweeps=True)
        ['model=cnn', 'seed=0,1,2', 'regime.epochs=5']
    """
    for word in words:
        if not isinstance(word, str) or word.startswith("-") or "=" not in word.lstrip("~"):
            raise RequestError(
                f"{word!r}: give Hydra's overrides as texts ('model=cnn', 'regime.epochs=5') and other settings as "
                "keywords (seed=1). Flags belong to the command line."
            )
    given = (("model.builder" if _are_builders(key, value) else key, value) for key, value in _leaves(settings))
    return [*words, *(f"{key}={_text(key, value, sweeps)}" for key, value in given)]


def _are_builders(key: str, value: Any) -> bool:
    """Whether the user gives functions that build models. Raises `RequestError` for some, and models by name."""
    values = list(value) if _is_several(value) else [value]
    functions = sum(map(callable, values))
    if key == "model" and 0 < functions < len(values):
        raise RequestError("model: give names of models, or functions, not both in one sweep.")
    return key == "model" and functions > 0


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(key: str, value: Any, sweeps: bool) -> str:
    if not sweeps or not _is_several(value):
        return _value(key, value)
    values = list(value)
    if key in _LISTS and not any(map(_is_several, values)):
        return _value(key, values)
    if not values:
        raise RequestError(f"{key}={value!r}: has no value to try.")
    return ",".join(_value(key, each) for each in values)


def _is_several(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or (hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0)


def _value(key: str, value: Any) -> str:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a scalar of NumPy's
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str | Path):
        return _quoted(str(value))
    if callable(value) and hasattr(value, "__qualname__"):
        reference = f"{value.__module__}:{value.__qualname__}"
        parse(reference)
        return _quoted(reference)
    if _is_several(value):
        return f"[{','.join(_value(key, each) for each in value)}]"
    raise RequestError(f"{key}={value!r}: a setting is a number, a text, true or false, a list of these, or None.")


def _quoted(text: str) -> str:
    """A text that Hydra reads as exactly itself. Backslashes are doubled only before a quote, as its grammar wants."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = re.sub(r"(\\*)(')", lambda found: found[1] * 2 + "\\'", text)
    ended = re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped)
    return f"'{ended}'"
