"""What a person, a shell or a cluster has set around the command, made harmless before any library reads it.

A run's numbers come from its configuration, the images, the code, the libraries and the machine; nothing else may reach
them. What decides numbers is pinned here or taken out of the environment, which worker processes inherit; what was
taken out is remembered, and each run records it. docs/configuration.md says the same in prose.
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
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # what a call has written must be there when it returns
    "MPLBACKEND": "agg",
    "PYTHONSAFEPATH": "1",  # processes are started with `python -c`, which imports from the working directory else
}
"""Variables that have one value here, whatever they had."""

DECIDING = (
    "AUTOGRAPH_", "CUBLASLT_", "CUBLAS_", "CUDNN_", "DNNL_", "KERAS_", "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "ONEDNN_", "TENSORFLOW_", "TF_", "XLA_",
)  # fmt: skip
"""Variables, or the beginnings of their names, of libraries that compute: other kernels, threads, precision, epochs."""

HARMLESS = frozenset({
    "KERAS_HOME",  # its datasets are used; its `keras.json` is not read, see training/startup.py
    "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_MIN_LOG_LEVEL", "TF_CPP_VMODULE",
    "TF_FORCE_GPU_ALLOW_GROWTH", "TF_FORCE_UNIFIED_MEMORY", "TF_GPU_ALLOCATOR", "TF_PER_DEVICE_MEMORY_LIMIT_MB",
})  # fmt: skip
"""Of `DECIDING`, those that say only where memory and files are, and how much is said."""

XLA_PLACES = "--xla_gpu_cuda_data_dir="
"""The one flag of XLA that stays: where CUDA's files are."""

MISLEADING = (
    "HYDRA_DEPRECATION_WARNINGS_AS_ERRORS", "HYDRA_MAIN_MODULE", "SELF_WARNING_AS_ERROR",
    "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_CONTEXT", "MLFLOW_RUN_ID", "MLFLOW_LOCK_MODEL_DEPENDENCIES", "MLFLOW_LOG_MODEL_COMPRESSION",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "MLFLOW_TESTING", "MLFLOW_TRUNCATE_LONG_VALUES",
    "PYTHONWARNINGS",
)  # fmt: skip
"""Variables that decide no number, but which run is written, what is read back, and whether a warning ends it all."""

IGNORED_VARIABLE = "HARNESS_IGNORED"
"""In the environment of workers: what the command has taken out of it."""


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Give variables of the environment a value while the block lasts; after it they are as they were before.

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
    """Pin or take out of this process's environment what must not reach a run. A second call costs nothing.

    Raises `RequestError` for what cannot be undone once Python runs.
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
    """Whether a variable has no say here."""
    return name in PINNED or (name.startswith((*DECIDING, *MISLEADING)) and name not in HARMLESS)


def ignored() -> tuple[str, ...]:
    """The names of what `prepare` took out or changed, here or in the command that started this process."""
    return tuple(name for name in os.environ.get(IGNORED_VARIABLE, "").split(",") if name)


def _usual_warnings(asked: str) -> None:
    """Python's own filters, as it has them where PYTHONWARNINGS does not ask for others; for later processes too."""
    for option in asked.split(","):
        if option in sys.warnoptions:
            sys.warnoptions.remove(option)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
