"""What the other parts of the harness need to know of a setting: its rule and its traits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Traits:
    """What other parts of the harness need to know of a setting; they ask `settings_with`.

    Attributes:
        operational: why the setting is no part of what is trained: it says where or how a run is carried out.
        by_name: why it decides no number although it tells runs apart: it is a name.
        added: runs of earlier versions do not have it, and were trained with its default. Their fingerprints stay as
            they are: there the setting is left out where it has its default.
        idle_with: another setting of its section, and the values of that under which this one has no effect. A choice
            that is new counts as one under which it has.
        weights: weights that were trained under another value have another meaning here, or no place.
        time: whether the time of an epoch depends on its `value`, or on its `presence` (another value than zero).
        data: a compiled program is given the value; so runs that differ in it can share one.
        sweep: the jobs of a sweep must share it.
        failures: what a sweep does about jobs that fail.
        reference: it names the user's own code, `package.module:function` (`harness.user_code`), or may do so.
    """

    operational: str = ""
    by_name: str = ""
    added: bool = False
    idle_with: tuple[str, tuple[Any, ...]] | None = None
    weights: bool = False
    time: str = ""
    data: bool = False
    sweep: bool = False
    failures: bool = False
    reference: bool = False


def setting(
    default: Any,
    *,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    **traits: Any,
) -> Any:
    """A dataclass field with the rule that its value obeys (for a list: that each element obeys) and its `Traits`."""
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    rule = {"choices": tuple(choices), **limits, "traits": Traits(**traits)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=rule)
    return field(default=default, metadata=rule)


def traits_of(node: Any, prefix: str = "") -> Iterator[tuple[str, Traits]]:
    """The traits of each setting below a section, by its dotted name, and of the sections in it (`model.`)."""
    for item in fields(node):
        traits, value = item.metadata.get("traits", Traits()), getattr(node, item.name)
        is_section = hasattr(value, "__dataclass_fields__")
        several = is_section or isinstance(value, dict)
        yield (f"{prefix}{item.name}." if several else f"{prefix}{item.name}"), traits
        if is_section:
            yield from traits_of(value, f"{prefix}{item.name}.")
