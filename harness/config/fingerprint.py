"""What decides a run's numbers, brought to one form and hashed: the key by which a sweep finds what it has done.

Two configurations that mean the same have the same fingerprint, however they were written: a setting without effect
is dropped, and an option left to Keras stands for Keras's own default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.schema import OPTIMIZERS, SWEEP_SETTINGS, Config, flatten

DIGITS = 32

LEFT_OUT: Mapping[str, str] = {
    "tracking.": "where and under which names a run is recorded",
    "figures": "what is drawn afterwards",
    "palette": "colours of what is drawn",
    "resume": "which jobs of a sweep are due",
    **dict.fromkeys(SWEEP_SETTINGS, "what a sweep does about jobs that fail"),
    "threads": "decides the last digits only; each run records it, and a resumed sweep keeps to it",
    "dataset.directory": "where the files lie; the dataset's digest says what is in them",
    "model.name": "a label",
    "regime.continue_from": "a name whose meaning changes; the fingerprint of what is continued stands for it",
}
"""Settings, or the beginnings of their names, that decide no number, each with the reason."""

_COMMON_DEFAULTS: Mapping[str, Any] = {
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
_ADAM: Mapping[str, Any] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

KERAS_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    name: {**_COMMON_DEFAULTS, **own}
    for name, own in {
        "adadelta": {"rho": 0.95, "epsilon": 1e-7},
        "adafactor": {
            "beta_2_decay": -0.8, "epsilon_1": 1e-30, "epsilon_2": 0.001, "clip_threshold": 1.0, "relative_step": True,
        },
        "adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "adam": {"amsgrad": False, **_ADAM},
        "adamax": _ADAM,
        "adamw": {"amsgrad": False, "weight_decay": 0.004, **_ADAM},
        "ftrl": {
            "learning_rate_power": -0.5, "initial_accumulator_value": 0.1, "l1_regularization_strength": 0.0,
            "l2_regularization_strength": 0.0, "l2_shrinkage_regularization_strength": 0.0, "beta": 0.0,
        },
        "lamb": _ADAM,
        "lion": {"beta_1": 0.9, "beta_2": 0.99},
        "muon": {
            "weight_decay": 0.004, "adam_beta_1": 0.9, "adam_beta_2": 0.999, "adam_weight_decay": 0.004,
            "epsilon": 1e-7, "exclude_embeddings": True, "muon_a": 3.4445, "muon_b": -4.775, "muon_c": 2.0315,
            "adam_lr_ratio": 1.0, "momentum": 0.95, "ns_steps": 5, "nesterov": True, "rms_rate": 0.2,
        },
        "nadam": _ADAM,
        "rmsprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
        "schedule_free_adamw": {**_ADAM, "epsilon": 1e-8, "warmup_steps": 0},
        "sgd": {"momentum": 0.0, "nesterov": False},
    }.items()
}  # fmt: skip
"""What Keras 3.15 takes an option for that it is not given; the learning rate always is."""

_NOTHING_AT_ZERO = ("dataset.label_noise", "model.shift", "regime.label_smoothing")
_CONVOLUTIONS = ("model.filters", "model.kernel_size", "model.pool_size")
_SCHEDULE_DETAILS: Mapping[str, tuple[str, ...]] = {
    "constant": ("warmup_epochs",),
    "step": ("warmup_epochs", "factor", "every_epochs"),
    "exponential": ("warmup_epochs", "decay_rate"),
    "cosine": ("warmup_epochs", "final_fraction"),
    "plateau": ("factor", "monitor", "patience"),
}


def fingerprint(config: Config, dataset_digest: str, continued: str = "") -> str:
    """`DIGITS` hex digits that two runs share if, and only if, they are to have the same numbers.

    `dataset_digest` says which images (`Dataset.digest`), `continued` which state training goes on from (empty: none).
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
    without_effect = _without_effect(config)
    kept = {
        key: value
        for key, value in settings.items()
        if not key.startswith((*LEFT_OUT, "optimizer.")) and key not in without_effect
    }
    if kept["engine"] == "auto":
        kept["engine"] = "compiled"
    return {key: _one_form(value) for key, value in {**kept, **_optimizer(config)}.items()}


def _without_effect(config: Config) -> set[str]:
    dataset, model, regime = config.dataset, config.model, config.regime
    dropped = {"model.width", "model.depth"}  # another way to write `model.hidden`
    settings = flatten(config)
    dropped.update(key for key in _NOTHING_AT_ZERO if not settings[key])
    if dataset.train_size is None and not dataset.label_noise:
        dropped.add("dataset.seed")
    if model.architecture == "mlp":
        dropped.update(_CONVOLUTIONS)
    if not model.hidden_units():
        dropped.add("model.dropout")
        if model.architecture == "mlp":
            dropped.update(("model.activation", "model.batch_norm"))
    if regime.label_smoothing:
        dropped.add("regime.labels")  # they are one-hot then
    if regime.validation.strategy == "none":
        dropped.add("regime.validation.size")
    if regime.validation.strategy in ("none", "first"):
        dropped.add("regime.validation.seed")
    if not regime.early_stopping.enabled:
        dropped.update(_others(regime.early_stopping, "regime.early_stopping.", ("enabled",)))
    details = _SCHEDULE_DETAILS[regime.schedule.name]
    dropped.update(_others(regime.schedule, "regime.schedule.", ("name", *details)))
    return dropped


def _others(node: object, prefix: str, but: tuple[str, ...]) -> set[str]:
    return {f"{prefix}{name}" for name in vars(node) if name not in but}


def _optimizer(config: Config) -> dict[str, Any]:
    name, given = config.optimizer.name, config.optimizer.options()
    options = {**KERAS_DEFAULTS[name], **{key: given[key] for key in given if key in OPTIMIZERS[name]}}
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
