"""Which settings define the rows of a comparison, and which of these a table shows.

Two runs with different optimizers differ in a dozen parameters: the optimizer's name and every option whose default
follows from it. A table with all of them hides what was varied. `distinguish` shows a setting only if it does not
follow from the settings already shown.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from harness.config.schema import ADDED_LATER, OPERATIONAL, OPTIONS, Config, flatten
from harness.images import DECIDING
from harness.records import PUBLISHED, VARIANT_PARAMETER

SEED = "seed"
NOT_SETTINGS = (*OPERATIONAL, "regime.continue_from", "continued.from", "data.")
"""Parameters that say where and how a run is executed and recorded, or where its files came from; they are no part of
what is trained. The number of threads decides only the last digits. A continued run is described by `continued.epochs`
and `continued.settings`, which runs with different seeds share. `data.*` describes the images, see `images.py`."""

NOT_CONTINUED: Mapping[str, str] = {"continued.from": "None", "continued.epochs": "0", "continued.settings": "None"}
"""Parameters of every run: the run that it continues, that run's number of epochs, and its `settings_digest`."""

_BEFORE = {key: str(value) for key, value in ADDED_LATER.items()}

FIRST = ("model.name", "optimizer.name", "dataset.name")
SELECTORS = {
    "model.name": "model.",
    "optimizer.name": "optimizer.",
    "dataset.name": "dataset.",
    "regime.validation.strategy": "regime.validation.",
    "regime.early_stopping.enabled": "regime.early_stopping.",
    "regime.schedule.name": "regime.schedule.",
    "continued.epochs": "continued.",
    "optimizer_name": "optimizer_",  # as mlflow.keras.autolog has it
    "opt_name": "opt_",  # as mlflow.tensorflow.autolog has it, which mlflow.autolog calls too
}
"""Settings that decide which other settings apply, and the prefix of those others."""

OPTIONS_OF_TORCH = frozenset({
    "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused",
    "decoupled_weight_decay", "momentum", "dampening", "nesterov", "alpha", "centered", "rho", "momentum_decay",
    "lr_decay", "initial_accumulator_value",
})  # fmt: skip
"""The parameters of an optimizer that Lightning's autologging records besides `optimizer_name`."""
DECIDES_IMAGES = frozenset(chain.from_iterable(DECIDING.values()))
"""The settings that decide which images a run is given, and their labels."""
EPOCHS, TRAIN_SIZE = "regime.epochs", "dataset.train_size"
_LENGTH = (EPOCHS, TRAIN_SIZE, "regime.batch_size")

_ORDER = {key: place for place, key in enumerate(flatten(Config()))}
ABSENT = "-"
"""The text for a parameter that a run does not have (a run of another version, or an external run)."""

_SOURCES = 100
"""The largest number of settings in a group for which dependencies are searched: an external run may have thousands of
parameters."""

Configuration = tuple[str, ...]


@dataclass(frozen=True)
class Distinction:
    """How some configurations differ: the keys `shown`, those `constant` (with their one value), and those that
    `follow` (each with the shown key that it is a function of)."""

    shown: tuple[str, ...]
    constant: Mapping[str, str]
    follows: Mapping[str, str]


def is_setting(key: str) -> bool:
    """Whether a parameter is a setting of what is trained, other than the seed."""
    return key != SEED and not key.startswith(NOT_SETTINGS)


def setting_of(parameters: Mapping[str, str], key: str) -> str:
    """The value of a setting in the parameters of a run of any version; `ABSENT` if there is none."""
    return parameters.get(key, _BEFORE.get(key, ABSENT))


def settings_of(parameters: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    """The values of these settings as by `setting_of`; fast if all parameters exist, which is usual."""
    if len(keys) > 1 and all(map(parameters.__contains__, keys)):
        found: tuple[str, ...] = itemgetter(*keys)(parameters)
        return found
    return tuple(setting_of(parameters, key) for key in keys)


def deciding(parameters: Mapping[str, object]) -> dict[str, str]:
    """The parameters that decide a run's numbers, including the seed, as text, the same for runs of every version.

    Runs of versions without warm starts count as not continued. A setting that was added later is left out if it has
    the value with which earlier runs were trained. The data is described by its files (left out for the published
    files): the digests of the splits follow from files and settings.
    """
    every = {key: str(value) for key, value in {**NOT_CONTINUED, **parameters}.items()}
    usual = {**_BEFORE, VARIANT_PARAMETER: PUBLISHED}
    return {
        key: value
        for key, value in every.items()
        if (key in (SEED, VARIANT_PARAMETER) or is_setting(key)) and usual.get(key) != value
    }


def settings_digest(parameters: Mapping[str, object]) -> str:
    """Eight hex digits that are equal for runs with the same settings, with any seed."""
    settings = sorted((key, value) for key, value in deciding(parameters).items() if key != SEED)
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:8]


