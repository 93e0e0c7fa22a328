"""What decides a run's numbers, brought to one form and hashed: the key by which a sweep finds what it has done.

Two configurations that mean the same have the same fingerprint, however they were written: a setting without effect
is dropped, and an option left to Keras stands for Keras's own default.
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
"""Settings, or the beginnings of their names, that decide no number, each with the reason."""


def fingerprint(config: Config, dataset_digest: str, continued: str = "") -> str:
    """`DIGITS` hex digits that two runs share if, and only if, they are to have the same numbers.

    `dataset_digest` says which images (`Dataset.digest`), `continued` which state training starts from (empty: none).
    On the same machine and with the same number of threads the numbers are the same bit for bit.
    """
    content = json.dumps([essential(config), dataset_digest, continued], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]


def combined(fingerprints: Iterable[tuple[str, ...]]) -> str:
    """`DIGITS` hex digits for a sweep: the same for the same jobs, in whatever order they come."""
    return hashlib.sha256(json.dumps(sorted(fingerprints)).encode()).hexdigest()[:DIGITS]


def essential(config: Config) -> dict[str, Any]:
    """The settings that have an effect on the numbers of this run, each in its one form."""
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
        if "model.filters" in dropped:  # there is no hidden layer at all
            dropped.update(("model.activation", "model.batch_norm"))
    if config.regime.label_smoothing:
        dropped.add("regime.labels")  # they are one-hot then
    return dropped


def _optimizer(config: Config) -> dict[str, Any]:
    name, given = config.optimizer.name, config.optimizer.options()
    options = {**OPTIMIZERS[name].defaults, **{key: given[key] for key in given if key in OPTIMIZERS[name].options}}
    options["weight_decay"] = options["weight_decay"] or None  # Keras decays nothing either way
    if not options["use_ema"]:
        options["ema_momentum"] = options["ema_overwrite_frequency"] = None
    if name == "sgd" and not options["momentum"]:
        options["nesterov"] = False  # there is no momentum to look ahead with
    return {"optimizer.name": name, **{f"optimizer.{key}": value for key, value in options.items()}}


def _one_form(value: Any) -> Any:
    """1 and 1.0 are one number; True is not one of them."""
    if isinstance(value, list):
        return [_one_form(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
