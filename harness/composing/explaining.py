"""Translates errors of Hydra and OmegaConf into messages that name the setting, its rule and the choices."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_type_hints

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from harness import paths
from harness.composing.setup import EXPERIMENTS, OPTIMIZER
from harness.composing.words import TEXTS, calls_function, quoted
from harness.config.schema import Config, flatten
from harness.errors import ConfigError, suggestion

SIBLINGS_SHOWN = 12
NO_OPTION = re.compile(r"null|true|false|[-+.\d].*|\{.*")
"""Values that cannot be the name of a group's option for Hydra."""

UNPACKED = re.compile(r"In '(?P<file>(?P<group>\w+)/[^']+)'.*: Key '(?P=group)' not in 'Composed'")
"""Hydra's message for a file without `# @package _global_` in a group that has no settings of its own."""
CHOSEN_AS_SETTING = re.compile(
    r"In '(?P<file>[^']+)'.*: \w+ is not a subclass of (?P<section>\w+)Config\. value: (?P<option>\S+)"
)
WRONG_IN_FILE = re.compile(
    r"In '(?P<file>[^']+)': (?P<kind>\w+) raised while composing config: (?P<reason>.*?)(?: full_key: (?P<key>\S*))?"
    r"(?: reference_type=\S+)?(?: object_type=\S+)?"
)
"""Hydra's message for a file that does not fit the schema."""
CHOSEN_TWICE = re.compile(
    r"Multiple values for (?P<group>\S+)\. To override a value use 'override (?P=group): (?P<option>.+)'"
)
NO_SUCH_GROUP = re.compile(r"In '(?P<file>[^']+)': Could not override '(?P<group>[^']+)'")
GIVEN_VALUE = re.compile(r"Value '(?P<value>.*)' of type")
ABBREVIATIONS = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay"}
"""Common short names of our settings, for suggestions."""


