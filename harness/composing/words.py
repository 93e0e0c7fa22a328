"""Quotes overrides for Hydra, so that a text setting keeps the characters that were typed.

Hydra reads `1.10` as a number, so a text setting would get `1.1`. Such a value is quoted before Hydra reads it. A value
that Hydra cannot read at all (`dd (v2)`) is quoted too, unless a comma or a quote makes its meaning unclear.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import get_type_hints

from antlr4 import InputStream
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer

from harness.config.schema import OPTIONS, Config

WORD = re.compile(r"\+{0,2}(?P<key>[\w.]+)=(?P<value>.*)", re.DOTALL)
SPECIAL = re.compile(r"""[,'"\\$]""")
"""Characters with a special meaning for Hydra. A value that has one is not quoted."""
FUNCTIONS = frozenset(create_functions().functions)
TAKING_TEXTS = ("choice", "str")
"""Functions of Hydra whose arguments are values of the setting."""


def _texts(node: type, prefix: str = "") -> list[str]:
    rules = {item.name: item.metadata for item in node.__dataclass_fields__.values()}  # type: ignore[attr-defined]
    found = []
    for name, hint in get_type_hints(node).items():
        if hasattr(hint, "__dataclass_fields__"):
            found += _texts(hint, f"{prefix}{name}.")
        elif hint in (str, str | None) and not rules[name].get("choices"):
            found.append(f"{prefix}{name}")
    return found


TEXTS = frozenset(_texts(Config))
"""Settings that can be any text."""


def as_written(words: Sequence[str]) -> list[str]:
    """The overrides as Hydra is to be given them. Doing it twice changes nothing.

    A builder of the user's own makes the model a custom one, where no other was chosen.
    """
    keys = {word.lstrip("+").partition("=")[0] for word in words if not word.lstrip("+").endswith("=null")}
    chosen = ["model=custom"] if "model.builder" in keys and "model" not in keys else []
    return [*chosen, *(_as_written(word) for word in words)]


def quoted(key: str, value: str) -> str:
    """The override to type into a shell, so that Hydra uses exactly the characters of `value`."""
    return shlex.quote(f"{key}={_quoted(value)}")


def calls_function(value: str) -> bool:
    """Whether a value begins with a call of a function of Hydra."""
    return value.partition("(")[0].strip() in FUNCTIONS and "(" in value


def _as_written(word: str) -> str:
    match = WORD.fullmatch(word)
    if match is not None and match["key"].startswith(OPTIONS):
        return f"++{word.lstrip('+')}"  # the user's own names: the schema does not have them
    if match is None or match["key"] not in TEXTS:
        return word
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        literal = not SPECIAL.search(match["value"]) and not calls_function(match["value"])
        return word[: match.start("value")] + _quoted(match["value"]) if literal else word
    for start, end, following in reversed(_retyped(word)):
        word = f'{word[:start]}"{word[start:end]}"{word[following:]}'
    return word


def _retyped(word: str) -> list[tuple[int, int, int]]:
    """The places of values in a word that Hydra would read as a number or a boolean: start, end, start of the next."""
    lexer = OverrideLexer(InputStream(word))
    tokens = [token for token in lexer.getAllTokens() if token.type != OverrideLexer.WS]
    places = []
    calls = [name.text for name, token in pairwise(tokens) if token.type == OverrideLexer.POPEN]
    if not set(calls) <= set(TAKING_TEXTS):
        return []
    for before, token, after in zip(tokens, tokens[1:], [*tokens[2:], None], strict=False):
        ends = after is None or after.type in (OverrideLexer.COMMA, OverrideLexer.PCLOSE)
        begins = before.type in (OverrideLexer.EQUAL, OverrideLexer.COMMA, OverrideLexer.POPEN)
        if begins and ends and token.type in (OverrideLexer.INT, OverrideLexer.FLOAT, OverrideLexer.BOOL):
            places.append((token.start, token.stop + 1, len(word) if after is None else after.start))
    return places


def _quoted(value: str) -> str:
    """`value` in Hydra's quotes. Inside them, a backslash is special only before a quote."""
    mark = "'" if '"' in value else '"'
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda found: found[1] * 2 + (f"\\{mark}" if found[2] else ""), value)
    return f"{mark}{escaped}{mark}"