def swept_settings(swept: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The parameters behind the keys of a sweep: the choice of a group (`model=mlp,cnn`) is that of `model.name`."""
    parameters = set(known)
    bare = [key.lstrip("+~").partition("@")[0].replace("/", ".") for key in swept]
    found = [key if key in parameters or key.startswith(OPTIONS) else f"{key}.name" for key in bare]
    there = (key for key in dict.fromkeys(found) if key in parameters or key.startswith(OPTIONS))
    return tuple(filter(is_setting, there))


def distinguish(keys: Sequence[str], configurations: Sequence[Configuration], swept: Iterable[str] = ()) -> Distinction:
    """Split `keys` into those that a table of the (distinct) `configurations` shows and those that it hides.

    A setting that varies is shown, with one exception: it is hidden if it was not swept on purpose (`swept`) and is a
    function of a setting of the same group that is already shown. There must be evidence for the dependency: the shown
    setting is a selector (`SELECTORS`: an optimizer's options follow from its name), or one of its values occurs in
    several configurations. (In a random search every learning rate occurs once, so everything is a function of it.)
    A dependency between groups (each model with another optimizer) is never hidden, because it is a confounder, except
    epochs that compensate the size of the training set (`_as_many_steps`). A setting that decides which images a run
    uses (`DECIDES_IMAGES`) can only be hidden by its selector.

    The shown settings distinguish all configurations, because each hidden one is a function of a shown one.
    """
    columns = dict(zip(keys, zip(*configurations, strict=True), strict=True)) if configurations else {}
    constant = {key: values[0] for key, values in columns.items() if len(set(values)) == 1}
    on_purpose = set(swept)
    shown: dict[str, int] = {}
    recurring: defaultdict[str, list[str]] = defaultdict(list)
    follows: dict[str, str] = {}
    for key in _by_importance((key for key in columns if key not in constant), on_purpose):
        among = () if key in on_purpose or key in FIRST else _evident(key, shown, recurring, columns)
        source = next((other for other in among if is_function(columns[key], columns[other])), None)
        if source is not None:
            follows[key] = source
            continue
        shown[key] = len(shown)
        if len(set(columns[key])) < len(columns[key]) and len(recurring[_group(key)]) < _SOURCES:
            recurring[_group(key)].append(key)
    return Distinction(tuple(shown), {key: constant[key] for key in sorted(constant, key=_place)}, follows)


def _by_importance(keys: Iterable[str], on_purpose: set[str]) -> list[str]:
    def rank(key: str) -> tuple[int, tuple[int, str]]:
        if key in FIRST:
            return 0, (FIRST.index(key), key)
        return (1 if key in on_purpose else 2 if key in SELECTORS else 3), _place(key)

    return sorted(keys, key=rank)


def _place(key: str) -> tuple[int, str]:
    return _ORDER.get(key, len(_ORDER)), key


def _evident(
    key: str, shown: Mapping[str, int], recurring: Mapping[str, list[str]], columns: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """The shown settings from which `key` may follow, if it is a function of them, in the order shown."""
    parts = key.split(".")
    found = {".".join(parts[:place]) for place in range(1, len(parts))} - SELECTORS.keys()
    found |= {other for other, prefix in SELECTORS.items() if key.startswith(prefix)}
    if key in OPTIONS_OF_TORCH:
        found.add("optimizer_name")
    if key == EPOCHS and _as_many_steps(columns):
        found.add(TRAIN_SIZE)
    if key not in DECIDES_IMAGES:
        found.update(recurring.get(_group(key), ()))
    return sorted(found & shown.keys(), key=lambda other: shown[other])


def _as_many_steps(columns: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether every configuration is trained for the same number of batches. Then the number of epochs follows from the
    size of the training set; equal epochs would confound the size with the length of training."""
    try:
        rows = [[int(value) for value in row] for row in zip(*(columns[key] for key in _LENGTH), strict=True)]
    except (KeyError, ValueError):
        return False  # all images, or external runs
    return len({epochs * math.ceil(size / batch) for epochs, size, batch in rows}) == 1


def _group(key: str) -> str:
    return key.partition(".")[0]


def is_function(values: Sequence[object], of: Sequence[object]) -> bool:
    """Whether each value is a function of the one at the same place in `of`."""
    return len(set(zip(of, values, strict=True))) == len(set(of))


def headings(keys: Sequence[str]) -> dict[str, str]:
    """A short, unique heading for each key: `model.name` is `model`, `regime.batch_size` is `batch_size`.

    A word that is unclear without its group keeps it: `dataset.seed`, `validation.size`. So do words that would be
    equal otherwise: `schedule.patience` and `early_stopping.patience`.
    """
    found = {key: _short(key) for key in keys}
    counts = Counter(found.values())
    ends = Counter(end for key in found for end in _ends(key))
    return {
        key: short
        if counts[short] == 1
        else next((end for end in _ends(key) if end not in counts and ends[end] == 1), key)
        for key, short in found.items()
    }


def _ends(key: str) -> Iterator[str]:
    """The ends of a dotted key, the shortest first."""
    parts = key.split(".")
    return (".".join(parts[place:]) for place in range(len(parts) - 1, -1, -1))


def _short(key: str) -> str:
    if key == VARIANT_PARAMETER:
        return "data"
    parts = key.split(".")
    if parts[-1] in ("seed", "size"):
        return ".".join(parts[-2:])
    named = len(parts) > 1 and parts[-1] in ("name", "enabled", "strategy")
    return parts[-2] if named else parts[-1]


def sortable(text: str) -> tuple[int, float, str]:
    """A sort key: numbers by size, before words."""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if not math.isnan(number) else (1, 0.0, text)
