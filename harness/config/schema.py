"""The whole configuration as typed dataclasses, each setting beside the rule that it obeys.

Hydra's structured-config schema is made of these classes, and `composing` turns what Hydra composed into a
`Config` once, at the edge; nothing below knows a `DictConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DATASETS = ("fashion_mnist", "mnist")
PREPROCESSING = ("unit_range", "standardize")
ARCHITECTURES = ("mlp", "cnn")
ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus", "linear",
)  # fmt: skip
HEADS = ("logits", "softmax")
VALIDATION_STRATEGIES = ("none", "first", "random", "stratified")
LABELS = ("integers", "one_hot")
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")
MONITORS = ("val/loss", "val/accuracy", "train/loss", "train/accuracy", "fit/loss", "fit/accuracy")
ENGINES = ("auto", "compiled", "keras")
FIGURES = ("none", "few", "all")
RESUMES = ("true", "false", "only_failed")
PALETTES = ("safe", "blue", "green")
MIXED_PRECISIONS = ("none", "float16", "bfloat16")
MODEL_SUFFIX, STATE_SUFFIX = ".keras", ".npz"
SAVED = (MODEL_SUFFIX, STATE_SUFFIX)
"""How the names of files end that `regime.continue_from` takes; what ends otherwise names a run."""
SWEEP_SETTINGS = ("timeout", "retries", "max_failures", "fail_fast")
"""What a sweep does about jobs that fail: one answer for all its jobs, and no part of what is trained."""

COMMON_OPTIMIZER_OPTIONS = frozenset({
    "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
})  # fmt: skip
"""What every Keras optimizer takes."""
_BETAS = frozenset({"beta_1", "beta_2", "epsilon"})

OPTIMIZERS: Mapping[str, frozenset[str]] = {
    name: COMMON_OPTIMIZER_OPTIONS | own
    for name, own in {
        "adadelta": {"rho", "epsilon"},
        "adafactor": {"beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"},
        "adagrad": {"initial_accumulator_value", "epsilon"},
        "adam": {"amsgrad"} | _BETAS,
        "adamax": _BETAS,
        "adamw": {"amsgrad"} | _BETAS,
        "ftrl": {
            "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
        },
        "lamb": _BETAS,
        "lion": {"beta_1", "beta_2"},
        "muon": {
            "adam_beta_1", "adam_beta_2", "adam_weight_decay", "epsilon", "exclude_embeddings", "muon_a", "muon_b",
            "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "rms_rate",
        },
        "nadam": _BETAS,
        "rmsprop": {"rho", "momentum", "epsilon", "centered"},
        "schedule_free_adamw": {"warmup_steps"} | _BETAS,
        "sgd": {"momentum", "nesterov"},
    }.items()
}  # fmt: skip
"""Keras's built-in optimizers by our names, each with the options that its constructor takes."""


