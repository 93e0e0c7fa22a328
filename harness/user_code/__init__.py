"""The user's own code by reference, `package.module:function`: found, checked, imported, and known by its source.

Only what the user has named is imported from the directory of the command. Nothing is imported but by `load`, so a
wrong name or option is refused before TensorFlow is imported. `load` refuses a reference that is only recorded in a
run: commands that train `allow` the references of the configuration that was typed (`config.schema.references`).
"""

from harness.user_code.finding import (
    UserSource,
    find_source,
    is_reference,
    parse,
    source_digest,
    source_files,
)
from harness.user_code.importing import check_options, describe_error, load, objects
from harness.user_code.trust import allow, check_allowed, remember

__all__ = [
    "UserSource",
    "allow",
    "check_allowed",
    "check_options",
    "describe_error",
    "find_source",
    "is_reference",
    "load",
    "objects",
    "parse",
    "remember",
    "source_digest",
    "source_files",
]
