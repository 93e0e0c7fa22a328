"""The configuration as typed dataclasses, each setting with its rule and its traits.

Hydra's structured-config schema is made of these classes, and `composing` turns what Hydra composed into a
`Config` once, at the edge; nothing below knows a `DictConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.config.optimizers import OPTIMIZERS
from harness.config.search import OBJECTIVES
from harness.config.traits import Traits, setting, traits_of

DATASETS = ("fashion_mnist", "mnist")
PUBLISHED_SOURCE = "published"
SOURCES = (PUBLISHED_SOURCE, "npz", "image_folder", "idx", "python")
COLOURS = ("grey", "rgb")
PREPROCESSING = ("unit_range", "standardize")
ARCHITECTURES = ("mlp", "cnn", "custom")
ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus", "linear",
)  # fmt: skip
INITIALIZERS = (
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal",
)  # fmt: skip
CONSTRAINTS = ("non_neg", "unit_norm")
HEADS, LABELS = ("logits", "softmax"), ("integers", "one_hot")
VALIDATION_STRATEGIES = ("none", "first", "random", "stratified")
MEASURES = ("parameter_norm", "frobenius_norm", "spectral_norm", "path_norm", "margin", "sharpness")
CLASS_WEIGHTS = ("none", "balanced")
LOSSES = ("cross_entropy",)
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


_READING: Mapping[str, Any] = {"added": True, "operational": "where the data lies; its digest says what is in it"}
_FOLDER: Mapping[str, Any] = {"added": True, "idle_with": ("source", ("published", "npz", "idx", "python"))}


@dataclass
class DatasetConfig:
    """Which images, how they are scaled inside the model, how many of them, and how many labels are wrong. Of data of
    one's own `source` says how it is read, and `name` is a label."""

    name: str = setting("fashion_mnist", time="value")
    source: str = setting(PUBLISHED_SOURCE, choices=SOURCES, added=True)
    preprocessing: str = setting("unit_range", choices=PREPROCESSING, weights=True)
    directory: str | None = setting(None, operational="where the files lie; the dataset's digest says what is in them")
    file: str | None = setting(None, **_READING)
    loader: str | None = setting(None, reference=True, **_READING)
    options: dict[str, Any] = setting({})
    class_names: list[str] | None = setting(None, **_READING)
    image_size: list[int] | None = setting(None, at_least=1, at_most=8192, time="value", **_FOLDER)
    colour: str | None = setting(None, choices=COLOURS, time="value", **_FOLDER)
    test_fraction: float = setting(0.2, above=0, below=1, **_FOLDER)
    test_seed: int = setting(0, at_least=0, **_FOLDER)
    train_size: int | None = setting(None, at_least=1, time="value")
    test_size: int | None = setting(None, at_least=1, time="value")
    label_noise: float = setting(0.0, at_least=0, below=1, added=True)
    seed: int = setting(0, at_least=0)


_CUSTOM = ("architecture", ("custom",))
_NOT_CNN, _NOT_MLP = ("architecture", ("mlp", "custom")), ("architecture", ("cnn", "custom"))


@dataclass
class ModelConfig:
    """An architecture and its settings; `name` is the label under which runs are compared.

    `width` and `depth` say in two numbers what `hidden` says as a list, so that capacity can be swept and drawn. A
    `custom` model is what the user's function `builder` makes; `options` are its keywords."""

    name: str = setting("mlp", by_name="a label")
    architecture: str = setting("mlp", choices=ARCHITECTURES, weights=True, time="value")
    hidden: list[int] = setting([128], at_least=1, idle_with=_CUSTOM, weights=True, time="value")
    width: int | None = setting(None, at_least=1, added=True, idle_with=_NOT_MLP, weights=True, time="value")
    depth: int | None = setting(None, at_least=1, added=True, idle_with=_NOT_MLP, weights=True, time="value")
    filters: list[int] = setting([], at_least=1, idle_with=_NOT_CNN, weights=True, time="value")
    kernel_size: int = setting(3, at_least=1, idle_with=_NOT_CNN, weights=True, time="value")
    pool_size: int = setting(2, at_least=1, idle_with=_NOT_CNN, weights=True, time="value")
    activation: str = setting("relu", choices=ACTIVATIONS, idle_with=_CUSTOM, weights=True)
    dropout: float = setting(0.0, at_least=0, below=1, idle_with=_CUSTOM, time="presence")
    l2: float = setting(0.0, at_least=0, idle_with=_CUSTOM, time="presence")
    batch_norm: bool = setting(False, idle_with=_CUSTOM, weights=True, time="value")
    shift: int = setting(0, at_least=0, at_most=8, added=True, time="presence")
    flip: bool = setting(False, added=True, time="presence")
    head: str = setting("logits", choices=HEADS)
    initializer: str | None = setting(None, choices=INITIALIZERS, added=True, idle_with=_CUSTOM, reference=True)
    max_norm: float | None = setting(None, above=0, added=True, idle_with=_CUSTOM)
    constraint: str | None = setting(None, choices=CONSTRAINTS, added=True, idle_with=_CUSTOM, reference=True)
    augmentation: str | None = setting(None, choices=(), added=True, time="value", reference=True)
    builder: str | None = setting(None, added=True, weights=True, time="value", reference=True)
    options: dict[str, Any] = setting({}, time="value")

    def hidden_units(self) -> list[int]:
        """The units of each fully connected hidden layer, however they were given."""
        return list(self.hidden) if self.width is None else [self.width] * (self.depth or 1)


