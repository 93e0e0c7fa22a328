"""The optimizers of Keras: the one place that says which options an optimizer takes.

The type and the rule of each option are in `OptimizerConfig`. The options of Hydra's group `optimizer`, the checks, the
fingerprint and the table in docs/configuration.md follow from the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ALL_HAVE: Mapping[str, Any] = {
    "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False,
    "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}  # fmt: skip
COMMON_OPTIMIZER_OPTIONS = frozenset({"learning_rate", *_ALL_HAVE})
"""What every Keras optimizer takes."""
_ADAM: Mapping[str, Any] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


@dataclass(frozen=True)
class KerasOptimizer:
    """An optimizer of Keras: the name of its class, and the options of its own with Keras's defaults.

    `instead` are the values that `optimizer=NAME` sets in the place of Keras's.
    """

    class_name: str
    own: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.001
    instead: Mapping[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """What Keras takes each option for that it is not given; the learning rate always is."""
        return {**_ALL_HAVE, **self.own}

    def chosen(self) -> dict[str, Any]:
        """What `optimizer=NAME` sets; options that every optimizer has stay null, which leaves them to Keras."""
        return {"learning_rate": self.learning_rate, **self.own, **self.instead}

    @property
    def options(self) -> frozenset[str]:
        """What its constructor takes."""
        return COMMON_OPTIMIZER_OPTIONS | self.own.keys()


OPTIMIZERS: Mapping[str, KerasOptimizer] = {
    "adadelta": KerasOptimizer("Adadelta", {"rho": 0.95, "epsilon": 1e-7}),
    "adafactor": KerasOptimizer(
        "Adafactor",
        {"beta_2_decay": -0.8, "epsilon_1": 1e-30, "epsilon_2": 0.001, "clip_threshold": 1.0, "relative_step": True},
        # The product of two numbers of 1e-30 is 0 in float32, and an input pixel that is black in every image (a
        # corner) makes the first step 0 / 0: the loss is NaN.
        instead={"epsilon_1": 1e-20},
    ),
    "adagrad": KerasOptimizer("Adagrad", {"initial_accumulator_value": 0.1, "epsilon": 1e-7}),
    "adam": KerasOptimizer("Adam", {**_ADAM, "amsgrad": False}),
    "adamax": KerasOptimizer("Adamax", _ADAM),
    "adamw": KerasOptimizer("AdamW", {"weight_decay": 0.004, **_ADAM, "amsgrad": False}),
    "ftrl": KerasOptimizer(
        "Ftrl",
        {
            "learning_rate_power": -0.5, "initial_accumulator_value": 0.1, "l1_regularization_strength": 0.0,
            "l2_regularization_strength": 0.0, "l2_shrinkage_regularization_strength": 0.0, "beta": 0.0,
        },
    ),
    "lamb": KerasOptimizer("Lamb", _ADAM),
    "lion": KerasOptimizer("Lion", {"beta_1": 0.9, "beta_2": 0.99}),
    "muon": KerasOptimizer(
        "Muon",
        {
            "weight_decay": 0.004, "adam_beta_1": 0.9, "adam_beta_2": 0.999, "adam_weight_decay": 0.004,
            "epsilon": 1e-7, "exclude_embeddings": True, "muon_a": 3.4445, "muon_b": -4.775, "muon_c": 2.0315,
            "adam_lr_ratio": 1.0, "momentum": 0.95, "ns_steps": 5, "nesterov": True, "rms_rate": 0.2,
        },
    ),
    "nadam": KerasOptimizer("Nadam", _ADAM),
    "rmsprop": KerasOptimizer("RMSprop", {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}),
    "schedule_free_adamw": KerasOptimizer(
        "ScheduleFreeAdamW", {**_ADAM, "epsilon": 1e-8, "warmup_steps": 0}, learning_rate=0.0025
    ),
    "sgd": KerasOptimizer("SGD", {"momentum": 0.0, "nesterov": False}, learning_rate=0.01),
}  # fmt: skip
"""The optimizers of Keras 3.15 by our names."""
