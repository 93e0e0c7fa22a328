"""What a function takes: read from its source without importing it, and compared with what it is given."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import ConfigError, suggestion

_KEPT_BY_DECORATORS = frozenset({"register_keras_serializable"})
"""Decorators that leave a signature as it is written."""


def definition(tree: ast.Module, name: str) -> ast.AST | None:
    """The last statement that binds a name, wherever it stands outside functions; None where none can."""
    found: ast.AST | None = None
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop(0)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found = node if node.name == name else found
                continue
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
            imported = isinstance(node, ast.alias) and (node.asname or node.name).split(".")[0] in (name, "*")
            found = node if stored or imported else found
            waiting.append(node)
    return found


def written_signature(node: ast.AST) -> inspect.Signature | None:
    """The signature as it is written; None where only an import can tell."""
    decorators = getattr(node, "decorator_list", [])
    if any(_KEPT_BY_DECORATORS.isdisjoint(_names(each)) for each in decorators):
        return None
    arguments, skipped = getattr(node, "args", None), 0
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        arguments, skipped = (made[-1].args, 1) if made and not node.keywords else (None, 0)
    if not isinstance(arguments, ast.arguments):
        return None
    kinds = inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    parameters = [
        kinds(
            each.arg,
            kinds.POSITIONAL_ONLY if number < len(arguments.posonlyargs) else kinds.POSITIONAL_OR_KEYWORD,
            default=kinds.empty if number < required else None,
        )
        for number, each in enumerate(positional)
    ][skipped:]
    if arguments.vararg:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters.append(kinds(each.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else None))
    if arguments.kwarg:
        parameters.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _names(node: ast.AST) -> set[str]:
    attributes = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return attributes | {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def check_call(
    reference: str, signature: inspect.Signature, options: Mapping[str, Any], positional: Sequence[str], setting: str
) -> None:
    """Raise `ConfigError` if a call with these arguments does not fit."""
    parameters = list(signature.parameters.values())
    kinds = {each.kind for each in parameters}
    in_order = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    filled, rest = in_order[: len(positional)], in_order[len(positional) :]
    too_many = [each.name for each in rest if each.kind is each.POSITIONAL_ONLY and each.default is each.empty]
    if too_many or (len(filled) < len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds):
        raise ConfigError(
            f"{reference} is called with ({', '.join(positional)}) and then its options as keywords. It is written as "
            f"({', '.join(signature.parameters)})."
        )
    keywords = [each for each in rest if each.kind is not each.POSITIONAL_ONLY]
    keywords += [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    names, prefix = [each.name for each in keywords], f"{setting}." if setting else ""
    for option, value in options.items():
        if option not in names and inspect.Parameter.VAR_KEYWORD not in kinds:
            has = f"Its options are {', '.join(names)}." if names else "It has none."
            raise ConfigError(
                f"{prefix}{option}={value}: {reference} has no option {option}. {has}{suggestion(str(option), names)}"
            )
    missing = [each.name for each in keywords if each.default is each.empty and each.name not in options]
    if missing:
        raise ConfigError(f"{reference} needs {', '.join(prefix + name for name in missing)}, which has no default.")