def setting(
    default: Any,
    *,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with the rule that its value obeys (for a list: that each element obeys)."""
    rule = {"choices": tuple(choices), "at_least": at_least, "above": above, "at_most": at_most, "below": below}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=rule)
    return field(default=default, metadata=rule)


@dataclass
class DatasetConfig:
    """Which images, how they are scaled inside the model, how many of them, and how many labels are wrong."""

    name: str = setting("fashion_mnist", choices=DATASETS)
    preprocessing: str = setting("unit_range", choices=PREPROCESSING)
    directory: str | None = None
    train_size: int | None = setting(None, at_least=1)
    test_size: int | None = setting(None, at_least=1)
    label_noise: float = setting(0.0, at_least=0, below=1)
    seed: int = setting(0, at_least=0)


@dataclass
class ModelConfig:
    """An architecture and its settings; `name` is the label under which runs are compared.

    `width` and `depth` say in two numbers what `hidden` says as a list, so that capacity can be swept and drawn."""

    name: str = "mlp"
    architecture: str = setting("mlp", choices=ARCHITECTURES)
    hidden: list[int] = setting([128], at_least=1)
    width: int | None = setting(None, at_least=1)
    depth: int | None = setting(None, at_least=1)
    filters: list[int] = setting([], at_least=1)
    kernel_size: int = setting(3, at_least=1)
    pool_size: int = setting(2, at_least=1)
    activation: str = setting("relu", choices=ACTIVATIONS)
    dropout: float = setting(0.0, at_least=0, below=1)
    l2: float = setting(0.0, at_least=0)
    batch_norm: bool = False
    shift: int = setting(0, at_least=0, at_most=8)
    head: str = setting("logits", choices=HEADS)

    def hidden_units(self) -> list[int]:
        """The units of each fully connected hidden layer, however they were given."""
        return list(self.hidden) if self.width is None else [self.width] * (self.depth or 1)


@dataclass
class OptimizerConfig:
    """A Keras optimizer by name. An option left at null has Keras's own default; one that the named optimizer does
    not have must stay null (the keys are the same on every run, so that runs can be compared)."""

    name: str = setting("adam", choices=tuple(OPTIMIZERS))
    learning_rate: float = setting(0.001, above=0)
    weight_decay: float | None = setting(None, at_least=0)
    clipnorm: float | None = setting(None, above=0)
    clipvalue: float | None = setting(None, above=0)
    global_clipnorm: float | None = setting(None, above=0)
    use_ema: bool | None = None
    ema_momentum: float | None = setting(None, at_least=0, at_most=1)
    ema_overwrite_frequency: int | None = setting(None, at_least=1)
    loss_scale_factor: float | None = setting(None, above=0)
    gradient_accumulation_steps: int | None = setting(None, at_least=2)
    momentum: float | None = setting(None, at_least=0, at_most=1)
    nesterov: bool | None = None
    rho: float | None = setting(None, at_least=0, at_most=1)
    centered: bool | None = None
    beta_1: float | None = setting(None, at_least=0, below=1)
    beta_2: float | None = setting(None, at_least=0, below=1)
    epsilon: float | None = setting(None, above=0)
    amsgrad: bool | None = None
    initial_accumulator_value: float | None = setting(None, at_least=0)
    beta_2_decay: float | None = setting(None, below=0)
    epsilon_1: float | None = setting(None, above=0)
    epsilon_2: float | None = setting(None, above=0)
    clip_threshold: float | None = setting(None, above=0)
    relative_step: bool | None = None
    learning_rate_power: float | None = setting(None, at_most=0)
    l1_regularization_strength: float | None = setting(None, at_least=0)
    l2_regularization_strength: float | None = setting(None, at_least=0)
    l2_shrinkage_regularization_strength: float | None = setting(None, at_least=0)
    beta: float | None = setting(None, at_least=0)
    warmup_steps: int | None = setting(None, at_least=0)
    adam_beta_1: float | None = setting(None, at_least=0, below=1)
    adam_beta_2: float | None = setting(None, at_least=0, below=1)
    adam_weight_decay: float | None = setting(None, at_least=0)
    adam_lr_ratio: float | None = setting(None, above=0)
    exclude_embeddings: bool | None = None
    muon_a: float | None = None
    muon_b: float | None = None
    muon_c: float | None = None
    ns_steps: int | None = setting(None, at_least=1)
    rms_rate: float | None = setting(None, above=0)

    def options(self) -> dict[str, Any]:
        """What the Keras constructor is called with: every option that is not null."""
        return {name: value for name, value in vars(self).items() if name != "name" and value is not None}


@dataclass
class ValidationConfig:
    """Which training images are held out to choose by."""

    strategy: str = setting("none", choices=VALIDATION_STRATEGIES)
    size: int = setting(5000, at_least=1)
    seed: int = setting(0, at_least=0)


@dataclass
class EarlyStoppingConfig:
    """Keras's `EarlyStopping`, watching one of the harness's own series."""

    enabled: bool = False
    monitor: str = setting("val/loss", choices=MONITORS)
    patience: int = setting(3, at_least=0)
    min_delta: float = setting(0.0, at_least=0)
    restore_best_weights: bool = True


@dataclass
class ScheduleConfig:
    """The learning rate by epoch, as a factor on `optimizer.learning_rate` (see training/schedules.py)."""

    name: str = setting("constant", choices=SCHEDULES)
    warmup_epochs: int = setting(0, at_least=0)
    factor: float = setting(0.1, above=0, below=1)
    every_epochs: int = setting(10, at_least=1)
    decay_rate: float = setting(0.95, above=0, at_most=1)
    final_fraction: float = setting(0.0, at_least=0, at_most=1)
    monitor: str = setting("val/loss", choices=MONITORS)
    patience: int = setting(5, at_least=0)


@dataclass
class RegimeConfig:
    """How a model is trained."""

    epochs: int = setting(5, at_least=1)
    batch_size: int = setting(32, at_least=1)
    shuffle: bool = True
    labels: str = setting("integers", choices=LABELS)
    label_smoothing: float = setting(0.0, at_least=0, below=1)
    continue_from: str | None = None
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


@dataclass
class TrackingConfig:
    """Where and how much is recorded. `uri: null` is `MLFLOW_TRACKING_URI`, else the project's own store;
    `parent_run` is the sweep that the run belongs to, `job` its number there (`harness sweep` sets both)."""

    uri: str | None = None
    experiment: str = "harness"
    run_name: str | None = None
    parent_run: str | None = None
    job: int | None = setting(None, at_least=0)
    log_model: bool = True
    log_state: bool | None = None
    diff: bool = True
    checkpoint_seconds: float | None = setting(10.0, at_least=0)
    system_metrics: bool = False


@dataclass
class Config:
    """Everything that defines one run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    regime: RegimeConfig = field(default_factory=RegimeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    engine: str = setting("auto", choices=ENGINES)
    mixed_precision: str = setting("none", choices=MIXED_PRECISIONS)
    threads: int | None = setting(None, at_least=1)
    figures: str | None = setting(None, choices=FIGURES)
    palette: str = setting("safe", choices=PALETTES)
    resume: str = setting("true", choices=RESUMES)
    timeout: float | None = setting(None, above=0)
    retries: int = setting(0, at_least=0)
    max_failures: int | None = setting(None, at_least=1)
    fail_fast: bool = False

    def __post_init__(self) -> None:
        self.resume = str(self.resume).lower()  # YAML and Hydra read true and false as booleans


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf by its dotted name, in the order of the classes: `{"dataset.name": "mnist", ..., "seed": 0}`."""
    flat: dict[str, Any] = {}
    for key, value in vars(config).items():
        if hasattr(value, "__dataclass_fields__"):  # `is_dataclass`, at half the time
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
