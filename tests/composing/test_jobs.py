"""The configuration of every job is what Hydra composes of it, and every one is checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import paths
from harness.composing import CONFIG_NAME, SweepJobs, check_sweep, compose_config, config_loader, expand_sweep, explained
from harness.composing import configs as composing
from harness.composing.jobs import Composer
from harness.config import Config
from harness.errors import ConfigError

OPTIONS = {
    "regime/tied": "defaults: [standard]\nepochs: ${harness_first:${dataset.test_size},7}\nvalidation: {seed: '${seed}'}\n",
    "regime/relative": "defaults: [standard]\nvalidation: {size: '${..batch_size}', seed: '${.size}'}\n",
    "regime/created": "defaults: [standard]\nschedule: '${oc.create:{name:step,factor:0.2}}'\n",
    "model/linked": "defaults: [mlp]\nhidden: ['${regime.batch_size}', 8]\nname: linked-${.hidden}-${seed}\n",
    "optimizer/chained": "name: sgd\nlearning_rate: ${.momentum}\nmomentum: ${dataset.label_noise}\n",
    "experiments/steps": "# @package _global_\nregime:\n  epochs: ${harness_epochs:40,${dataset.train_size},${regime.batch_size}}\n",
    "experiments/nested": "# @package _global_\nseed: ${dataset.${model.architecture}}\n",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with options whose settings are computed from others."""
    folder = tmp_path_factory.mktemp("own")
    for name, content in OPTIONS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(content)
    return str(folder)


GROUPS = {
    "model": ["mlp", "mlp_300_100", "cnn", "linked", "nosuch"],
    "optimizer": ["adam", "sgd", "chained", "5"],
    "regime": ["standard", "early_stopping", "tied", "relative", "created"],
    "debug": ["tiny", "one_batch"],
    "experiments": ["steps", "nested", "train_size", "null"],
    "model@optimizer": ["mlp"],
}
NUMBERS = ["0", "7", "-1", "300", "1.0", "1.5", "1e-3", "nan", "-inf", "null", "true", "abc", "'5'", "'1e-3'", "[1]"]
TEXTS = [
    "a", "'a b'", "\"it's\"", "'say \"so\"'", "a\\,b", "'x=y,z'", "ü→", "''", "null", "'null'", "true", "1.50", "'???'",
    "'${seed}'", "x${seed}", "${model.architecture}", "'\\${seed}'", "'a\\\\b'", "/tmp/a-b", "{a:1}",
]  # fmt: skip
LISTS = ["[]", "[8]", "[64,32]", "[1.0]", "['3']", "[a]", "[null]", "null", "5", "[${seed},2]", "[[1]]", "'[1]'"]
TRUTHS = ["true", "false", "null", "1", "'yes'", "off", "2"]
VALUES = {
    "seed": NUMBERS, "model.width": NUMBERS, "model.dropout": NUMBERS, "optimizer.learning_rate": NUMBERS,
    "dataset.train_size": NUMBERS, "dataset.test_size": NUMBERS, "regime.batch_size": NUMBERS,
    "regime.validation.size": NUMBERS, "model.name": TEXTS, "dataset.directory": TEXTS, "resume": [*TRUTHS, "only_failed"],
    "figures": TEXTS, "model.hidden": LISTS, "model.filters": LISTS, "model.batch_norm": TRUTHS,
    "regime.schedule.factor": NUMBERS, "regime.schedule": ["{name:cosine}", "{factor:0.5}", "{}", "null", "3"],
    "regime": ["{epochs:3}", "{validation:{size:9}}"], "model.hidden.0": ["3"], "optimizer.nosuch": ["1"],
}  # fmt: skip


@st.composite
def sweeps(draw: st.DrawFn) -> list[list[str]]:
    """Jobs of one command: the same keys, most of them of values, and other values in each job."""
    groups = draw(st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True))
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    prefixes = [draw(st.sampled_from(["", "", "", "+", "++"])) for _ in keys]
    items = [(group, GROUPS[group]) for group in groups]
    items += [(prefix + key, VALUES[key]) for prefix, key in zip(prefixes, keys, strict=True)]
    items = draw(st.permutations(items))
    deleted = draw(st.sampled_from([[], [], [], ["~debug"], ["~experiments"], ["~model.l2"]]))
    fixed = {key: draw(st.sampled_from(values)) for key, values in items if key in GROUPS}
    return [
        [f"{key}={fixed[key] if key in fixed else draw(st.sampled_from(values))}" for key, values in items] + deleted
        for _ in range(3)
    ]


def outcome(job: Sequence[str], compose: object) -> str:
    try:
        with explained(job):
            return repr(compose(job))  # type: ignore[operator]
    except ConfigError as error:
        return f"refused: {error}"


@settings(max_examples=60, deadline=None)
@given(jobs=sweeps())
def test_setting_values_on_a_composed_job_comes_to_what_hydra_composes(jobs: list[list[str]], own: str) -> None:
    loader = _loader(own)
    composer = Composer(loader, CONFIG_NAME, ())

    def of_hydra(job: Sequence[str]) -> Config:
        return composing.typed_config(composing.composed(loader, CONFIG_NAME, job), job)

    for job in jobs:
        assert outcome(job, composer.config) == outcome(job, of_hydra)


@cache
def _loader(folder: str):  # type: ignore[no-untyped-def]
    return config_loader(folder)
