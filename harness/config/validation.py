"""Checks a configuration: the rule of each setting, and the rules between settings.

It imports nothing heavy, so that a wrong value is refused before TensorFlow is imported.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.config.optimizers import COMMON_OPTIMIZER_OPTIONS, OPTIMIZERS
from harness.config.schema import (
    CONSTRAINTS,
    DATASETS,
    INITIALIZERS,
    LOSSES,
    PUBLISHED_SOURCE,
    SCHEDULES,
    Config,
    DatasetConfig,
    ModelConfig,
    OptimizerConfig,
    RegimeConfig,
    TrackingConfig,
    flatten,
    without_effect,
)
from harness.errors import ConfigError, suggestion
from harness.own_metrics import metric_problems
from harness.user_code import check_options, is_reference

EXPERIMENT_NAME_LIMIT, RUN_NAME_LIMIT = 256, 250
"""The most characters that the columns of MLflow's tables can store."""
NAME_SHOWN = 60
BUILDER_ARGUMENTS, LOSS_ARGUMENTS, SCHEDULE_ARGUMENTS = (
    ("input_shape", "classes"), ("y_true", "y_pred"), ("epoch", "epochs"),
)  # fmt: skip
"""What functions of the user's own are called with, before their options."""
MADE_WITHOUT_ARGUMENTS = ("initializer", "constraint", "augmentation")
"""Settings of a model whose functions return an object of Keras."""
BUILT_IN = frozenset({*LOSSES, *SCHEDULES, *INITIALIZERS, *CONSTRAINTS})


def validate(config: Config) -> None:
    """Check every setting, and settings against each other. Raises one `ConfigError` that names every problem."""
    problems = [*field_problems(config, ""), *_cross_problems(config)]
    if problems:
        raise ConfigError("\n".join(problems))


def check_images(model: ModelConfig, image_shape: Sequence[int]) -> None:
    """Raise `ConfigError` if a model cannot take images of this shape: (height, width), (height, width, channels), or
    (features,) for vectors."""
    if len(image_shape) == 1:
        vectors = f"the data are vectors of {image_shape[0]:,} features, which are no pictures"
        if model.filters:
            raise ConfigError(
                f"model.filters={model.filters}: {vectors}. Use model=mlp_128 or another without filters."
            )
        if model.shift:
            raise ConfigError(f"model.shift={model.shift}: {vectors}. Use model.shift=0.")
        if model.flip:
            raise ConfigError(f"model.flip={model.flip}: {vectors}. Use model.flip=false.")
        return
    height, width = image_shape[:2]
    least, size = min(height, width), f"{height} x {width}"
    problems = []
    if model.filters:
        if model.kernel_size > least:
            problems.append(f"model.kernel_size={model.kernel_size}: images have {size} pixels. Use at most {least}.")
        if least // model.pool_size ** len(model.filters) < 1:
            problems.append(
                f"model.filters={model.filters} with model.pool_size={model.pool_size}: {len(model.filters)} pools "
                f"shrink an image of {size} to nothing. Use fewer filters or a smaller pool."
            )
    if model.shift >= least:
        problems.append(f"model.shift={model.shift}: images have {size} pixels. Use at most {least - 1}.")
    if problems:
        raise ConfigError("\n".join(problems))


def field_problems(node: Any, prefix: str) -> Iterator[str]:
    """The settings of a section that break their own rule, each with the rule."""
    for item in dataclasses.fields(node):
        value, key = getattr(node, item.name), f"{prefix}{item.name}"
        if dataclasses.is_dataclass(value):
            yield from field_problems(value, f"{key}.")
        elif value is not None:
            for element in value if isinstance(value, list) else [value]:
                if problem := _broken_rule(element, item.metadata):
                    yield f"{key}={element}: {problem}"


