"""Removes or pins environment variables that would change a run's results, before any library reads them.

A run's numbers may depend on its configuration, images, code, libraries and machine only. Worker processes inherit the
changed environment. Each run records the names of the variables that were removed. See docs/configuration.md.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.errors import RequestError

PINNED: Mapping[str, str] = {
    "KERAS_BACKEND": "tensorflow",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # data must be stored when a call returns
    "MPLBACKEND": "agg",
    "PYTHONSAFEPATH": "1",  # otherwise `python -c`, which starts our processes, imports from the working directory
}
"""Variables that always get this value."""

DECIDING = (
    "AUTOGRAPH_", "CUBLASLT_", "CUBLAS_", "CUDNN_", "DNNL_", "KERAS_", "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "ONEDNN_", "TENSORFLOW_", "TF_", "XLA_",
)  # fmt: skip
"""Variables (or prefixes of names) that change how libraries compute: kernels, threads, precision, epochs."""

HARMLESS = frozenset({
    "KERAS_HOME",  # datasets are read from there, but not `keras.json`; see training/startup.py
    "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_MIN_LOG_LEVEL", "TF_CPP_VMODULE",
    "TF_FORCE_GPU_ALLOW_GROWTH", "TF_FORCE_UNIFIED_MEMORY", "TF_GPU_ALLOCATOR", "TF_PER_DEVICE_MEMORY_LIMIT_MB",
})  # fmt: skip
"""Variables that match `DECIDING` but only concern memory, files or the amount of messages."""

TERRAFORM = (
    "TF_CLI_", "TF_CLOUD_", "TF_DATA_DIR", "TF_INPUT", "TF_IN_AUTOMATION", "TF_LOG", "TF_PLUGIN_CACHE_", "TF_REGISTRY_",
    "TF_TOKEN_", "TF_VAR_", "TF_WORKSPACE",
)  # fmt: skip
"""Variables (or prefixes of names) of Terraform, which TensorFlow does not read."""

XLA_PLACES = "--xla_gpu_cuda_data_dir="
"""The only XLA flag that is kept: the folder of CUDA."""

MISLEADING = (
    "HYDRA_DEPRECATION_WARNINGS_AS_ERRORS", "HYDRA_MAIN_MODULE", "SELF_WARNING_AS_ERROR",
    "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_CONTEXT", "MLFLOW_RUN_ID", "MLFLOW_LOCK_MODEL_DEPENDENCIES", "MLFLOW_LOG_MODEL_COMPRESSION",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "MLFLOW_TESTING", "MLFLOW_TRUNCATE_LONG_VALUES",
    "PYTHONWARNINGS",
)  # fmt: skip
"""Variables that do not change numbers, but which run is written, what is read, or whether warnings are errors."""

in_effect: tuple[str, ...] = ()
"""Variables with which somebody else imported TensorFlow in this process, before they could be taken out."""

IGNORED_VARIABLE = "HARNESS_IGNORED"
"""The environment variable that tells workers which variables the command removed."""


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables inside a `with` block, and restore their old values after it.

    Example:
        >>> with environment(LC_ALL="C"):
        ...     os.environ["LC_ALL"]
        'C'
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def prepare() -> None:
    """Pin or remove environment variables of this process that must not reach a run. A second call changes nothing.

    Raises `RequestError` if Python runs with `-OO`, which cannot be undone in a running process.
    """
    if sys.flags.optimize > 1:
        raise RequestError(
            "Python runs without docstrings (PYTHONOPTIMIZE=2 or -OO), which MLflow needs. Unset PYTHONOPTIMIZE, or "
            "set it to 1."
        )
    taken = dict.fromkeys(ignored())
    for name, value in list(os.environ.items()):
        if name in PINNED or not is_ignored(name):
            continue
        if name == "XLA_FLAGS" and (places := [flag for flag in value.split() if flag.startswith(XLA_PLACES)]):
            if places == value.split():
                continue
            os.environ[name] = " ".join(places)
        else:
            del os.environ[name]
        taken[name] = None
        if name == "PYTHONWARNINGS":
            _usual_warnings(value)
    for name, pinned in PINNED.items():
        if os.environ.get(name, pinned) != pinned:
            taken[name] = None
        os.environ[name] = pinned
    if taken:
        os.environ[IGNORED_VARIABLE] = ",".join(taken)


def is_ignored(name: str) -> bool:
    """Whether the harness pins or removes this variable."""
    return name in PINNED or name.startswith(MISLEADING) or is_deciding(name)


def is_deciding(name: str) -> bool:
    """Whether the variable may change how libraries compute."""
    return name.startswith(DECIDING) and name not in HARMLESS and not name.startswith(TERRAFORM)


def ignored() -> tuple[str, ...]:
    """The variables that `prepare` removed or changed, in this process or in the command that started it."""
    return tuple(name for name in os.environ.get(IGNORED_VARIABLE, "").split(",") if name)


def _usual_warnings(removed: str) -> None:
    """Restore Python's default warning filters, here and in child processes, which get `sys.warnoptions`.

    `removed` is the value that PYTHONWARNINGS had.
    """
    for option in removed.split(","):
        if option in sys.warnoptions:
            sys.warnoptions.remove(option)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
