"""Hashes everything that decides a run's numbers. A sweep finds its earlier runs by this fingerprint.

Two configurations with the same meaning have the same fingerprint, however they are written: settings without an effect
are left out, and an option that is not set counts as the default of Keras.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import ADDED_LATER, PUBLISHED_SOURCE, TRAITS, Config, flatten, references, without_effect
from harness.user_code import source_digest

DIGITS = 32

LEFT_OUT: Mapping[str, str] = {
    key: reason for key, traits in TRAITS.items() if (reason := traits.operational or traits.by_name)
}
"""Settings (or prefixes of their names) that do not change a run's numbers, each with the reason."""


def fingerprint(config: Config, dataset_digest: str, continued: str = "") -> str:
    """`DIGITS` hex digits. Two runs have the same ones exactly if they should have the same numbers.

    `dataset_digest` identifies the images (`Dataset.digest`), `continued` the state that training starts from (empty:
    none). On the same machine with the same number of threads, the numbers are equal bit for bit.
    """
    content = json.dumps([essential(config), dataset_digest, continued], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]


def combined(fingerprints: Iterable[tuple[str, ...]]) -> str:
    """`DIGITS` hex digits for a sweep. The order of its jobs does not matter."""
    return hashlib.sha256(json.dumps(sorted(fingerprints)).encode()).hexdigest()[:DIGITS]


def essential(config: Config) -> dict[str, Any]:
    """The settings that have an effect on the numbers of this run, each normalized to one form."""
    settings = flatten(config) | {"model.hidden": config.model.hidden_units()}
    dropped = _dropped(config, settings)
    kept = {
        key: value
        for key, value in settings.items()
        if not key.startswith((*LEFT_OUT, "optimizer.")) and key not in dropped
    }
    if kept["engine"] == "auto":
        kept["engine"] = "compiled"
    return {key: _one_form(value) for key, value in {**kept, **_optimizer(config), **code_digests(config)}.items()}


def code_digests(config: Config) -> dict[str, str]:
    """The digest of the source of each reference to the user's own code, by a name of its own: `code.model.builder`; of
    code that loads data, that data's digest says enough. Raises `ConfigError` where there is none."""
    return {
        f"code.{key}": source_digest(reference)[:DIGITS]
        for key, reference in references(config).items()
        if not key.startswith(tuple(LEFT_OUT))
    }


def _dropped(config: Config, settings: Mapping[str, Any]) -> set[str]:
    """The settings without effect on the numbers of this run."""
    dropped = without_effect(config) | {"model.width", "model.depth"}  # another way to write `model.hidden`
    dropped.update(key for key, before in ADDED_LATER.items() if settings[key] == before)
    if config.dataset.source != PUBLISHED_SOURCE:
        dropped.update(("dataset.name", "dataset.source"))  # a label, and how it is read: the digest says what it is
    if config.dataset.train_size is None and not config.dataset.label_noise:
        dropped.add("dataset.seed")
    if not settings["model.hidden"]:
        dropped.add("model.dropout")
        if "model.filters" in dropped:  # the model has no hidden layer at all
            dropped.update(("model.activation", "model.batch_norm"))
    if config.regime.label_smoothing:
        dropped.add("regime.labels")  # label smoothing always uses one-hot labels
    return dropped


def _optimizer(config: Config) -> dict[str, Any]:
    name, given = config.optimizer.name, config.optimizer.options()
    options = {**OPTIMIZERS[name].defaults, **{key: given[key] for key in given if key in OPTIMIZERS[name].options}}
    options["weight_decay"] = options["weight_decay"] or None  # for Keras, 0 and None both mean no decay
    if not options["use_ema"]:
        options["ema_momentum"] = options["ema_overwrite_frequency"] = None
    if name == "sgd" and not options["momentum"]:
        options["nesterov"] = False  # it has no effect without momentum
    return {"optimizer.name": name, **{f"optimizer.{key}": value for key, value in options.items()}}


def _one_form(value: Any) -> Any:
    """Write whole floats as integers, because 1 and 1.0 are the same number. True stays True."""
    if isinstance(value, list):
        return [_one_form(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