def _broken_rule(value: Any, rule: Mapping[str, Any]) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number."
    if not rule:
        return None
    if rule["traits"].reference and is_reference(str(value)):
        return None  # see `_code_problems`
    if rule["choices"] and value not in rule["choices"]:
        return f"must be one of {', '.join(rule['choices'])}.{suggestion(str(value), rule['choices'])}"
    checks: tuple[tuple[str, Callable[[Any, Any], bool], Any], ...] = (
        ("at least", operator.ge, rule["at_least"]),
        ("above", operator.gt, rule["above"]),
        ("at most", operator.le, rule["at_most"]),
        ("below", operator.lt, rule["below"]),
    )
    stated = [(words, holds, limit) for words, holds, limit in checks if limit is not None]
    if all(holds(value, limit) for _, holds, limit in stated):
        return None
    return "must be " + " and ".join(f"{words} {limit}" for words, _, limit in stated) + "."


def _cross_problems(config: Config) -> Iterator[str]:
    yield from _dataset_problems(config.dataset)
    yield from _model_problems(config.model)
    yield from _code_problems(config)
    yield from _optimizer_problems(config.optimizer)
    yield from _regime_problems(config.regime)
    yield from _average_problems(config)
    yield from _precision_problems(config)
    yield from _tracking_problems(config.tracking)
    if config.fail_fast and config.max_failures not in (None, 1):
        yield (
            f"fail_fast=True with max_failures={config.max_failures}: fail_fast=True means max_failures=1. "
            "Set only one of them."
        )


def _tracking_problems(tracking: TrackingConfig) -> Iterator[str]:
    """Names that MLflow's tables, or files, cannot store."""
    for key, name, longest in (
        ("experiment", tracking.experiment, EXPERIMENT_NAME_LIMIT),
        ("run_name", tracking.run_name, RUN_NAME_LIMIT),
    ):
        if name is None:
            continue
        shown = name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}..."
        if len(name) > longest:
            yield f"tracking.{key}={shown}: has {len(name)} characters. Use at most {longest}."
        if not name.strip() or not name.isprintable():
            yield f"tracking.{key}={name!a}: must be a name of printable characters, on one line."


_LOCATED_BY: Mapping[str, tuple[str, str]] = {
    "npz": ("file", "an archive with x_train, y_train, x_test and y_test"),
    "image_folder": ("directory", "a folder with train/CLASS/ and test/CLASS/, or with CLASS/"),
    "idx": ("directory", "a folder with the IDX files of training and test images and labels"),
    "python": ("loader", "a function as package.module:function, or the name of an installed one"),
}
"""The setting that says where the data of each source lies, and what it names."""


def _dataset_problems(dataset: DatasetConfig) -> Iterator[str]:
    if dataset.source == PUBLISHED_SOURCE and dataset.name not in DATASETS:
        yield (
            f"dataset.name={dataset.name}: must be one of {', '.join(DATASETS)}.{suggestion(dataset.name, DATASETS)} "
            f"Data of your own: dataset={', dataset='.join(_LOCATED_BY)}."
        )
    needed, what = _LOCATED_BY.get(dataset.source, (None, ""))
    if needed is not None and not (getattr(dataset, needed) or "").strip():
        yield f"dataset.{needed}={getattr(dataset, needed)}: dataset={dataset.source} needs {what}. Name it."
        return
    takes = {needed, "directory"} if needed is None else {needed}
    for key in ("file", "directory", "loader"):
        if (
            getattr(dataset, key) is not None
            and key not in takes
            and dataset.source in (*_LOCATED_BY, PUBLISHED_SOURCE)
        ):
            readers = " or ".join(f"dataset={name}" for name, (by, _) in _LOCATED_BY.items() if by == key)
            yield f"dataset.{key}={getattr(dataset, key)}: only {readers} reads it. Choose that, or leave it out."
    if dataset.source != PUBLISHED_SOURCE:
        yield from _label_problems(dataset)
    elif dataset.class_names is not None:
        yield f"dataset.class_names: those of {dataset.name} are known. Leave it out."
    for key, reader in (("options", "python"), ("image_size", "image_folder"), ("colour", "image_folder")):
        if dataset.source != reader and getattr(dataset, key):
            yield f"dataset.{key}={getattr(dataset, key)}: only dataset={reader} has it. Leave it out."
    if dataset.image_size is not None and len(dataset.image_size) != 2:
        yield f"dataset.image_size={dataset.image_size}: must be [HEIGHT,WIDTH], such as [32,32]."