@contextmanager
def explained(overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf into a `ConfigError`; `overrides` are the words of the user."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error)) from error
    except OverrideParseException as error:
        raise ConfigError(_unreadable(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        if (own := _own_error(error)) is not None:
            raise own from None
        raise ConfigError(_explain(error, overrides)) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_unreadable_file(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"a file of the configuration is not UTF-8 ({error}). Save it as UTF-8.") from error
    except ValueError as error:  # Hydra raises a plain one, for instance for a group set to a number
        raise ConfigError(_explain_text(str(error), overrides)) from error


def _own_error(error: BaseException | None) -> ConfigError | None:
    """The error that one of our resolvers raised, if any: OmegaConf wraps it in its own errors."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__context__
    return error


def _unreadable(error: OverrideParseException) -> str:
    """The message for a word that cannot be read as an override, with what to type instead."""
    word = str(error.override)
    key, equals, value = word.partition("=")
    if not equals:
        name = key.lstrip("+~").rstrip(":")
        wanted = f"{name}=VALUE" if name in (*flatten(Config()), *group_names()) else "SETTING=VALUE"
        return f"{word}: this is not a setting with a value. Write {wanted}, without spaces around the =."
    if key.lstrip("+") in TEXTS and not calls_function(value):
        return f"{word}: Hydra cannot read this value. Quote it for Hydra and for the shell: {quoted(key, value)}"
    reason = "it ends in a comma" if value.endswith(",") else str(error).splitlines()[0].partition(" expecting {")[0]
    return (
        f"{word}: this override cannot be read ({reason}). Write key=value, group=option or key=value1,value2, without "
        "a space after a comma. Quote characters that the shell would interpret: 'model.hidden=[64,64]'."
    )


def _missing_option(error: MissingConfigException) -> str:
    file = error.missing_cfg_file or ""
    nested, _, option = file.rpartition("/")
    head, _, inner = nested.partition("/")
    if head in group_names() and inner in group_names():
        return (
            f"a file of {head} chooses {inner}: {option} in its defaults list as if {inner} were a part of {head}. "
            f"Write there: - override /{inner}: {option}"
        )
    group = next((one for one in group_names() if file.startswith(f"{one}/")), nested)
    option = file.removeprefix(f"{group}/")
    choices = [str(choice) for choice in error.options or []]
    if not group:
        return f"{option}: there is no such configuration file in {paths.configuration_directory()}."
    return f"{group}={option}: must be one of {', '.join(choices)}.{suggestion(option, choices)}"


def _explain(error: HydraException | OmegaConfBaseException, overrides: Sequence[str]) -> str:
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return _explain_text(str(error), overrides)
    key = str(cause.full_key or "")
    if isinstance(cause, ConfigKeyError) or type(cause).__name__ == "ConfigAttributeError":
        return unknown_setting(key, overrides)
    reason = str(cause.msg or cause).splitlines()[0]
    given = _given(key, overrides)
    if reason.endswith("does not support deletion"):
        return f"{given}: a setting cannot be removed. Give it another value, or null if it can be empty."
    wanted = _expected_type(key.split("[")[0])
    if missing := re.search(r"Interpolation key '(.+)' not found", reason):
        word = next((word for word in overrides if missing[1] in word), f"${{{missing[1]}}}")
        near = suggestion(missing[1], list(flatten(Config())))
        return f"{word}: there is no setting {missing[1]} to refer to.{near}"
    if missing := re.search(r"Environment variable '(.+)' not found", reason):
        name = missing[1]
        return f"${{oc.env:{name}}}: the variable {name} is not set. Set it, or write ${{oc.env:{name},VALUE}}."
    if not given:  # the error is in a setting that a value refers to with ${...}
        return f"{' '.join(word for word in overrides if '${' in word) or 'a setting'}: {reason}."
    return f"{given}: must be {wanted}.{_several(given)}" if wanted else f"{given}: {reason}."


def _explain_text(text: str, overrides: Sequence[str]) -> str:
    """A clearer form of a message that Hydra raised without OmegaConf, for instance for an unknown group."""
    text = " ".join(text.split())
    if match := UNPACKED.search(text):
        return (
            f"{match['file']}.yaml: its settings would belong to '{match['group']}', which has no settings. Make this "
            "the first line of the file: # @package _global_"
        )
    if match := CHOSEN_AS_SETTING.search(text):
        group = match["section"].lower()
        return (
            f"{match['file']}.yaml: '{group}: {match['option']}' sets a whole group to one value. Choose an option in "
            f"the defaults list of the file:  defaults:  - override /{group}: {match['option']}"
        )
    if match := CHOSEN_TWICE.search(text):
        group, option = match["group"], match["option"]
        return (
            f"{group}: a defaults list chooses {option} although another option of {group} is chosen already. Write "
            f"there: - override /{group}: {option}"
        )
    if match := NO_SUCH_GROUP.search(text):
        group = match["group"].rpartition("@")[2]
        wanted = (
            f"Write - override /{group}: OPTION"
            if group in group_names()
            else "The groups are " + ", ".join(group_names())
        )
        near = suggestion(group, group_names())
        return f"{match['file']}.yaml: 'override {match['group']}' does not name a group.{near} {wanted}."
    if match := WRONG_IN_FILE.fullmatch(text):
        return f"{match['file']}.yaml: {_wrong_in_file(match)}"
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if f"'{key}'" in text and "Could not override" in text:
            return unknown_setting(key, overrides)
        if "Config group override" in text and key in group_names() and NO_OPTION.fullmatch(value):
            return f"{override}: {key} is a group, so its value is an option. `harness train --help` lists the options."
        if "Ambiguous value" in text and override in text:
            other = f"A list is written {key}=[...]."
            if key in TEXTS:
                other = f"If the comma is a part of the text: {quoted(key, value)}"
            return (
                f"{override}: several values make a sweep: use `harness sweep` or `harness train --multirun`. {other}"
            )
        if not key and "must be a string or a list" in text:
            return f"{override}: this does not name a setting. Write SETTING=VALUE."
    return text


def _wrong_in_file(match: re.Match[str]) -> str:
    key, reason = match["key"] or "", match["reason"]
    if key.partition(".")[0] in ("params", "sweeper"):
        return f"{key}: there is no such setting. Write values to sweep over under  hydra:  sweeper:  params:"
    if match["kind"] in ("ConfigKeyError", "ConfigAttributeError"):
        return unknown_setting(key)
    if "Cannot merge" in reason:
        return "contains a list where named settings are needed. Write SETTING: VALUE, without a - before it."
    wanted, value = _expected_type(key.split("[")[0]), GIVEN_VALUE.match(reason)
    if wanted is None:
        return f"{key}: {reason}." if key else reason
    given = f"{key}: {value['value']}" if value else key
    several = " Write several values under  hydra:  sweeper:  params:" if value and "," in value["value"] else ""
    return f"{given}: must be {wanted}.{several}"


def _unreadable_file(error: yaml.MarkedYAMLError) -> str:
    """The message for a file that is not YAML: the place and the problem."""
    mark = error.problem_mark or error.context_mark
    place = "a file" if mark is None else f"{mark.name}, line {mark.line + 1}"
    problem = str(error.problem or error.context)
    tabs = " Indent YAML with spaces, not with tabs." if "\\t" in problem else ""
    return f"{place}: this is not YAML ({problem}).{tabs}"


def _several(word: str) -> str:
    """How to sweep over values that are written as in other tools: `seed=[0,1,2]`, `seed=0..3`."""
    key, _, value = word.lstrip("+").partition("=")
    if re.fullmatch(r"\[[^\[\]]+\]", value):
        return f" For a run with each value: harness sweep {key}={value[1:-1].replace(' ', '')}"
    if between := re.fullmatch(r"(\d+)(?:\.\.|-|:)(\d+)", value):
        return f" For a run with each value from {between[1]} to {between[2]}: " + (
            f"harness sweep '{key}=range({between[1]},{int(between[2]) + 1})'"
        )
    if key in TEXTS:
        return f" To use exactly these characters: {quoted(key, value)}"
    return ""


def unknown_setting(key: str, overrides: Sequence[str] = ()) -> str:
    """The message for a key that does not exist: the nearest name if there is one, its neighbours if they are few."""
    if key.startswith("hydra."):
        return f"{_given(key, overrides)}: Hydra's configuration has no such setting yet. To add it, put a + before it."
    known = [*flatten(Config()), *group_names()]
    parents = [key.rsplit(".", depth)[0] for depth in range(1, key.count(".") + 1)]
    head = next((parent for parent in parents if any(name.startswith(f"{parent}.") for name in known)), "")
    siblings = [name for name in known if head and name.startswith(f"{head}.")] or _top_names()
    meant = ".".join(ABBREVIATIONS.get(part, part) for part in key.split("."))
    near = suggestion(meant, [*known, *siblings]) or suggestion(meant, siblings)
    choices = f"The settings there are {', '.join(siblings)}." if len(siblings) <= SIBLINGS_SHOWN or not near else ""
    message = f"{_given(key, overrides)}: there is no such setting.{near} {choices}".rstrip()
    return f"{message} `harness train --help` shows all settings."


def _given(key: str, overrides: Sequence[str]) -> str:
    """The override that set `key`, as the user wrote it; the key alone if a file set it."""
    last = reversed(overrides)  # if two set the same key, the last one counts
    return next((item for item in last if item.lstrip("+~").split("=")[0] == key.split("[")[0]), key)


def group_names() -> list[str]:
    """The groups of options, `experiments` last."""
    folders = {item.name for item in paths.configuration_directory().iterdir() if item.is_dir()}
    return [*sorted((folders | {OPTIMIZER}) - {"hydra"}), EXPERIMENTS]


def _top_names() -> list[str]:
    fields = [item.name for item in dataclasses.fields(Config)]
    return fields + [name for name in group_names() if name not in fields]


def _expected_type(key: str) -> str | None:
    """The type of a setting in words, such as `a whole number`; None if there is no such setting."""
    node: Any = Config
    for part in key.split("."):
        hints = get_type_hints(node) if dataclasses.is_dataclass(node) else {}
        if part not in hints:
            return None
        node = hints[part]
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "list[int]": "a list of whole numbers such as [128,64]",
        "None": "null",
    }
    if dataclasses.is_dataclass(node):
        return f"one of the options of the group '{key}'" if "." not in key else "a group of settings"
    names = [name.strip() for name in (node.__name__ if isinstance(node, type) else str(node)).split("|")]
    if str(node).startswith("list["):
        names = [str(node)]
    return " or ".join(words.get(name, name) for name in names)