@dataclass
class OptimizerConfig:
    """A Keras optimizer by name. An option left at null has Keras's own default; one that the named optimizer does
    not have must stay null (the keys are the same on every run, so that runs can be compared)."""

    name: str = setting("adam", choices=tuple(OPTIMIZERS), time="value")
    learning_rate: float = setting(0.001, above=0, data=True)
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

    strategy: str = setting("none", choices=VALIDATION_STRATEGIES, time="value")
    size: int = setting(5000, at_least=1, idle_with=("strategy", ("none",)))
    seed: int = setting(0, at_least=0, idle_with=("strategy", ("none", "first")))


_STOPPING_OFF = ("enabled", (False,))


@dataclass
class EarlyStoppingConfig:
    """Keras's `EarlyStopping`, watching one of the harness's own series."""

    enabled: bool = False
    monitor: str = setting("val/loss", choices=MONITORS, idle_with=_STOPPING_OFF)
    patience: int = setting(3, at_least=0, idle_with=_STOPPING_OFF)
    min_delta: float = setting(0.0, at_least=0, idle_with=_STOPPING_OFF)
    restore_best_weights: bool = setting(True, idle_with=_STOPPING_OFF)


def _all_but(*users: str) -> tuple[str, tuple[str, ...]]:
    """Of the schedules that are known here; a new one counts as a user of every setting."""
    return "name", tuple(name for name in ("constant", "step", "exponential", "cosine", "plateau") if name not in users)


@dataclass
class ScheduleConfig:
    """The learning rate by epoch, as a factor on `optimizer.learning_rate` (see training/schedules.py)."""

    name: str = setting("constant", choices=SCHEDULES, reference=True)
    warmup_epochs: int = setting(0, at_least=0, idle_with=("name", ("plateau",)))
    factor: float = setting(0.1, above=0, below=1, idle_with=_all_but("step", "plateau"))
    every_epochs: int = setting(10, at_least=1, idle_with=_all_but("step"))
    decay_rate: float = setting(0.95, above=0, at_most=1, idle_with=_all_but("exponential"))
    final_fraction: float = setting(0.0, at_least=0, at_most=1, idle_with=_all_but("cosine"))
    monitor: str = setting("val/loss", choices=MONITORS, idle_with=_all_but("plateau"))
    patience: int = setting(5, at_least=0, idle_with=_all_but("plateau"))
    options: dict[str, Any] = setting({})


@dataclass
class RegimeConfig:
    """How a model is trained."""

    epochs: int = setting(5, at_least=1, data=True)
    batch_size: int = setting(32, at_least=1, time="value")
    shuffle: bool = True
    labels: str = setting("integers", choices=LABELS)
    label_smoothing: float = setting(0.0, at_least=0, below=1, added=True)
    class_weights: str = setting("none", choices=CLASS_WEIGHTS, added=True)
    loss: str = setting("cross_entropy", choices=LOSSES, added=True, reference=True)
    loss_options: dict[str, Any] = setting({})
    callbacks: list[str] = setting([], added=True, reference=True)
    continue_from: str | None = setting(
        None, by_name="a name whose meaning changes; the fingerprint of what is continued stands for it"
    )
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


@dataclass
class TrackingConfig:
    """Where and how much is recorded. `uri: null` is `MLFLOW_TRACKING_URI`, else the project's own store;
    `parent_run` is the sweep that the run belongs to, `job` its number there (`harness sweep` sets both)."""

    uri: str | None = setting(None, sweep=True)
    experiment: str = setting("harness", sweep=True)
    run_name: str | None = setting(None, sweep=True)
    parent_run: str | None = None
    job: int | None = setting(None, at_least=0)
    log_model: bool = True
    log_state: bool | None = None
    diff: bool = True
    checkpoint_seconds: float | None = setting(10.0, at_least=0)
    upload_seconds: float | None = setting(10.0, at_least=0, added=True)
    system_metrics: bool = False