def _label_problems(dataset: DatasetConfig) -> Iterator[str]:
    name = dataset.name
    if not name.strip() or not name.isprintable() or len(name) > NAME_SHOWN:
        yield (
            f"dataset.name={name[:NAME_SHOWN]!a}: must be a name of at most {NAME_SHOWN} characters that can be shown, "
            "on one line. Give one: dataset.name=NAME."
        )
    if dataset.class_names is not None and len(dataset.class_names) < 2:
        yield f"dataset.class_names={dataset.class_names}: must have at least two names."


def _model_problems(model: ModelConfig) -> Iterator[str]:
    idle = without_effect(Config(model=model))
    if model.architecture == "custom":
        yield from _custom_problems(model, idle)
        return
    if model.builder is not None or model.options:
        given = "builder" if model.builder is not None else f"options={model.options}"
        yield f"model.{given}: only model=custom has it, and this has model.architecture={model.architecture}."
    if model.max_norm is not None and model.constraint is not None:
        yield f"model.max_norm={model.max_norm} with model.constraint={model.constraint}: a kernel has one constraint."
    yield from _width_problems(model, idle)
    if "model.filters" in idle and model.filters:
        yield (
            f"model.filters={model.filters}: an {model.architecture} has no convolutions, so model.filters must be []. "
            "Use model=cnn for a convolutional network."
        )
    if model.architecture == "cnn" and not model.filters:
        yield "model.filters=[]: a cnn needs at least one convolution, for example model.filters=[32,64]."


def _custom_problems(model: ModelConfig, idle: set[str]) -> Iterator[str]:
    if model.builder is None:
        yield "model=custom: say which function makes the model, model.builder=package.module:function."
    usual = flatten(Config(model=ModelConfig(architecture="custom")))
    for key, value in flatten(Config(model=model)).items():
        if key in idle and value != usual.get(key, value):
            yield (
                f"{key}={value}: a model of your own does not have it. Give its function such a keyword, and set "
                f"{key.replace('model.', 'model.options.')}."
            )


def _code_problems(config: Config) -> Iterator[str]:
    """What is wrong with references to the user's own code, as far as its source tells."""
    yield from metric_problems(config.metrics)
    loader = config.dataset.loader if config.dataset.source == "python" else None
    if loader is not None and not is_reference(loader):
        loader = None  # the name of an installed one, which is looked up where data is loaded
    regime, schedule = config.regime, config.regime.schedule
    uses: list[tuple[str, str | None, Mapping[str, Any], Sequence[str], str]] = [
        ("model.builder", config.model.builder, config.model.options, BUILDER_ARGUMENTS, "model.options"),
        ("regime.loss", regime.loss, regime.loss_options, LOSS_ARGUMENTS, "regime.loss_options"),
        ("regime.schedule.name", schedule.name, schedule.options, SCHEDULE_ARGUMENTS, "regime.schedule.options"),
        ("dataset.loader", loader, config.dataset.options, (), "dataset.options"),
        *((f"model.{name}", getattr(config.model, name), {}, (), f"model.{name}") for name in MADE_WITHOUT_ARGUMENTS),
        *(("regime.callbacks", callback, {}, (), "regime.callbacks") for callback in regime.callbacks),
    ]
    for key, reference, options, arguments, prefix in uses:
        if reference is None or (reference in BUILT_IN and not options):
            continue
        try:
            if not is_reference(reference):
                raise ConfigError(
                    f"{prefix}={options}: only a function of your own has options, {key}=module:function."
                )
            check_options(reference, options, arguments, prefix)
        except ConfigError as error:
            yield f"{key}={error}" if str(error).startswith(reference) else str(error)
    if is_reference(regime.loss) and regime.label_smoothing:
        yield (
            f"regime.label_smoothing={regime.label_smoothing} with regime.loss={regime.loss}: it is part of the "
            "harness's cross-entropy. Smooth labels in your own loss, or set it to 0."
        )


