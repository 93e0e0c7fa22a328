"""What Hydra and OmegaConf find wrong with a request, in our words: the setting, the rule and the choices."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_type_hints

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from harness import paths
from harness.composing.setup import EXPERIMENTS
from harness.config import Config, flatten
from harness.errors import ConfigError, suggestion

SIBLINGS_SHOWN = 12
NO_OPTION = re.compile(r"null|true|false|[-+.\d].*|\{.*")
"""Values that Hydra does not take for the name of a group's option."""


@contextmanager
def explained(overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into a `ConfigError`; `overrides` are what the user gave."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error)) from error
    except OverrideParseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{error.override}: this override cannot be read ({reason}). Write key=value, group=option or "
            "key=value1,value2; quote what the shell would take apart: 'model.hidden=[64,64]'."
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        if (refusal := _refusal_of_ours(error)) is not None:
            raise refusal from None
        raise ConfigError(_explain(error, overrides)) from error
    except ValueError as error:  # Hydra raises it bare for a group set to a number and the like
        raise ConfigError(_explain_text(str(error), overrides)) from error


def _refusal_of_ours(error: BaseException | None) -> ConfigError | None:
    """What a resolver of ours raised, around which OmegaConf has put errors of its own."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__context__
    return error


def _missing_option(error: MissingConfigException) -> str:
    file = error.missing_cfg_file or ""
    group = next((one for one in _group_names() if file.startswith(f"{one}/")), file.rpartition("/")[0])
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
        return f"{given}: a setting cannot be taken out; give it another value, or null where it may have none."
    wanted = _expected_type(key.split("[")[0])
    return f"{given}: must be {wanted}." if wanted else f"{given}: {reason}."


def _explain_text(text: str, overrides: Sequence[str]) -> str:
    """Hydra's own message, for what it finds wrong without OmegaConf (for instance an unknown group)."""
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if f"'{key}'" in text and "Could not override" in text:
            return unknown_setting(key, overrides)
        if "Config group override" in text and key in _group_names() and NO_OPTION.fullmatch(value):
            return f"{override}: {key} is a group; it takes the name of an option. `harness train --help` lists them."
        if "Ambiguous value" in text and override in text:
            return (
                f"{override}: several values make a sweep: use `harness sweep` or `harness train --multirun`. "
                f"A list is written {key}=[...]."
            )
    return " ".join(text.split())


def unknown_setting(key: str, overrides: Sequence[str] = ()) -> str:
    """What to say of a key that does not exist: its neighbours if they are few, the nearest name if there is one."""
    if key.startswith("hydra."):
        return f"{_given(key, overrides)}: there is no such setting of Hydra's yet. To add it, put a + in front of it."
    known = [*flatten(Config()), *_group_names()]
    parents = [key.rsplit(".", depth)[0] for depth in range(1, key.count(".") + 1)]
    head = next((parent for parent in parents if any(name.startswith(f"{parent}.") for name in known)), "")
    siblings = [name for name in known if head and name.startswith(f"{head}.")] or _top_names()
    near = suggestion(key, [*known, *siblings]) or suggestion(key, siblings)
    choices = f"The settings there are {', '.join(siblings)}." if len(siblings) <= SIBLINGS_SHOWN or not near else ""
    message = f"{_given(key, overrides)}: there is no such setting.{near} {choices}".rstrip()
    return f"{message} `harness train --help` shows all settings."


def _given(key: str, overrides: Sequence[str]) -> str:
    """The override that set `key`, as the user wrote it; the key alone if a file set it."""
    return next((item for item in overrides if item.lstrip("+~").split("=")[0] == key.split("[")[0]), key)


def _group_names() -> list[str]:
    folders = sorted(item.name for item in paths.configuration_directory().iterdir() if item.is_dir())
    return [*(name for name in folders if name != "hydra"), EXPERIMENTS]


def _top_names() -> list[str]:
    fields = [item.name for item in dataclasses.fields(Config)]
    return fields + [name for name in _group_names() if name not in fields]


def _expected_type(key: str) -> str | None:
    """The type of a setting in words: `a whole number`, `true or false`."""
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