_FAILURES: Mapping[str, Any] = {"failures": True, "sweep": True, "operational": "what a sweep does about failed jobs"}


@dataclass
class Config:
    """Everything that defines one run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    regime: RegimeConfig = field(default_factory=RegimeConfig)
    tracking: TrackingConfig = field(
        default_factory=TrackingConfig,
        metadata={"traits": Traits(operational="where and under which names a run is recorded")},
    )
    seed: int = setting(0, at_least=0, at_most=2**32 - 1, data=True)
    engine: str = setting("auto", choices=ENGINES)
    metrics: list[str] = setting([], added=True, reference=True)
    measures: list[str] = setting([], choices=MEASURES, added=True)
    mixed_precision: str = setting("none", choices=MIXED_PRECISIONS, time="value")
    threads: int | None = setting(
        None,
        at_least=1,
        sweep=True,
        operational="decides the last digits only; each run records it, and a resumed sweep keeps to it",
    )
    figures: str | None = setting(None, choices=FIGURES, operational="what is drawn afterwards")
    palette: str = setting("safe", choices=PALETTES, operational="colours of what is drawn")
    resume: str = setting("true", choices=RESUMES, sweep=True, operational="which jobs of a sweep are due")
    timeout: float | None = setting(None, above=0, **_FAILURES)
    retries: int = setting(0, at_least=0, **_FAILURES)
    max_failures: int | None = setting(None, at_least=1, **_FAILURES)
    fail_fast: bool = setting(False, **_FAILURES)
    objective: str = setting("loss", choices=OBJECTIVES, sweep=True, operational="what another sweeper is told")

    def __post_init__(self) -> None:
        self.resume = str(self.resume).lower()  # YAML and Hydra read true and false as booleans


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf by its dotted name, in the order of the classes: `{"dataset.name": "mnist", ..., "seed": 0}`."""
    flat: dict[str, Any] = {}
    for key, value in vars(config).items():
        if hasattr(value, "__dataclass_fields__"):  # `is_dataclass`, at half the time
            flat.update(flatten(value, f"{prefix}{key}."))
        elif isinstance(value, dict):
            flat.update(_options(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _options(given: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _options(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


TRAITS: Mapping[str, Traits] = dict(traits_of(Config()))
"""The traits of each setting by its dotted name, and of each section by the beginning of the names in it (`model.`)."""


def settings_with(trait: str, value: Any = None) -> tuple[str, ...]:
    """The settings, or the beginnings of their names, that have a trait, in the order of the classes.

    Example:
        >>> settings_with("failures")
        ('timeout', 'retries', 'max_failures', 'fail_fast')
        >>> settings_with("time", "presence")
        ('model.dropout', 'model.l2', 'model.shift', 'model.flip')
    """
    found = {key: getattr(traits, trait) for key, traits in TRAITS.items()}
    return tuple(key for key, has in found.items() if (has if value is None else has == value))


def without_effect(config: Config) -> set[str]:
    """The settings that have no effect in this configuration, as another setting of their section has it."""
    values = flatten(config)
    return {
        key
        for key, traits in TRAITS.items()
        if traits.idle_with is not None
        and values[f"{key.rpartition('.')[0]}.{traits.idle_with[0]}"] in traits.idle_with[1]
    }


def references(config: Config) -> dict[str, str]:
    """The references to the user's own code in a configuration, by setting; of a list, `setting.module.function`."""
    values, found = flatten(config), dict[str, str]()
    for key in settings_with("reference"):
        several = isinstance(values[key], list)
        for text in values[key] if several else [values[key]]:
            if isinstance(text, str) and ":" in text:
                found[f"{key}.{text.replace(':', '.')}" if several else key] = text
    return found


_SINGLE = frozenset(flatten(Config()))
OPTIONS = tuple(key for key in TRAITS if key.endswith(".") and not any(name.startswith(key) for name in _SINGLE))
"""The beginnings of names that are free: keywords of the user's own functions."""


def is_single(key: str) -> bool:
    """Whether a dotted name is that of a single setting, or of an option of the user's own."""
    return key in _SINGLE or key.startswith(OPTIONS)


SWEEP_SETTINGS = settings_with("failures")
"""What a sweep does about jobs that fail: one answer for all its jobs, and no part of what is trained."""
OPERATIONAL = settings_with("operational")
"""Settings, or the beginnings of their names, that say where and how a run is carried out, not what is trained."""
ADDED_LATER: Mapping[str, Any] = {key: flatten(Config())[key] for key in settings_with("added")}
"""Settings that runs of earlier versions do not have, each with the value that these runs were trained with."""
