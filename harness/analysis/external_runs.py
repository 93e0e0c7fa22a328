"""External runs (not written by the harness) are converted to `RunRecord`; all later code treats them alike.

The names of their scores are recognised if Keras or Lightning chose them; otherwise the user names them (see
metric_names.py). Two differences to the harness's own runs are reported: training scores are averages over an epoch in
which the weights changed, and only the logged parameters are known of the settings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.measures import shortened
from harness.analysis.metric_names import (
    NAMED,
    OWN_TAG,
    TEST,
    TRAIN,
    VALIDATION,
    Names,
    Naming,
    check_named,
    check_pairs,
    pairs,
    recognised,
    running,
    split_of,
    unknown,
)
from harness.analysis.settings import ABSENT, SEED
from harness.config.optimizers import OPTIMIZERS
from harness.errors import RequestError, suggestion
from harness.images import images_of
from harness.records import DIGEST_PARAMETERS, VARIANT_PARAMETER, RunRecord, RunState

_SEEDS = frozenset({
    "seed", "random_seed", "random_state", "rng_seed", "global_seed", "manual_seed", "seed_everything", "pl_seed",
    "pl_global_seed", "torch_seed", "np_seed", "numpy_seed", "tf_seed",
})  # fmt: skip
_NUMBERED = re.compile(r"([A-Za-z]\w*?)_\d+")
"""Keras numbers unnamed objects of a process: the second Adam is `adam_1`, the next `adam_2`."""
_NUMBERED_INSIDE = re.compile(r"""\b(name['"]?\s*[=:]\s*['"]?)([A-Za-z]\w*?)(_\d+)\b""")
"""The same in the text of an object or of its configuration: `<Sequential name=sequential_1, built=True>`."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NAME_OF_OPTIMIZER = ("optimizer_name", "opt_name")
"""The parameter for the optimizer's name in autologging by `mlflow.keras` and by `mlflow.tensorflow`."""
_OPTIMIZERS = frozenset(name.replace("_", "") for name in (*OPTIMIZERS, "loss_scale_optimizer"))
_MODELS = frozenset({"sequential", "functional"})
_LAYER = re.compile(
    r"input(_layer)?|(einsum_)?dense|embedding|flatten|reshape|permute|repeat_vector|masking|activation|softmax|elu"
    r"|(p_|leaky_)?re_lu|((simple_)?rnn|lstm|gru)(_cell)?|bidirectional|time_distributed|lambda|identity|rescaling"
    r"|resizing|center_crop|add|subtract|multiply|dot|concatenate|average|maximum|minimum|(\w+_)?attention"
    r"|(\w+_)?conv(_lstm|olution)?[123]d(_transpose)?|(\w+_)?(pool(ing)?|padding|sampling|cropping)[123]d"
    r"|cropping[123]d|(\w+_)?(normalization|dropout([123]d)?|noise)|random_\w+"
)
"""The names that Keras gives to unnamed layers."""
_LONG = re.compile(r"-?\d+\.\d{9,}(e-?\d+)?")
_PER_CENT = 1.5
"""An accuracy above it is no fraction."""


@dataclass(frozen=True)
class Reading:
    """How external runs were read; the default means that there were none.

    `keys` are the parameters that define rows or that all runs share (None: by the harness's own rules), `chosen` those
    that the user named. `running` says which training scores are running averages (empty: none), `alike` whether the
    runs of a row are known to differ only in the seed, `remarks` are further notes for the reader.
    """

    keys: tuple[str, ...] | None = None
    chosen: tuple[str, ...] = ()
    running: str = ""
    alike: bool = True
    remarks: tuple[str, ...] = ()


def adapt(runs: Iterable[RunRecord], naming: Naming | None = None) -> tuple[list[RunRecord], Reading]:
    """The runs with their scores under the harness's names (`final/gap_val_accuracy`, ...), and how they were read.

    Runs of the harness are unchanged, unless `naming` names metrics. If there are runs of both kinds, only those of the
    harness are kept, because they share no parameters, unless `naming.group_by` names the parameters that define rows.

    Raises:
        RequestError: the metrics are not known, a metric or parameter that was named is on no run, or only half of a
            pair was named.
    """
    every, naming = list(runs), naming or Naming()
    check_pairs(naming)
    own = [run for run in every if OWN_TAG in run.tags]
    others = [run for run in every if OWN_TAG not in run.tags]
    parents = {run.parent_id for run in others}  # hyperparameter searches record parent runs without scores
    external = [run for run in others if run.run_id not in parents or recognised(run.metrics)]
    if not external:
        return _own(own, naming)
    if own and not naming.group_by:
        found, reading = _own(own, naming)
        count = "1 run that the harness did not write is" if len(external) == 1 else f"{len(external):,} others are"
        remark = (
            f"{count} left out: the parameters of these runs are not the harness's. Compare all of them with "
            "--group-by PARAMETER,... (see harness compare --help)."
        )
        return found, replace(reading, remarks=(*reading.remarks, remark))
    chosen = {run.run_id: _names(run, naming) for run in external}
    if naming.names_metrics:
        check_named([*own, *external], naming)
        chosen |= {run.run_id: _names(run, naming) for run in own}
    elif not any(chosen.values()) and any(run.state is RunState.FINISHED for run in external):
        raise RequestError(_not_recognised(external))
    return _read(own, external, chosen, naming)


def _own(own: list[RunRecord], naming: Naming) -> tuple[list[RunRecord], Reading]:
    """The harness's own runs; if `naming` names metrics, with these."""
    if naming.group_by:
        raise RequestError(
            f"--group-by {','.join(naming.group_by)}: these runs are the harness's own, whose settings are "
            "known. Leave it out; --effect SETTING compares the values of one setting, all else matched."
        )
    if not naming.names_metrics:
        return own, Reading()
    check_named(own, naming)
    chosen = {run.run_id: _names(run, naming) for run in own}
    scale = _scale(own, chosen)
    found = [replace(run, metrics=_renamed(run, chosen[run.run_id], scale)) for run in own]
    return found, Reading(running=running(own, chosen), remarks=_told(chosen.values(), scale))


def _read(
    own: list[RunRecord], external: list[RunRecord], chosen: Mapping[str, Names], naming: Naming
) -> tuple[list[RunRecord], Reading]:
    every = [*own, *external]
    scale = _scale(every, chosen)
    found = [
        replace(
            run,
            metrics=_renamed(run, chosen[run.run_id], scale) if run.run_id in chosen else run.metrics,
            parameters=_parameters(run),
        )
        for run in every
    ]
    differing = _differing(found)
    known = tuple(dict.fromkeys(key for run in found for key in run.parameters if _tells(key)))
    constant = [key for key in known if key not in differing]
    keys = _grouped_by(known, naming) or differing
    pooled = [key for key in differing if key not in keys]
    if len(set(images_of(own))) > 1:
        pooled.append("the images of the harness's runs")
    seedless = sum(run.parameters[SEED].startswith("unknown:") for run in found)
    remarks = [*_told(chosen.values(), scale)]
    if by_name := unknown(found, chosen):
        remarks.append(
            f"Not known of {' and '.join(by_name)}: whether measured with the weights at the end, or a running average."
        )
    if own:
        remarks.append(
            f"{len(external):,} of {len(found):,} runs are not the harness's: their gaps and its own were not measured "
            "alike."
        )
    if pooled:
        remarks.append(f"Not told apart, though they differ: {shortened(pooled, NAMED)}.")
    if seedless:
        remarks.append(
            f"{'No run records' if seedless == len(found) else f'{seedless:,} runs do not record'} a seed: runs of one "
            "row count as independent repetitions, and are not paired."
        )
    configurations = Counter(tuple(run.parameters.get(key, ABSENT) for key in keys) for run in found)
    if not naming.group_by and len(found) > 1 and len(configurations) == len(found):
        remarks.append(
            f"No two runs have all parameters in common, so nothing is known of chance. They differ in "
            f"{shortened(keys, NAMED)}: name those that matter with --group-by."
        )
    reading = Reading(
        keys=(*keys, *constant),
        chosen=naming.group_by,
        running=running(every, chosen),
        alike=not pooled and not seedless,
        remarks=tuple(remarks),
    )
    return found, reading


def _names(run: RunRecord, naming: Naming) -> Names:
    if not naming.names_metrics:
        return recognised(run.metrics)
    wanted: dict[str, str] = {}
    for quantity, train, held_out in pairs(naming):
        if train in run.metrics and held_out in run.metrics:
            wanted |= {f"{TRAIN}_{quantity}": train, f"{split_of(held_out)}_{quantity}": held_out}
    return wanted


def _renamed(run: RunRecord, names: Names, scale: float) -> dict[str, float]:
    """The run's metrics with the scores that are compared replaced by those of `names`."""
    values = {name: run.metrics[metric] * (scale if name.endswith("accuracy") else 1) for name, metric in names.items()}
    for split in (VALIDATION, TEST):
        for quantity, sign in (("accuracy", 1), ("loss", -1)):
            held_out, train = values.get(f"{split}_{quantity}"), values.get(f"{TRAIN}_{quantity}")
            if held_out is not None and train is not None:
                values[f"gap_{split}_{quantity}"] = sign * (train - held_out)
    others = {name: value for name, value in run.metrics.items() if not name.startswith("final/")}
    return others | {f"final/{name}": value for name, value in values.items()}


def _scale(runs: Iterable[RunRecord], chosen: Mapping[str, Names]) -> float:
    """The factor that converts the accuracies to fractions."""
    values = [
        run.metrics[metric]
        for run in runs
        for name, metric in chosen.get(run.run_id, {}).items()
        if name.endswith("accuracy") and run.state is RunState.FINISHED
    ]
    return 0.01 if any(value > _PER_CENT for value in values) else 1.0


def _parameters(run: RunRecord) -> dict[str, str]:
    """The run's parameters with one `seed`; a run without a recorded seed gets a unique one."""
    seeds = {key: value for key, value in run.parameters.items() if OWN_TAG not in run.tags and _is_seed(key)}
    if SEED in run.parameters and not seeds:
        return dict(run.parameters)
    known = "/".join(dict.fromkeys(seeds.values())) or f"unknown:{run.run_id}"
    others = {key: _unnumbered(key, _shortest(value)) for key, value in run.parameters.items() if key not in seeds}
    return {**others, SEED: known}


def _unnumbered(key: str, value: str) -> str:
    """A value without the number that Keras gives to an object, and without a memory address: neither is a setting.

    A plain name counts as given by Keras only if the parameter is the name of an optimizer, model or layer, and Keras
    gives such names: `mlp_2` may be a user's second model, and `block_2` a user's layer. The same holds in a
    configuration; in the text of an object (`<Sequential name=...>`) every name counts.
    """
    if value.startswith("<"):
        return _ADDRESS.sub("", _NUMBERED_INSIDE.sub(r"\1\2", value))
    if value.startswith(("{", "[")):
        return _ADDRESS.sub("", _NUMBERED_INSIDE.sub(_of_configuration, value))
    if (numbered := _NUMBERED.fullmatch(value)) is None:
        return value
    base, words = numbered[1], set(_words(key))
    if key in _NAME_OF_OPTIMIZER:
        return base
    if words & {"layer", "layers"} and _LAYER.fullmatch(base):
        return base
    return base if _is_keras(base) and words & {"name", "optimizer", "opt", "model", "network", "net"} else value


def _of_configuration(found: re.Match[str]) -> str:
    before, base, number = found.groups()
    return f"{before}{base}{'' if _is_keras(base) or _LAYER.fullmatch(base) else number}"


def _is_keras(base: str) -> bool:
    """Whether Keras gives this name to an unnamed optimizer or model."""
    return base.replace("_", "").lower() in _OPTIMIZERS or base in _MODELS


def _shortest(value: str) -> str:
    """A 32-bit float that was written with 64 bits, as it was typed: `0.001`."""
    if _LONG.fullmatch(value) is None or float(np.float32(value)) != float(value):
        return value
    return str(np.float32(value))


def _is_seed(key: str) -> bool:
    return re.split(r"[./]", key.lower().replace("-", "_").replace(" ", "_"))[-1] in _SEEDS


def _words(key: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", key.lower())


def _tells(key: str) -> bool:
    """Whether a parameter may define rows; digests of the harness's runs may not, because external runs lack them."""
    return key not in (SEED, VARIANT_PARAMETER, *DIGEST_PARAMETERS.values())


def _differing(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    keys = dict.fromkeys(key for run in runs for key in run.parameters if _tells(key))
    return tuple(key for key in keys if len({run.parameters.get(key, ABSENT) for run in runs}) > 1)


def _grouped_by(known: Sequence[str], naming: Naming) -> tuple[str, ...]:
    for key in naming.group_by:
        if key not in known and _is_seed(key):
            raise RequestError(f"--group-by {key}: a seed tells repetitions of one row apart, not rows. Leave it out.")
        if key not in known:
            raise RequestError(
                f"--group-by {key}: no run here has such a parameter.{suggestion(key, known)} "
                f"They have {shortened(sorted(known), NAMED) or 'none'}."
            )
    return tuple(dict.fromkeys(naming.group_by))


def _not_recognised(runs: Sequence[RunRecord]) -> str:
    there = sorted({name for run in runs if run.state is RunState.FINISHED for name in run.metrics})
    who = "The run" if len(runs) == 1 else f"None of the {len(runs):,} runs"
    what = f"Metrics here: {shortened(there, NAMED)}." if there else "There are no metrics at all."
    return (
        f"{who} of {runs[0].experiment} {'has no' if len(runs) == 1 else 'has'} metrics that are known as training and "
        f"held-out accuracy or loss. {what} Name them: --train-metric NAME --held-out-metric NAME, for losses "
        "--train-loss-metric and --held-out-loss-metric."
    )


def _told(chosen: Iterable[Names], scale: float) -> tuple[str, ...]:
    """Notes about which metrics were read as which scores."""
    read: dict[str, dict[str, None]] = {}
    for names in chosen:
        for key, metric in names.items():
            read.setdefault(key.replace("_", " "), {})[metric] = None
    lines = []
    if read:
        lines.append("Read: " + ", ".join(f"{key} = {' or '.join(metrics)}" for key, metrics in read.items()) + ".")
    if scale != 1:
        lines.append("The accuracies were per cent, and are compared as fractions.")
    if read and not any(key.endswith("accuracy") for key in read):
        lines.append("There are no accuracies: rows are ranked by their gap in loss, whatever they have learnt.")
    return tuple(lines)