def _width_problems(model: ModelConfig, idle: set[str]) -> Iterator[str]:
    if model.width is None:
        if model.depth is not None:
            yield (
                f"model.depth={model.depth}: counts layers of model.width units, but model.width is null. Set "
                "model.width too, or list the layers in model.hidden."
            )
    elif "model.width" in idle:
        yield (
            f"model.width={model.width}: only an mlp has a width, and this is a {model.architecture}. Set model.width "
            "to null, and give model.filters and model.hidden."
        )
    elif model.hidden != ModelConfig().hidden:
        yield (
            f"model.width={model.width} with model.hidden={model.hidden}: both set the units of the hidden layers. "
            "Leave model.hidden out and choose model=mlp, or set model.width to null."
        )


def _optimizer_problems(optimizer: OptimizerConfig) -> Iterator[str]:
    if optimizer.name not in OPTIMIZERS:
        return  # the name itself has been reported
    allowed = OPTIMIZERS[optimizer.name].options
    for option, value in optimizer.options().items():
        if option not in allowed:
            own = sorted(allowed - COMMON_OPTIMIZER_OPTIONS)
            yield (
                f"optimizer.{option}={value}: {optimizer.name} has no option '{option}'. "
                f"Its own options are {', '.join(own)}; every optimizer has "
                f"{', '.join(sorted(COMMON_OPTIMIZER_OPTIONS))}."
            )
    clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(optimizer, name) is not None]
    if len(clips) > 1:
        yield f"optimizer.{clips[0]} and optimizer.{clips[1]}: only one kind of clipping can be set. Set one to null."


def _average_problems(config: Config) -> Iterator[str]:
    stopping = config.regime.early_stopping
    if config.optimizer.use_ema and stopping.enabled and stopping.restore_best_weights:
        yield (
            "optimizer.use_ema=True with regime.early_stopping.restore_best_weights=True: Keras would restore weights "
            "that were not averaged. Set one of them to false."
        )


def _precision_problems(config: Config) -> Iterator[str]:
    if config.mixed_precision != "float16":
        return
    optimizer = config.optimizer
    for option in ("use_ema", "loss_scale_factor", "gradient_accumulation_steps"):
        if getattr(optimizer, option):
            yield (
                f"mixed_precision=float16 with optimizer.{option}={getattr(optimizer, option)}: float16 needs an outer "
                "optimizer that scales the loss, and Keras does not pass this option through it. Set the option to "
                "null, or use mixed_precision=bfloat16, which needs no scaling."
            )


def _regime_problems(regime: RegimeConfig) -> Iterator[str]:
    stopping, schedule = regime.early_stopping, regime.schedule
    if regime.continue_from is not None and not regime.continue_from.strip():
        yield "regime.continue_from='': must name a run or a saved model, or be null."
    monitors = []
    if stopping.enabled:
        monitors.append(("regime.early_stopping.monitor", stopping.monitor))
    if schedule.name == "plateau":
        monitors.append(("regime.schedule.monitor", schedule.monitor))
    for key, monitor in monitors:
        if monitor.startswith("val/") and regime.validation.strategy == "none":
            yield (
                f"{key}={monitor}: there is no validation split to monitor. Set regime.validation.strategy to first, "
                f"random or stratified, or monitor {monitor.replace('val/', 'train/')}."
            )
    if schedule.name == "plateau" and schedule.warmup_epochs:
        yield (
            f"regime.schedule.warmup_epochs={schedule.warmup_epochs}: the schedule plateau cannot have a warm-up, "
            "because it sets the learning rate itself. Set warmup_epochs to 0, or choose another "
            "regime.schedule.name."
        )
    if schedule.warmup_epochs >= regime.epochs and schedule.warmup_epochs > 0:
        yield (
            f"regime.schedule.warmup_epochs={schedule.warmup_epochs}: must be below regime.epochs={regime.epochs}, "
            "because training must not end before the warm-up."
        )
