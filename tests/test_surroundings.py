"""Which environment variables are removed, and which stay."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness import surroundings
from harness.surroundings import environment, ignored, is_ignored, prepare


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the variables of this machine."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if is_ignored(name)]:
        del os.environ[name]
    os.environ.pop(surroundings.IGNORED_VARIABLE, None)


def test_a_variable_set_in_a_block_is_restored_after_it() -> None:
    os.environ["OTHER"] = "kept"
    os.environ.pop("GIVEN", None)
    with environment(GIVEN="1", OTHER="2"):
        assert (os.environ["GIVEN"], os.environ["OTHER"]) == ("1", "2")
        del os.environ["GIVEN"]  # by whoever was called
    assert "GIVEN" not in os.environ
    assert os.environ["OTHER"] == "kept"


def test_variables_that_change_numbers_are_pinned_or_removed_and_recorded_once() -> None:
    os.environ |= {"KERAS_BACKEND": "jax", "TF_ENABLE_ONEDNN_OPTS": "0", "MLFLOW_RUN_ID": "x", "MPLBACKEND": "agg"}
    prepare()
    prepare()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] == "false"
    assert not {"TF_ENABLE_ONEDNN_OPTS", "MLFLOW_RUN_ID"} & set(os.environ)
    assert sorted(ignored()) == ["KERAS_BACKEND", "MLFLOW_RUN_ID", "TF_ENABLE_ONEDNN_OPTS"]


@pytest.mark.parametrize(
    "name",
    ["TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "KERAS_HOME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
     "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_HTTP_REQUEST_TIMEOUT", "HYDRA_FULL_ERROR",
     "TF_CLI_CONFIG_FILE", "TF_VAR_region", "TF_LOG_PATH"],
)  # fmt: skip
def test_variables_that_change_no_number_stay(name: str) -> None:
    os.environ[name] = "1"
    prepare()
    assert os.environ[name] == "1"
    assert ignored() == ()


def test_of_the_xla_flags_only_the_folder_of_cuda_stays() -> None:
    os.environ["XLA_FLAGS"] = "--xla_cpu_enable_fast_math=true --xla_gpu_cuda_data_dir=/opt/cuda"
    prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_gpu_cuda_data_dir=/opt/cuda"
    assert ignored() == ("XLA_FLAGS",)


def test_pythonwarnings_has_no_effect_here_or_in_child_processes() -> None:
    program = """
import subprocess, sys, warnings
from multiprocessing import util
from harness.surroundings import prepare
prepare()
warnings.warn("old", DeprecationWarning)
print(util._args_from_interpreter_flags())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-Werror" not in done.stdout
    assert done.stderr == ""
