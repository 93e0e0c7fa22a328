"""Python values reach the configuration as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.overrides import overrides
from harness.composing import as_written, compose_config
from harness.errors import RequestError


@pytest.mark.parametrize(
    ("words", "given", "sweeps", "found"),
    [
        (["model=cnn"], {"seed": 1}, False, ["model=cnn", "seed=1"]),
        ([], {"regime": {"epochs": 5, "validation": {"size": 10}}}, False,
         ["regime.epochs=5", "regime.validation.size=10"]),
        ([], {"regime.epochs": np.int64(5)}, False, ["regime.epochs=5"]),
        ([], {"seed": range(3)}, True, ["seed=0,1,2"]),
        ([], {"seed": np.arange(2), "optimizer": ["sgd", "adam"]}, True, ["seed=0,1", "optimizer=sgd,adam"]),
        ([], {"model.hidden": [64, 32]}, True, ["model.hidden=[64,32]"]),
        ([], {"model.hidden": [[64], [64, 32]]}, True, ["model.hidden=[64],[64,32]"]),
        ([], {"dataset.train_size": None, "regime.shuffle": False}, False,
         ["dataset.train_size=null", "regime.shuffle=false"]),
        ([], {"dataset.directory": Path("my data")}, False, ["dataset.directory='my data'"]),
    ],
)  # fmt: skip
def test_values_become_overrides(words: list[str], given: dict[str, Any], sweeps: bool, found: list[str]) -> None:
    assert overrides(words, given, sweeps) == found


@pytest.mark.parametrize("word", ["--plan", "-m", "cnn", 5])
def test_a_flag_is_refused(word: Any) -> None:
    with pytest.raises(RequestError, match="Hydra's overrides"):
        overrides([word], {})


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, b"bytes"])
def test_what_is_no_value_of_a_setting_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="a setting is a number"):
        overrides([], {"seed": value})


@pytest.mark.parametrize("text", ["1.10", "null", "True", "a, b", "it's", "back\\slash", "end\\", "[a]", "ü $1"])
def test_a_text_stays_what_it_is(text: str) -> None:
    words = as_written(overrides([], {"tracking.experiment": text}))
    assert compose_config(words).tracking.experiment == text


@settings(max_examples=12, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="$"), min_size=1))
def test_any_text_stays_what_it_is(text: str) -> None:
    assert compose_config(as_written(overrides([], {"model.name": text}))).model.name == text
